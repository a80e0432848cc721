//! The waiter: another process has the lock. It puts a ticket, and is served, or finds its own name on the lock.

use super::holder::Hold;
use super::machine::{Machine, Others, State, Step};
use super::place::Place;
use super::transactions::{self, At};
use whereabouts_core::allocator::Verdict;
use whereabouts_core::failure::Failure;
use whereabouts_store::Revision;
use whereabouts_store::record::Ticket;
use whereabouts_store::snapshot::{Query, Snapshot};

impl<'a> Machine<'a> {
    /// Where a process stands whose demand is not decided, by what it reads last: the claim, the lock and its seats.
    pub(super) fn stand(
        &mut self,
        mut place: Box<Place>,
        hold: Hold,
        snapshot: Snapshot,
        others: Others,
    ) -> Step<'a> {
        let own = self.own(&place, &snapshot);
        let refusal = own.and_then(|(_, ticket)| match &ticket.value.ticket {
            Ok(Ticket::Refused { shortage, .. }) => Some(Verdict::Short(shortage.clone())),
            Ok(Ticket::Take { .. } | Ticket::Release { .. }) | Err(_) => None,
        });
        let seat = own.map(|(seat, _)| seat.clone());
        let had_ticket = std::mem::replace(&mut place.ticket, seat).is_some();
        if let Some(verdict) = self.verdict(&snapshot).or(refusal) {
            return self.leave(place, Ok(verdict), Some(snapshot));
        }
        if had_ticket && place.ticket.is_none() {
            let queue = place.id.queue.clone();
            let lost = match place.mate(self.sender, &snapshot) {
                Some(_) => Failure::Displaced(queue),
                None => Failure::Cancelled(queue),
            };
            return self.leave(place, Err(lost), Some(snapshot));
        }
        match place.lock(&snapshot) {
            Some(lock) if self.is_mine(&lock) && snapshot.queue(&place.id.queue).is_ok() => {
                self.hold(place, hold, snapshot)
            }
            Some(lock) if self.is_mine(&lock) => self.begin(place),
            Some(lock) if lock.is_offered() && others == Others::MaybeDead => {
                self.take_lock(place, hold, Some(lock.modified))
            }
            Some(lock) => self.queue_up(place, &snapshot, lock.modified),
            None => self.take_lock(place, hold, None),
        }
    }

    /// Another process has the lock, last written at `lock`.
    fn queue_up(&mut self, mut place: Box<Place>, snapshot: &Snapshot, lock: Revision) -> Step<'a> {
        if let Some(lease) = place.lease.take() {
            // A put of the lock that arrives now would leave it to a process that waits.
            let certain = std::mem::take(&mut place.has_late_lock);
            let end = Step::EndLease { lease, certain };
            return self.to(State::Waiting(place, Others::Alive), end);
        }
        if let Some(seat) = place.ticket.clone() {
            return self.to(State::Waiting(place, Others::Alive), Step::Wait(seat));
        }
        self.join(place, snapshot, lock)
    }

    /// Puts the ticket, or takes over that of another process of the attachment.
    fn join(&mut self, mut place: Box<Place>, snapshot: &Snapshot, lock: Revision) -> Step<'a> {
        // With an earlier state of the lock no put can arrive any more.
        place.late_put = place.late_put.filter(|checked| *checked == lock);
        let shared = snapshot.seat(&place.seats[0]).ok().flatten();
        let at = match (place.mate(self.sender, snapshot), shared) {
            (Some((seat, mate)), _) => At::Mate(seat.clone(), mate.modified),
            (None, Some(other)) => At::Own(place.seats.clone(), other.modified),
            (None, None) => At::Shared(place.seats.clone()),
        };
        let mut draft = self.draft();
        let ticket = self.ticket(place.trace);
        transactions::join(
            &mut draft,
            self.demand,
            &at,
            (&place.lock_key(), lock),
            &ticket,
        );
        draft
            .read_anyway(place.queries())
            .read_otherwise(Query::whose_store(self.demand));
        self.to(State::Joining(place, lock), Step::Commit(draft))
    }

    /// Takes the lock with a lease, if it is free, or still as at the revision `lock`: offered to another, or to itself.
    pub(super) fn take_lock(
        &mut self,
        place: Box<Place>,
        hold: Hold,
        lock: Option<Revision>,
    ) -> Step<'a> {
        if place.lease.is_some() {
            return self.put_lock(place, hold, lock);
        }
        self.to(State::Granting(place, hold, lock), Step::Grant)
    }

    pub(super) fn put_lock(
        &mut self,
        place: Box<Place>,
        hold: Hold,
        lock: Option<Revision>,
    ) -> Step<'a> {
        let lease = place.lease.expect("it was granted");
        let mut draft = self.draft();
        transactions::acquire(&mut draft, &place.lock_key(), lock, &self.lock(), lease);
        draft.read_anyway(self.queries_of_holder(&place, &hold, &[]));
        self.to(State::Taking(place, hold), Step::Commit(draft))
    }

    /// The lock is this process's: reads what to begin with.
    pub(super) fn begin(&mut self, place: Box<Place>) -> Step<'a> {
        let queries = self.queries_of_holder(&place, &Hold::default(), &[]);
        self.to(State::Waiting(place, Others::Alive), Step::Read(queries))
    }

    pub(super) fn look(&mut self, place: Box<Place>, others: Others) -> Step<'a> {
        let queries = place.queries();
        self.to(State::Waiting(place, others), Step::Read(queries))
    }
}
