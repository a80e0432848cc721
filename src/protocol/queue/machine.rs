//! The machine: states, answers, steps, and which answer leads where.

use std::collections::BTreeSet;
use std::time::Duration;

use super::holder::{Batch, Hold};
use super::leaver::Leaver;
use super::place::Place;
use super::requester::Trial;
use crate::traces::Traces;
use whereabouts_core::allocator::{Demand, Plan, Verdict};
use whereabouts_core::claim::RangeId;
use whereabouts_core::failure::Corrupt;
use whereabouts_core::failure::Failure;
use whereabouts_core::identity::Identity;
use whereabouts_store::keys::{Keys, Seat};
use whereabouts_store::record::Sender;
use whereabouts_store::snapshot::{Query, Snapshot};
use whereabouts_store::trace_context::TraceContext;
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
    /// Pauses after a commit whose outcome is unknown for this reason.
    Pause(String),
    /// Opens the span of the queue of this range.
    Enter(RangeId),
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
    /// The commit was written; what was read after it cannot be used.
    DoneUnread(Corrupt),
    /// The commit was not written, because of this.
    Conflict(Snapshot),
    /// The commit was written, or will be, or never will be.
    Unknown(String),
    /// The pause is over.
    Resumed,
    /// The span is open; the ticket carries it.
    Entered(Option<TraceContext>),
    /// The ticket was written: by a holder, or by another process of the attachment.
    Woken,
    /// It is time to look, or the ticket was deleted.
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
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Whether the operation must begin to leave.
    pub is_late: bool,
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
    /// Requester: has its verdict, and waits to hear whose the store is.
    Confirming(Verdict),
    /// Waiter: the lock is another's; the span of the queue is being opened.
    Entering(Box<Place>, Option<Box<Snapshot>>),
    /// Waiter: waits for the end of the put of its ticket, which checks that the lock is as at this revision.
    Joining(Box<Place>, Revision),
    /// Waiter: waits for a read, or to be served.
    Waiting(Box<Place>, Others),
    /// Waits for a lease, to put the lock if it is free or still as at this revision.
    Granting(Box<Place>, Hold, Option<Revision>),
    /// Waits for the end of the put of the lock.
    Taking(Box<Place>, Hold),
    /// Holder: waits for what the next batch is decided on.
    Holding(Box<Place>, Hold),
    /// Holder: waits for the end of a batch.
    Serving(Box<Place>, Hold, Box<Batch>),
    /// Leaves: takes its ticket back, hands the lock over, ends its lease.
    Leaving(Box<Leaver>),
    /// Has ended.
    Over,
}

