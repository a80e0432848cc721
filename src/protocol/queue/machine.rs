//! The machine: states, answers, steps, and which answer leads where.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::Span;

use super::holder::Batch;
use super::leaver::Part;
use super::place::Place;
use super::requester::Trial;
use crate::traces::Traces;
use whereabouts_core::allocator::{Demand, Plan, Verdict};
use whereabouts_core::claim::RangeId;
use whereabouts_core::failure::Failure;
use whereabouts_core::identity::Identity;
use whereabouts_store::keys::{Keys, Seat};
use whereabouts_store::record::Sender;
use whereabouts_store::snapshot::{Query, Snapshot};
use whereabouts_store::txn_builder::TxnBuilder;
use whereabouts_store::{Lease, LeaseId, Revision, Unavailable};

/// The next action of the driver. It gives the machine one answer to each.
#[derive(Debug)]
pub enum Step<'a> {
    /// Reads, at one moment from now on.
    Read(Vec<Query>),
    /// Reads more at the revision of the snapshot.
    ReadMore(Snapshot, Vec<Query>),
    /// Commits once.
    Commit(TxnBuilder<'a>),
    /// Commits until the outcome is known.
    Fence(TxnBuilder<'a>),
    /// Waits until the ticket at this seat is written or deleted, or for some time.
    Wait(Seat),
    /// Grants a lease.
    Grant,
    /// Ends a lease; `certain`: until it is known to have ended.
    EndLease {
        /// Which.
        lease: LeaseId,
        /// Whether one try is not enough.
        certain: bool,
    },
    /// The demand is decided, or has failed.
    Done(Result<Verdict, Failure>),
}

/// The outcome of a step.
#[derive(Debug)]
pub enum Answer {
    /// The answer to a read or to a fence.
    Read(Snapshot),
    /// The commit was written; this was read after it.
    Done(Snapshot),
    /// The commit was not written, because of this.
    Conflict(Snapshot),
    /// The commit was written, or will be, or never will be.
    Unknown,
    /// It is time to look, or the ticket was written or deleted.
    Look,
    /// Nothing was heard for so long that another process may be dead.
    Late,
    /// The lease.
    Granted(Lease),
    /// The lease has ended.
    Ended,
    /// The step cannot be done.
    Failed(Failure),
}

/// The time, which the machine is told with each answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Whether the operation must begin to leave.
    pub is_late: bool,
    /// Whether its first read was answered too late to tell which container of a pod is the newer one.
    pub began_late: bool,
    /// The time since the Unix epoch, for new claims.
    pub date: Duration,
}

/// Where a process stands. Each state has what it needs, and nothing else.
#[derive(Debug)]
pub(super) enum State {
    /// Requester: waits for what its demand is decided on.
    Deciding(Trial),
    /// Requester: waits for the end of its own commit.
    Committing(Trial, Plan),
    /// In a queue, with its place there.
    InQueue(Box<Place>, Phase),
    /// Has ended.
    Over,
}

/// Where a process in a queue stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Waits for what its next step is decided on, perhaps after the end of a write.
    Reading,
    /// Waits for the end of the put of its ticket, which checks that the lock is as at this revision.
    Joining(Revision),
    /// Has a ticket, and waits to be served.
    Waiting,
    /// Waits for a lease, to put the lock if it is free or still as at this revision.
    Granting(Option<Revision>),
    /// Waits for the end of the put of the lock.
    Acquiring,
    /// Holder: waits for the end of a batch.
    Serving(Box<Batch>),
    /// Takes its ticket back, hands the lock over, ends its lease.
    Leaving(Part),
}

/// One process with one demand.
pub struct Machine<'a> {
    pub(super) demand: &'a Demand,
    pub(super) ranges: BTreeSet<RangeId>,
    /// The name of this process in locks and tickets.
    pub(super) sender: Sender,
    pub(super) state: State,
    pub(super) now: Moment,
    /// The revision of the operation's first read, if that was made before.
    pub(super) begun: Option<Revision>,
    /// The span of the queue, once the process is in one.
    pub(super) queue: Option<Span>,
    pub(super) keys: &'a Keys,
    pub(super) identity: Option<&'a Identity>,
    pub(super) traces: &'a dyn Traces,
}

impl<'a> Machine<'a> {
    /// The process `sender`, which has `demand`.
    pub fn new(
        demand: &'a Demand,
        sender: Sender,
        (keys, identity, traces): (&'a Keys, Option<&'a Identity>, &'a dyn Traces),
    ) -> Self {
        Self {
            demand,
            ranges: demand.queues(),
            sender,
            state: State::Deciding(Trial::default()),
            now: Moment::default(),
            begun: None,
            queue: None,
            keys,
            identity,
            traces,
        }
    }

    /// The same process, whose operation began with a read at this revision.
    #[must_use]
    pub fn begun(self, begun: Option<Revision>) -> Self {
        Self { begun, ..self }
    }

    /// The first step.
    pub fn start(&self) -> Step<'a> {
        Step::Read(self.queries_of_requester(&Trial::default()))
    }

    /// Whether the process only leaves, for which part of the deadline is kept.
    pub fn is_leaving(&self) -> bool {
        matches!(self.state, State::InQueue(_, Phase::Leaving(_)))
    }

