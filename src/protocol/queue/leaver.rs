//! Leaving: nothing of a process stays behind, and the lock does not stay with it. First the ticket goes, then the lock,
//! then the lease.

use tracing::warn;

use super::machine::{Machine, Phase, Step};
use super::place::Place;
use super::transactions::Becomes;
use whereabouts_core::allocator::Verdict;
use whereabouts_core::claim::RangeId;
use whereabouts_core::failure::Failure;
use whereabouts_store::snapshot::Snapshot;

/// The next part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Ticket,
    Lock,
    Lease,
}

impl<'a> Machine<'a> {
    /// Leaves, with `result` if there is none yet. `seen` is what was read last, if anything since the last write.
    pub(super) fn leave(
        &mut self,
        mut place: Box<Place>,
        result: Result<Verdict, Failure>,
        seen: Option<&Snapshot>,
    ) -> Step<'a> {
        place.result.get_or_insert(result);
        self.leave_on(place, Part::Ticket, seen)
    }

    /// Hands the lock of `queue` over, if it is offered to this process, which may be dead.
    pub(crate) fn hand_over_for(&mut self, queue: RangeId) -> Step<'a> {
        let mut place = Box::new(Place::new(self.demand, self.sender, queue));
        place.result = Some(Ok(Verdict::NothingHeld));
        self.leave_on(place, Part::Lock, None)
    }

    /// Goes on to leave, by what was read last: does what is left of `part`, and then the next ones.
    pub(super) fn leave_on(
        &mut self,
        mut place: Box<Place>,
        part: Part,
        seen: Option<&Snapshot>,
    ) -> Step<'a> {
        let parts = [Part::Ticket, Part::Lock, Part::Lease];
        for part in parts.into_iter().filter(|next| *next >= part) {
            let certain = place.has_late_lock;
            let step = match part {
                Part::Ticket => self.leave_ticket(&mut place, seen),
                Part::Lock => self.leave_lock(&mut place, seen),
                Part::Lease => place.lease.map(|lease| Step::EndLease { lease, certain }),
            };
            if let Some(step) = step {
                return self.stay(place, Phase::Leaving(part), step);
            }
        }
        Step::Done(place.result.expect("it leaves with a result"))
    }

    /// After a failure the claim tells whether the demand was carried out all the same, once nobody can serve the ticket.
    fn leave_ticket(&self, place: &mut Place, seen: Option<&Snapshot>) -> Option<Step<'a>> {
        if let Some(checked) = place.late_put.take() {
            place.ticket = None;
            let queries = place.queries();
            let fence = self.lock_becomes(place, Some(checked), Becomes::Touched, queries);
            return Some(Step::Fence(fence));
        }
        let has_failed = matches!(place.result, Some(Err(_)));
        let Some(seen) = seen else {
            let is_needed = has_failed || place.ticket.is_some();
            return is_needed.then(|| Step::Read(place.queries()));
        };
        if let Some((seat, own)) = place.own(seen) {
            let (seat, revision) = (seat.clone(), own.modified);
            let draft = self.withdraw(place, (&seat, revision));
            place.ticket = Some(seat);
            return Some(Step::Commit(draft));
        }
        if has_failed && let Some(verdict) = self.verdict(seen) {
            place.result = Some(Ok(verdict));
        }
        None
    }

    /// Hands the lock over to the oldest that asks, or deletes it.
    fn leave_lock(&self, place: &mut Place, seen: Option<&Snapshot>) -> Option<Step<'a>> {
        let Some(seen) = seen else {
            return Some(Step::Read(place.queue_queries().into()));
        };
        let lock = place.lock(seen);
        let is_to_go = match &lock {
            // One that is bound is its holder's, for whomever this process leaves.
            Some(lock) => place.is_mine(lock) && (lock.is_offered() || place.lease.is_some()),
            None => place.has_late_lock && place.lease.is_none(),
        };
        if !is_to_go {
            return None;
        }
        let waiting = seen.queue(&place.id.queue).ok();
        let Some(waiting) = waiting.filter(|_| !place.turn_page(seen)) else {
            return Some(Step::Read(place.queue_queries().into()));
        };
        let becomes = match waiting.iter().find_map(|one| Some((one, one.asks()?))) {
            // Its ticket was taken out, and it lives, and has put another.
            Some((_, next)) if next.sender == self.sender => return None,
            Some((ticket, next)) => Becomes::Offered(ticket, next),
            None if lock.is_none() => return None,
            None => Becomes::Free(seen.revision()),
        };
        let lock = lock.map(|lock| lock.modified);
        let draft = self.lock_becomes(place, lock, becomes, place.queue_queries());
        Some(Step::Commit(draft))
    }

    /// The lease has ended. If the lock went with it, who put a ticket meanwhile waits for nobody.
    pub(super) fn lease_ended(&mut self, mut place: Box<Place>) -> Step<'a> {
        place.lease = None;
        let is_late = place.has_late_lock;
        self.leave_on(place, if is_late { Part::Lock } else { Part::Lease }, None)
    }

    /// A part of leaving fails: the next one is tried all the same.
    pub(super) fn cannot(&mut self, mut place: Box<Place>, part: Part, why: Failure) -> Step<'a> {
        match part {
            Part::Ticket => {
                warn!(failure = %why, "the ticket is left to the next holder of the lock");
                if let (Some(Err(result)), Failure::Unsettled(_)) = (&mut place.result, &why) {
                    // That the demand may still be carried out is to be told.
                    *result = why;
                }
                self.leave_on(place, Part::Lock, None)
            }
            Part::Lock => {
                warn!(failure = %why, "the lock may be left to the end of its lease");
                self.leave_on(place, Part::Lease, None)
            }
            Part::Lease => Step::Done(place.result.expect("it leaves with a result")),
        }
    }
}
