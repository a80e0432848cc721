//! Leaving: nothing of a process stays behind, and the lock does not stay with it. First the ticket goes, then the lock,
//! then the lease.

use tracing::warn;

use super::machine::{Machine, State, Step};
use super::place::{Place, asking};
use super::transactions;
use whereabouts_core::allocator::Verdict;
use whereabouts_core::claim::RangeId;
use whereabouts_core::failure::Failure;
use whereabouts_store::snapshot::{QueueEntry, Snapshot};

/// A process that leaves.
#[derive(Debug)]
pub(super) struct Leaver {
    pub(super) place: Box<Place>,
    pub(super) result: Result<Verdict, Failure>,
    pub(super) part: Part,
}

/// The next part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Ticket,
    Lock,
    Lease,
}

impl<'a> Machine<'a> {
    /// Leaves with `result`. `snapshot` is what was read last, if anything since the last write.
    pub(super) fn leave(
        &mut self,
        place: Box<Place>,
        result: Result<Verdict, Failure>,
        snapshot: Option<Snapshot>,
    ) -> Step<'a> {
        let leaver = Box::new(Leaver {
            place,
            result,
            part: Part::Ticket,
        });
        self.leave_ticket(leaver, snapshot)
    }

    /// Hands the lock of `queue` over, if it is offered to this process, which may be dead.
    pub(crate) fn hand_over_for(&mut self, queue: RangeId) -> Step<'a> {
        let leaver = Leaver {
            place: Box::new(Place::new(self.demand, queue)),
            result: Ok(Verdict::NothingHeld),
            part: Part::Lock,
        };
        self.leave_lock(Box::new(leaver), None)
    }

    /// After a failure the claim tells whether the demand was carried out all the same, once nobody can serve the ticket.
    fn leave_ticket(&mut self, mut leaver: Box<Leaver>, snapshot: Option<Snapshot>) -> Step<'a> {
        let place = &mut leaver.place;
        if let Some(checked) = place.late_put.take() {
            let mut draft = self.draft();
            transactions::fence_join(&mut draft, &place.lock_key(), checked);
            place.ticket = None;
            draft.read_anyway(place.queries());
            return self.to(State::Leaving(leaver), Step::Fence(draft));
        }
        let Some(snapshot) = snapshot else {
            if place.ticket.is_none() && leaver.result.is_ok() {
                return self.leave_lock(leaver, None);
            }
            let queries = place.queries();
            return self.to(State::Leaving(leaver), Step::Read(queries));
        };
        let own = self.own(place, &snapshot);
        if let Some((seat, modified)) = own.map(|(seat, own)| (seat.clone(), own.modified)) {
            let mut draft = self.draft();
            transactions::withdraw(&mut draft, &seat, modified);
            place.ticket = Some(seat);
            draft.read_anyway(place.queries());
            return self.to(State::Leaving(leaver), Step::Commit(draft));
        }
        if leaver.result.is_err()
            && let Some(verdict) = self.verdict(&snapshot)
        {
            leaver.result = Ok(verdict);
        }
        self.leave_lock(leaver, Some(snapshot))
    }

    /// Hands the lock over to the oldest that asks, or deletes it.
    fn leave_lock(&mut self, mut leaver: Box<Leaver>, snapshot: Option<Snapshot>) -> Step<'a> {
        leaver.part = Part::Lock;
        let queue = leaver.place.id.queue.clone();
        let Some(snapshot) = snapshot else {
            let queries = leaver.place.queue_queries().into();
            return self.to(State::Leaving(leaver), Step::Read(queries));
        };
        let lock = leaver.place.lock(&snapshot);
        let is_to_go = match &lock {
            // One that is bound is its holder's, for whomever this process leaves.
            Some(lock) => self.is_mine(lock) && (lock.is_offered() || leaver.place.lease.is_some()),
            None => leaver.place.has_late_lock && leaver.place.lease.is_none(),
        };
        if !is_to_go {
            return self.leave_lease(leaver);
        }
        let Ok(waiting) = snapshot.queue(&queue) else {
            return self.leave_lock(leaver, None);
        };
        let waiting: Vec<&QueueEntry> = waiting.iter().collect();
        if let Some(larger) = leaver.place.larger_page(&waiting, waiting.len()) {
            leaver.place.page = larger;
            return self.leave_lock(leaver, None);
        }
        let lock = lock.map(|lock| lock.modified);
        let next = waiting.iter().find_map(|one| Some((*one, asking(one)?)));
        let mut draft = self.draft();
        match (next, lock) {
            // Its ticket was taken out, and it lives, and has put another.
            (Some((_, next)), _) if next.sender == self.sender => return self.leave_lease(leaver),
            (Some((ticket, next)), lock) => {
                transactions::hand_over(&mut draft, &leaver.place.lock_key(), lock, ticket, &next);
            }
            (None, Some(lock)) => {
                transactions::step_down(&mut draft, &queue, lock, snapshot.revision());
            }
            (None, None) => return self.leave_lease(leaver),
        }
        draft.read_anyway(leaver.place.queue_queries());
        self.to(State::Leaving(leaver), Step::Commit(draft))
    }

    fn leave_lease(&mut self, mut leaver: Box<Leaver>) -> Step<'a> {
        leaver.part = Part::Lease;
        let certain = leaver.place.has_late_lock;
        match leaver.place.lease {
            None => Step::Done(leaver.result),
            Some(lease) => self.to(State::Leaving(leaver), Step::EndLease { lease, certain }),
        }
    }

    /// The lease has ended. If the lock went with it, who put a ticket meanwhile waits for nobody.
    pub(super) fn lease_ended(&mut self, mut leaver: Box<Leaver>) -> Step<'a> {
        leaver.place.lease = None;
        if leaver.place.has_late_lock {
            return self.leave_lock(leaver, None);
        }
        Step::Done(leaver.result)
    }

    /// Goes on to leave, by what was read last.
    pub(super) fn leave_on(&mut self, leaver: Box<Leaver>, snapshot: Option<Snapshot>) -> Step<'a> {
        match leaver.part {
            Part::Ticket => self.leave_ticket(leaver, snapshot),
            Part::Lock | Part::Lease => self.leave_lock(leaver, snapshot),
        }
    }

    /// A part of leaving fails: the next one is tried all the same.
    pub(super) fn cannot(&mut self, mut leaver: Box<Leaver>, failure: Failure) -> Step<'a> {
        match leaver.part {
            Part::Ticket => {
                warn!(%failure, "the ticket is left to the next holder of the lock");
                if let (Err(_), Failure::Unsettled(_)) = (&leaver.result, &failure) {
                    // That the demand may still be carried out is to be told.
                    leaver.result = Err(failure);
                }
                self.leave_lock(leaver, None)
            }
            Part::Lock => {
                warn!(%failure, "the lock may be left to the end of its lease");
                self.leave_lease(leaver)
            }
            Part::Lease => Step::Done(leaver.result),
        }
    }
}