    /// The span of the queue, once the process is in one.
    pub fn span(&self) -> Option<&Span> {
        self.queue.as_ref()
    }

    /// The step after `answer`, which is the answer to the last step.
    pub fn on(&mut self, answer: Answer, now: Moment) -> Step<'a> {
        use {Answer as A, Failure as F, State as S, Unavailable as U};
        self.now = now;
        match (std::mem::replace(&mut self.state, S::Over), answer) {
            (S::Deciding(trial), A::Read(seen)) => self.decide(trial, seen),
            (S::Deciding(trial), A::Failed(F::Unavailable(U::Compacted))) => {
                let again = Step::Read(self.queries_of_requester(&trial));
                self.to(S::Deciding(trial), again)
            }
            (S::Committing(_, plan), A::Done(_)) => Step::Done(Ok(plan.only_verdict())),
            (S::Committing(trial, plan), A::Conflict(seen)) => self.refused(trial, &plan, seen),
            (S::Committing(trial, plan), A::Unknown) => {
                let fence = self.fence_claim(&trial, &plan);
                self.to(S::Deciding(trial), Step::Fence(fence))
            }
            (S::Deciding(_) | S::Committing(..), A::Failed(failure)) => Step::Done(Err(failure)),
            (S::InQueue(place, phase), answer) => self.on_in_queue(place, phase, answer),
            (state, answer) => unreachable!("{state:?} has no use for {answer:?}"),
        }
    }

    /// The same in a queue.
    fn on_in_queue(&mut self, mut place: Box<Place>, phase: Phase, answer: Answer) -> Step<'a> {
        use {Answer as A, Failure as F, Phase as P, Unavailable as U};
        match (phase, answer) {
            // The leaver.
            (P::Leaving(part), A::Read(seen) | A::Done(seen) | A::Conflict(seen)) => {
                self.leave_on(place, part, Some(&seen))
            }
            (P::Leaving(part), A::Unknown) => self.leave_on(place, part, None),
            (P::Leaving(_), A::Ended) => self.lease_ended(place),
            (P::Leaving(part), A::Failed(failure)) => self.cannot(place, part, failure),
            // The waiter.
            (P::Joining(lock), A::Unknown) => {
                place.late_put = Some(lock);
                self.read(place)
            }
            (P::Waiting, A::Look | A::Late) if self.now.is_late => {
                let failure = Failure::QueueTooLong(place.id.queue.clone());
                self.leave(place, Err(failure), None)
            }
            (P::Waiting, A::Late) => {
                place.is_overdue = true;
                self.read(place)
            }
            // The process that takes the lock.
            (P::Granting(lock), A::Granted(lease)) => {
                (place.lease, place.has_late_lock) = (Some(lease.id), false);
                self.take_lock(place, lock)
            }
            (P::Acquiring, A::Unknown) => {
                place.has_late_lock = true;
                self.read(place)
            }
            (P::Acquiring, A::Failed(F::Unavailable(U::LeaseNotFound))) => {
                place.lease = None;
                self.read(place)
            }
            // The holder.
            (P::Serving(batch), A::Done(seen)) => {
                self.enter(&mut place, *batch);
                self.go_on(place, seen)
            }
            (P::Serving(_), A::Conflict(seen)) => {
                place.hold.shrink();
                self.go_on(place, seen)
            }
            (P::Serving(batch), A::Unknown) => self.fence_batch(place, *batch),
            (P::Serving(_), A::Failed(F::Unavailable(U::TooManyOperations | U::TooLarge)))
                if place.hold.shrink() =>
            {
                self.begin(place)
            }
            // The store is not of the cluster of those that wait. That is no reason to refuse the own demand.
            (P::Serving(_), A::Failed(F::Stranger { .. } | F::NobodysStore { .. }))
                if place.result.is_none() && place.hold.serve_alone() =>
            {
                self.begin(place)
            }
            // All of them.
            (_, A::Read(seen) | A::Done(seen) | A::Conflict(seen)) => self.go_on(place, seen),
            (P::Waiting, A::Look)
            | (P::Reading, A::Unknown | A::Ended | A::Failed(F::Unavailable(U::Compacted))) => {
                self.read(place)
            }
            (_, A::Failed(failure)) => self.leave(place, Err(failure), None),
            (phase, answer) => unreachable!("{phase:?} has no use for {answer:?}"),
        }
    }

    /// Goes to `state`, and waits there for the answer to `step`.
    pub(super) fn to(&mut self, state: State, step: Step<'a>) -> Step<'a> {
        self.state = state;
        step
    }

    /// The same in a queue.
    pub(super) fn stay(&mut self, place: Box<Place>, phase: Phase, step: Step<'a>) -> Step<'a> {
        self.to(State::InQueue(place, phase), step)
    }

    fn go_on(&mut self, place: Box<Place>, snapshot: Snapshot) -> Step<'a> {
        match place.result {
            None => self.stand(place, snapshot),
            Some(_) => self.hold(place, snapshot),
        }
    }

    /// The verdict, if the claim was read and alone tells it.
    pub(super) fn verdict(&self, seen: &Snapshot) -> Option<Verdict> {
        let claim = seen.claim(self.demand.attachment()).ok()?;
        self.demand.decided_by(claim)
    }
}