/// The assumption of a waiter about the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// They do what is theirs to do.
    Alive,
    /// The process to which the lock is offered may be dead.
    MaybeDead,
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
    keys: &'a Keys,
    identity: Option<&'a Identity>,
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
            now: Moment {
                is_late: false,
                date: Duration::ZERO,
            },
            begun: None,
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
        matches!(self.state, State::Leaving(_))
    }

    /// The step after `answer`, which is the answer to the last step.
    #[expect(clippy::too_many_lines, reason = "it is one table")]
    pub fn on(&mut self, answer: Answer, now: Moment) -> Step<'a> {
        use {Answer as A, State as S};
        self.now = now;
        match (std::mem::replace(&mut self.state, S::Over), answer) {
            // The requester.
            (S::Deciding(trial), A::Read(snapshot)) => self.decide(trial, snapshot),
            (S::Deciding(trial), A::Failed(failure)) if is_compacted(&failure) => {
                let again = Step::Read(self.queries_of_requester(&trial));
                self.to(S::Deciding(trial), again)
            }
            (S::Committing(trial, plan), A::Resumed) => self.commit(trial, plan),
            (S::Committing(_, plan), A::Done(_)) => Step::Done(Ok(plan.only_verdict())),
            (S::Committing(trial, plan), A::Conflict(refused)) => {
                self.refused(trial, &plan, refused)
            }
            (S::Committing(trial, plan), A::Unknown(reason)) => self.fence(trial, &plan, reason),
            (S::Confirming(verdict), A::Read(_)) => Step::Done(Ok(verdict)),
            (S::Deciding(_) | S::Committing(..) | S::Confirming(_), A::Failed(failure)) => {
                Step::Done(Err(failure))
            }
            // The waiter.
            (S::Entering(mut place, snapshot), A::Entered(trace)) => {
                place.trace = trace;
                match snapshot {
                    Some(snapshot) => self.stand(place, Hold::default(), *snapshot, Others::Alive),
                    None => self.begin(place),
                }
            }
            (S::Joining(mut place, lock), A::Unknown(reason)) => {
                place.late_put = Some(lock);
                self.to(S::Waiting(place, Others::Alive), Step::Pause(reason))
            }
            (S::Joining(place, _), A::Done(snapshot) | A::Conflict(snapshot)) => {
                self.stand(place, Hold::default(), snapshot, Others::Alive)
            }
            (S::Waiting(place, others), A::Read(snapshot)) => {
                self.stand(place, Hold::default(), snapshot, others)
            }
            (S::Waiting(place, _), A::Woken | A::Look | A::Late) if now.is_late => {
                let failure = Failure::QueueTooLong(place.id.queue.clone());
                self.leave(place, Err(failure), None)
            }
            (S::Waiting(place, _), A::Woken) => self.begin(place),
            (S::Waiting(place, _), A::Late) => self.look(place, Others::MaybeDead),
            (S::Waiting(place, _), A::Look | A::Resumed | A::Ended) => {
                self.look(place, Others::Alive)
            }
            (S::Joining(place, _) | S::Waiting(place, _), A::Failed(failure)) => {
                self.leave(place, Err(failure), None)
            }
            // The process that takes the lock.
            (S::Granting(place, hold, lock), A::Granted(lease)) => {
                self.put_lock(place.bound(lease), hold, lock)
            }
            (S::Taking(mut place, hold), A::Unknown(reason)) => {
                place.has_late_lock = true;
                self.to(S::Holding(place, hold), Step::Pause(reason))
            }
            (S::Taking(mut place, hold), A::Failed(failure)) if has_no_lease(&failure) => {
                place.lease = None;
                self.read_on(place, hold)
            }
            // The holder.
            (
                S::Taking(place, hold) | S::Holding(place, hold),
                A::Read(snapshot) | A::Done(snapshot) | A::Conflict(snapshot),
            ) => self.go_on(place, hold, snapshot),
            (S::Holding(place, hold), A::Unknown(reason)) => {
                self.to(S::Holding(place, hold), Step::Pause(reason))
            }
            (S::Holding(place, hold), A::Resumed) => self.read_on(place, hold),
            (S::Holding(place, hold), A::Failed(failure)) if is_compacted(&failure) => {
                self.read_on(place, hold)
            }
            (S::Serving(mut place, hold, batch), A::Done(after)) => {
                let hold = self.enter(&mut place, hold, *batch);
                self.hold(place, hold, after)
            }
            (S::Serving(mut place, hold, batch), A::DoneUnread(corrupt)) => {
                let hold = self.enter(&mut place, hold, *batch);
                self.leave(place, hold.own.ok_or(corrupt.into()), None)
            }
            (S::Serving(place, hold, _), A::Conflict(after)) => {
                self.go_on(place, hold.shrunk(), after)
            }
            (S::Serving(place, hold, batch), A::Unknown(_)) => {
                self.fence_batch(place, hold, *batch)
            }
            (S::Serving(place, hold, _), A::Failed(failure))
                if is_too_large(&failure) && hold.can_shrink() =>
            {
                self.read_on(place, hold.shrunk())
            }
            (
                S::Granting(place, hold, _)
                | S::Taking(place, hold)
                | S::Holding(place, hold)
                | S::Serving(place, hold, _),
                A::Failed(failure),
            ) => self.leave(place, hold.own.ok_or(failure), None),
            // The leaver.
            (S::Leaving(leaver), A::Read(snapshot) | A::Done(snapshot) | A::Conflict(snapshot)) => {
                self.leave_on(leaver, Some(snapshot))
            }
            (S::Leaving(leaver), A::Resumed) => self.leave_on(leaver, None),
            (S::Leaving(leaver), A::Unknown(reason)) => {
                self.to(S::Leaving(leaver), Step::Pause(reason))
            }
            (S::Leaving(leaver), A::Ended) => self.lease_ended(leaver),
            (S::Leaving(leaver), A::Failed(failure)) => self.cannot(leaver, failure),
            (state, A::DoneUnread(corrupt)) => {
                self.state = state;
                self.on(A::Failed(corrupt.into()), now)
            }
            (state, answer) => unreachable!("{state:?} has no use for {answer:?}"),
        }
    }

    /// Goes to `state`, and waits there for the answer to `step`.
    pub(super) fn to(&mut self, state: State, step: Step<'a>) -> Step<'a> {
        self.state = state;
        step
    }

    /// An empty transaction.
    pub(super) fn draft(&self) -> TxnBuilder<'a> {
        TxnBuilder::new(self.keys, self.identity)
    }

    pub(super) fn knows_its_cluster(&self) -> bool {
        self.identity.is_some()
    }
}

fn is_compacted(failure: &Failure) -> bool {
    matches!(failure, Failure::Unavailable(Unavailable::Compacted))
}

fn has_no_lease(failure: &Failure) -> bool {
    matches!(failure, Failure::Unavailable(Unavailable::LeaseNotFound))
}

fn is_too_large(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Unavailable(Unavailable::TooManyOperations)
    )
}
