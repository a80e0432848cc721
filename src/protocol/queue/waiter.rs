//! The waiter: another process has the lock. It puts a ticket, and is served, or finds its own name on the lock.

use super::machine::{Machine, Phase, Step};
use super::place::Place;
use super::transactions::Becomes;
use whereabouts_core::allocator::Verdict;
use whereabouts_core::failure::Failure;
use whereabouts_store::Revision;
use whereabouts_store::record::Ticket;
use whereabouts_store::snapshot::Snapshot;

impl<'a> Machine<'a> {
    /// Where a process stands whose demand is not decided, by what it reads last: the claim, the lock and its seats.
    pub(super) fn stand(&mut self, mut place: Box<Place>, snapshot: Snapshot) -> Step<'a> {
        let is_overdue = std::mem::take(&mut place.is_overdue);
        let own = place.own(&snapshot);
        let refusal = own.and_then(|(_, ticket)| match &ticket.value.ticket {
            Ok(Ticket::Refused { shortage, .. }) => Some(Verdict::Short(shortage.clone())),
            Ok(Ticket::Asks { .. }) | Err(_) => None,
        });
        let seat = own.map(|(seat, _)| seat.clone());
        let had_ticket = std::mem::replace(&mut place.ticket, seat).is_some();
        if let Some(verdict) = self.verdict(&snapshot).or(refusal) {
            return self.leave(place, Ok(verdict), Some(&snapshot));
        }
        if had_ticket && place.ticket.is_none() {
            let queue = place.id.queue.clone();
            let lost = match place.mate(&snapshot) {
                Some(_) => Failure::Displaced(queue),
                None => Failure::Cancelled(queue),
            };
            return self.leave(place, Err(lost), Some(&snapshot));
        }
        match place.lock(&snapshot) {
            None => self.take_lock(place, None),
            Some(lock) if place.is_mine(&lock) => match snapshot.queue(&place.id.queue) {
                Ok(_) => self.hold(place, snapshot),
                Err(_) => self.begin(place),
            },
            Some(lock) if lock.is_offered() && is_overdue => {
                self.take_lock(place, Some(lock.modified))
            }
            Some(lock) => self.queue_up(place, &snapshot, lock.modified),
        }
    }

    /// Another process has the lock, last written at `lock`. Without a ticket this process puts one, or takes over that
    /// of another process of the attachment.
    fn queue_up(&mut self, mut place: Box<Place>, seen: &Snapshot, lock: Revision) -> Step<'a> {
        // A process without a ticket puts it first: many may be refused together, and the lock is soon free again. But a
        // lost put of the lock that arrives now would leave it to a process that waits.
        let must_end = place.ticket.is_some() || place.has_late_lock;
        if let Some(lease) = place.lease.take_if(|_| must_end) {
            let certain = std::mem::take(&mut place.has_late_lock);
            return self.stay(place, Phase::Reading, Step::EndLease { lease, certain });
        }
        if let Some(seat) = place.ticket.clone() {
            return self.stay(place, Phase::Waiting, Step::Wait(seat));
        }
        // With an earlier state of the lock no put can arrive any more.
        place.late_put = place.late_put.filter(|checked| *checked == lock);
        let draft = self.join(&place, seen, lock);
        self.stay(place, Phase::Joining(lock), Step::Commit(draft))
    }

    /// Takes the lock with a lease, if it is free, or still as at the revision `lock`: offered to another, or to itself.
    pub(super) fn take_lock(&mut self, place: Box<Place>, lock: Option<Revision>) -> Step<'a> {
        let Some(lease) = place.lease else {
            return self.stay(place, Phase::Granting(lock), Step::Grant);
        };
        let (becomes, queries) = (Becomes::Bound(lease), self.queries_of_holder(&place));
        let draft = self.lock_becomes(&place, lock, becomes, queries);
        self.stay(place, Phase::Acquiring, Step::Commit(draft))
    }

    /// Reads what the next step is decided on.
    pub(super) fn read(&mut self, place: Box<Place>) -> Step<'a> {
        if place.result.is_some() || place.lease.is_some() {
            return self.begin(place);
        }
        let queries = place.queries();
        self.stay(place, Phase::Reading, Step::Read(queries))
    }

    /// Reads what the next batch is decided on: the lock is probably this process's.
    pub(super) fn begin(&mut self, place: Box<Place>) -> Step<'a> {
        let queries = self.queries_of_holder(&place);
        self.stay(place, Phase::Reading, Step::Read(queries))
    }
}
