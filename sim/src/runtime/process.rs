//! One execution of the plugin on a node: a verb of the production code, on a client of its own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Ask, Attachment, Held, RangeId};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_core::registry::Registry;
use whereabouts_core::verbs;
use whereabouts_core::verbs::Error;
use whereabouts_core::verbs::{CheckRequest, GcRequest, StatusRequest};
use whereabouts_protocol::session::Session;

use crate::cluster::Cluster;
use crate::cluster::client::Client;
use crate::journal::End;
use crate::judge::{Seen, says_unknown};
use crate::planted::refused::after_refusal;
use crate::planted::{Bug, twist};
use crate::vocabulary::{Identity, NodeId, ProcessId, Step, Used, Verb};
use crate::world::{NodeClock, TaskId};

/// The task of a process.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// Give addresses.
    Add(Ask),
    /// Take them back.
    Del(Attachment, Vec<RangeId>),
    /// See that they are held.
    Check(CheckRequest),
    /// Take back what the node does not use.
    Gc(GcRequest),
    /// Tell whether ADD could be served.
    Status(StatusRequest),
    /// End the durable owners at rest.
    End,
}

/// A process that was started.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Its identity.
    pub identity: Rc<Identity>,
    /// Its task.
    pub task: TaskId,
    end: Rc<RefCell<Ending>>,
}

/// How a process ends, and who waits for it.
#[derive(Debug, Default)]
struct Ending {
    answer: Option<Answer>,
    is_over: bool,
    waiter: Option<Waker>,
}

impl Ending {
    fn come(&mut self, answer: Option<Answer>) {
        self.answer = answer;
        self.is_over = true;
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

/// The answer of a process to its runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Success, with the addresses of an ADD.
    Done(Vec<Held>),
    /// No, for good.
    Refused,
    /// Not now.
    Failed(String),
}

impl Process {
    /// The answer, when the process has ended.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.end.borrow().answer.clone()
    }

    /// Waits for its end; `None` when it was killed.
    pub(super) async fn ended(&self) -> Option<Answer> {
        poll_fn(|context| {
            let mut end = self.end.borrow_mut();
            if end.is_over {
                return Poll::Ready(end.answer.clone());
            }
            end.waiter = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Starts a process on a node.
pub(super) fn start(cluster: &Cluster, node: NodeId, job: Job) -> Process {
    let is_newer = cluster.knobs().mixed && cluster.world().chance().below(2) == 0;
    let identity = Rc::new(Identity {
        id: ProcessId(cluster.next_number()),
        node,
        verb: verb_of(&job),
        attachment: attachment_of(&job),
        step: Cell::new(Step::Between),
        used: Cell::new(Used::ByRuntime),
        is_struck: Cell::new(false),
        has_joined: Cell::new(false),
        has_read: Cell::new(false),
        task: Cell::new(None),
        is_newer,
    });
    let seen = seen(cluster, node, &job);
    cluster.judge().starts(identity.id, seen);
    cluster.log(&*identity, format_args!("starts"));
    let end = Rc::new(RefCell::new(Ending::default()));
    let client = Client::new(cluster.clone(), identity.clone());
    let task = {
        let end = end.clone();
        cluster.world().spawn(async move {
            let answer = execute(&client, twisted(client.cluster().bug(), job)).await;
            end.borrow_mut().come(Some(answer));
        })
    };
    identity.task.set(Some(task));
    Process {
        identity,
        task,
        end,
    }
}

/// Kills a process where it stands.
pub(super) fn kill(cluster: &Cluster, process: &Process) {
    if process.answer().is_none() {
        cluster.world().kill(process.task);
        cluster.log(
            &*process.identity,
            format_args!("is killed in {}", process.identity.step.get()),
        );
        cluster.count_end(process.identity.verb, End::Killed);
        cluster.judge().killed(process.identity.id);
        process.end.borrow_mut().come(None);
    }
}

fn verb_of(job: &Job) -> Verb {
    match job {
        Job::Add(_) => Verb::Add,
        Job::Del(..) => Verb::Del,
        Job::Check(_) => Verb::Check,
        Job::Gc(_) => Verb::Gc,
        Job::Status(_) => Verb::Status,
        Job::End => Verb::End,
    }
}

fn attachment_of(job: &Job) -> Option<Attachment> {
    match job {
        Job::Add(ask) => Some(ask.attachment.clone()),
        Job::Del(attachment, _) => Some(attachment.clone()),
        Job::Check(check) => Some(check.attachment.clone()),
        Job::Gc(_) | Job::Status(_) | Job::End => None,
    }
}

fn seen(cluster: &Cluster, node: NodeId, job: &Job) -> Seen {
    let ranges = match job {
        Job::Add(ask) => ask.wants.iter().map(|want| want.range.clone()).collect(),
        Job::Del(_, queues) => queues.iter().cloned().collect(),
        Job::Check(_) | Job::Status(_) => std::collections::BTreeSet::new(),
        Job::Gc(_) | Job::End => cluster.ranges(),
    };
    Seen {
        node,
        verb: verb_of(job),
        attachment: attachment_of(job),
        ask: match job {
            Job::Add(ask) => Some(ask.clone()),
            Job::Del(..) | Job::Check(_) | Job::Gc(_) | Job::Status(_) | Job::End => None,
        },
        ranges,
        started: cluster.judge().ledger().revision(),
        ended: None,
        leases: std::collections::BTreeSet::new(),
        is_struck: false,
    }
}

fn twisted(bug: Option<Bug>, mut job: Job) -> Job {
    match &mut job {
        Job::Add(ask) => twist::twist_ask(bug, ask),
        Job::Del(attachment, queues) => twist::twist_del(bug, attachment, queues),
        Job::Gc(gc) if bug == Some(Bug::GcWithoutList) => {
            gc.valid.get_or_insert_default();
        }
        Job::Gc(_) | Job::Check(_) | Job::Status(_) | Job::End => {}
    }
    job
}

/// The time that a verb may take beyond its deadline and its stops.
const SLACK: Duration = Duration::from_millis(10);

async fn execute(client: &Client, job: Job) -> Answer {
    let cluster = client.cluster();
    let world = cluster.world();
    let chance = Chance::new(world.chance().bits());
    let clock = NodeClock::new(world.clone(), client.identity().node.0);
    let deadline = Duration::from_millis(match &job {
        Job::Add(_) => limits::ADD_DEADLINE_MS,
        Job::Status(_) => limits::STATUS_DEADLINE_MS,
        Job::Del(..) | Job::Check(_) | Job::Gc(_) | Job::End => limits::DEL_DEADLINE_MS,
    });
    let patience = match cluster.bug() {
        Some(Bug::DeadlineForgotten) => deadline * 1_000,
        _ => deadline,
    };
    let identity = match (&job, cluster.bug()) {
        (Job::Gc(_), Some(Bug::GcOfOtherClusters)) => cluster.judge().ledger().cluster().cloned(),
        _ => cluster.knobs().sharing.identity(client.identity().node),
    };
    let session = Session::new(client, &clock, &chance, cluster.keys(), patience);
    let session = session.of(identity.as_ref());
    let started = world.elapsed();
    let result = match &job {
        Job::Add(ask) => {
            let result = verbs::add(&session, ask).await;
            if let Err(Error::Exhausted { range, .. }) = &result {
                after_refusal(cluster.bug(), client, cluster.keys(), ask, range).await;
            }
            result
        }
        Job::Del(attachment, queues) => {
            let result = verbs::del(&session, attachment, queues).await;
            result.map(|()| Vec::new())
        }
        Job::Check(check) => verbs::check(&session, check).await.map(|()| Vec::new()),
        Job::Gc(gc) => verbs::gc(&session, gc).await.map(|_| Vec::new()),
        Job::Status(status) => verbs::status(&session, status).await.map(|()| Vec::new()),
        Job::End => end_owners(&session).await.map(|()| Vec::new()),
    };
    let took = world.elapsed().saturating_sub(started);
    let identity = client.identity();
    let mut judge = cluster.judge();
    if took > deadline + SLACK + cluster.paused(identity.id) {
        judge.accuse(
            10,
            format!("{identity} took {took:?}, its deadline is {deadline:?}"),
        );
    }
    let (answer, end) = match result {
        Ok(held) => {
            if identity.verb == Verb::Add {
                judge.added(identity.id, &held, identity.used.get());
            }
            (Answer::Done(held), End::Done)
        }
        Err(Error::Exhausted { range, .. }) => {
            judge.short(identity.id, &Shortage::Exhausted(range));
            (Answer::Refused, End::Refused)
        }
        Err(Error::Taken { held, .. } | Error::TakenByOwner { held, .. }) => {
            judge.short(identity.id, &Shortage::Taken(held));
            (Answer::Refused, End::Refused)
        }
        // Of two ADDs at once, the other was given the very address that this one requests.
        Err(error @ Error::AddedAgain { .. }) if identity.verb == Verb::Add => {
            cluster.log(identity, format_args!("{error}"));
            (Answer::Refused, End::Refused)
        }
        Err(Error::OwnerInUse { owner, holder, .. }) => {
            judge.owner_in_use(identity.id, &owner, &holder);
            (Answer::Refused, End::Refused)
        }
        Err(Error::OwnerKeeps { owner, held, .. }) => {
            judge.owner_keeps(identity.id, &owner, &held);
            (Answer::Refused, End::Refused)
        }
        Err(error @ (Error::Full(_) | Error::HoldsOther { .. } | Error::HeldElsewhere { .. })) => {
            cluster.log(identity, format_args!("{error}"));
            (Answer::Refused, End::Refused)
        }
        Err(error) if is_strange(&error) => {
            cluster.log(identity, format_args!("{error}"));
            judge.refused_as_strange(identity.id);
            (Answer::Refused, End::Refused)
        }
        Err(_) if identity.verb == Verb::Del && cluster.bug() == Some(Bug::DelSwallowsFailure) => {
            (Answer::Done(Vec::new()), End::Done)
        }
        Err(error) => (Answer::Failed(error.to_string()), End::Failed),
    };
    if let (Answer::Failed(reason), Some(attachment)) = (&answer, &identity.attachment)
        && identity.verb == Verb::Add
        && says_unknown(reason)
    {
        judge.doubts(attachment);
    }
    judge.ends(identity.id);
    drop(judge);
    cluster.log(identity, format_args!("answers {answer:?}"));
    cluster.count_end(identity.verb, end);
    answer
}

/// Ends the durable owners at rest, as an operator does who looks once.
async fn end_owners<R: Registry>(registry: &R) -> Result<(), Error> {
    let page = registry.owners(None, None).await?;
    for (owner, state) in page.owners.into_iter().flatten() {
        registry.end(&owner, &state).await?;
    }
    Ok(())
}

/// Whether an error says that the store is not known to be the cluster's of who asked.
fn is_strange(error: &Error) -> bool {
    match error {
        Error::Failure(Failure::Stranger { .. } | Failure::NobodysStore { .. }) => true,
        Error::NotAllCollected { first, .. } => is_strange(first),
        _ => false,
    }
}
