//! A process' connection to the cluster: the store's trait, each call a journey that can fail.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::channel::oneshot;
use whereabouts_clock::{Clock, within};
use whereabouts_core::limits;
use whereabouts_store::memory::{MemoryWatch, State};
use whereabouts_store::{
    At, CommitError, Event, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View, Watch,
    WatchEnded,
};

use super::{Cluster, Way};
use crate::judge::Cause;
use crate::planted::Bug;
use crate::planted::twist::{self, Piece, Reader};
use crate::setup::versions;
use crate::vocabulary::{Fault, Identity, Step, Verb};

/// How a call ends that is not answered.
enum NoAnswer {
    /// The reply was lost, or never sent.
    Lost,
    /// The server said that it does not know.
    Unknown(&'static str),
}

/// The part of the cluster that a call needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Any member.
    Member,
    /// A leader.
    Leader,
    /// A leader that takes writes.
    Write,
}

/// A process' connection to the cluster.
#[derive(Debug)]
pub(crate) struct Client {
    cluster: Cluster,
    identity: Rc<Identity>,
}

impl Client {
    /// The connection of one process.
    pub(crate) fn new(cluster: Cluster, identity: Rc<Identity>) -> Self {
        Self { cluster, identity }
    }

    /// The cluster.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whose connection it is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn call<T: 'static>(
        &self,
        step: Step,
        needs: Needs,
        act: impl FnOnce(&mut State) -> Result<T, Unavailable> + 'static,
    ) -> Result<Result<T, Unavailable>, NoAnswer> {
        self.identity.step.set(step);
        // A holder that is stopped goes on with an old decision. So holders are stopped more often.
        let occasions = match (needs, step) {
            (Needs::Write, Step::Batch) => 5,
            (Needs::Write, _) => 1,
            (Needs::Member | Needs::Leader, _) => 0,
        };
        if (0..occasions).any(|_| self.cluster.strikes(Fault::Stalled)) {
            self.stall().await;
        }
        {
            let mut totals = self.cluster.totals();
            totals.calls += 1;
            *totals.steps.entry((self.identity.verb, step)).or_default() += 1;
        }
        let journey = Journey {
            cluster: self.cluster.clone(),
            identity: self.identity.clone(),
            needs,
            step,
        };
        let (sender, receiver) = oneshot::channel();
        self.cluster
            .0
            .world
            .spawn(async move { journey.make(act, sender).await });
        let answer = receiver.await.unwrap_or(Err(NoAnswer::Lost));
        self.identity.step.set(Step::Between);
        answer
    }

    /// Stops the process where it stands: half of the times until its lease has just ended.
    async fn stall(&self) {
        let world = self.cluster.world().clone();
        let Some(task) = self.identity.task.get() else {
            return;
        };
        let ttl_ms = u64::try_from(limits::LOCK_TTL_S * 1_000).expect("positive");
        let pause_ms = match world.chance().below(4) {
            0 => world.chance().below(1_000),
            1 => world.chance().below(3 * ttl_ms),
            _ => ttl_ms + world.chance().below(1_500),
        };
        let pause = Duration::from_millis(pause_ms);
        self.cluster.count_fault(Fault::Stalled, &self.identity);
        self.cluster.note_pause(self.identity.id, pause);
        world.pause(task);
        let timer = world.clone();
        world.spawn(async move {
            timer.sleep(pause).await;
            timer.resume(task);
        });
        yield_once().await;
    }

    /// The view as the version of this process reads it.
    fn understand(&self, view: &mut View) {
        if self.identity.is_newer {
            view.answers
                .iter_mut()
                .flatten()
                .for_each(versions::read_by_newer);
        }
    }
}

/// Lets the scheduler choose anew.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The longest time for which a node is cut off from a write that it has sent.
const LONGEST_CUT_MS: u64 = 90_000;

/// A request on its way to the cluster and back.
struct Journey {
    cluster: Cluster,
    identity: Rc<Identity>,
    needs: Needs,
    step: Step,
}

type Reply<T> = Result<Result<T, Unavailable>, NoAnswer>;

impl Journey {
    async fn make<T>(
        self,
        act: impl FnOnce(&mut State) -> Result<T, Unavailable>,
        sender: oneshot::Sender<Reply<T>>,
    ) {
        let world = self.cluster.world().clone();
        world.sleep(self.cluster.delay()).await;
        if self.strikes(Fault::LateRequest) {
            world
                .sleep(Duration::from_millis(world.chance().below(100_000)))
                .await;
        } else if self.strikes(Fault::SlowLink) {
            world
                .sleep(Duration::from_millis(world.chance().below(900)))
                .await;
        }
        // A request that left before the link was cut is not lost with the link.
        let lost =
            !self.is_severed().await && (self.strikes(Fault::LostRequest) || self.is_cut(Way::Out));
        let reply = if lost {
            Err(NoAnswer::Lost)
        } else {
            self.arrive(act).await
        };
        world.sleep(self.cluster.delay()).await;
        if self.strikes(Fault::LostReply)
            || self.is_cut(Way::Back)
            || matches!(reply, Err(NoAnswer::Lost))
        {
            // The sender is told that its connection is gone, or nothing at all.
            if world.chance().below(2) == 0 {
                world.sleep(Duration::from_secs(200)).await;
            }
            return drop(sender);
        }
        // A sender that is gone by now hears nothing.
        let _ = sender.send(reply);
    }

    async fn arrive<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Unavailable>) -> Reply<T> {
        let inner = &self.cluster.0;
        let world = &inner.world;
        if self.needs != Needs::Member && !self.cluster.has_leader() {
            self.cluster.count_fault(Fault::NoLeader, &self.identity);
            match world.chance().below(3) {
                0 => return Ok(Err(Unavailable::Later("no leader".to_owned()))),
                1 => return Err(NoAnswer::Unknown("request timed out")),
                _ => {
                    let wait = inner.leader_at.get().saturating_sub(world.elapsed());
                    world.sleep(wait).await;
                }
            }
        }
        if inner.refusing_until.get() > world.elapsed() {
            self.cluster
                .count_fault(Fault::TooManyRequests, &self.identity);
            return Ok(Err(Unavailable::NotNow("too many requests".to_owned())));
        }
        let full = self.needs == Needs::Write && inner.full_until.get() > world.elapsed();
        if full {
            self.cluster.count_fault(Fault::NoSpace, &self.identity);
            if world.chance().below(2) == 0 {
                return Err(NoAnswer::Unknown("database space exceeded"));
            }
        }
        let answer = inner.store.with(act);
        self.cluster.show_to_judge(match self.step {
            Step::Revoke => Cause::Revoked,
            step => Cause::Commit(self.identity.id, step),
        });
        if full {
            Err(NoAnswer::Unknown("database space exceeded"))
        } else {
            Ok(answer)
        }
    }

    /// Whether the sender of a write has lost etcd for longer than its deadline. If so, the write lands by now, at any
    /// time from then on.
    async fn is_severed(&self) -> bool {
        if self.needs != Needs::Write || !self.strikes(Fault::Severed) {
            return false;
        }
        let world = self.cluster.world();
        let millis = |least: u64, most: u64| least + world.chance().below(most - least);
        let pause = Duration::from_millis(millis(limits::ADD_DEADLINE_MS, LONGEST_CUT_MS));
        for way in [Way::Out, Way::Back] {
            self.cluster.cut(self.identity.node, way, pause);
        }
        let lands = Duration::from_millis(millis(0, LONGEST_CUT_MS));
        world.sleep(lands).await;
        true
    }

    fn strikes(&self, fault: Fault) -> bool {
        let strikes = self.cluster.strikes(fault);
        if strikes {
            self.cluster.count_fault(fault, &self.identity);
        }
        strikes
    }

    fn is_cut(&self, way: Way) -> bool {
        let cut = self.cluster.is_cut(self.identity.node, way);
        if cut {
            self.cluster.count_fault(Fault::Partition, &self.identity);
        }
        cut
    }
}

/// A request that changes nothing that must be settled: no answer is a reason to ask again.
fn answered<T>(reply: Reply<T>) -> Result<T, Unavailable> {
    match reply {
        Ok(answer) => answer,
        Err(NoAnswer::Lost) => Err(Unavailable::Later("the link was cut".to_owned())),
        Err(NoAnswer::Unknown(reason)) => Err(Unavailable::Later(reason.to_owned())),
    }
}

impl Store for Client {
    type Watch = ClientWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        let step = Step::of_read(at);
        let needs = if at == At::Whenever {
            Needs::Member
        } else {
            Needs::Leader
        };
        let at = twist::read_at(self.cluster.bug(), at);
        let stale = self.cluster.bug() == Some(Bug::StaleReads) && at == At::Now;
        let Identity {
            verb,
            node,
            attachment,
            ..
        } = &*self.identity;
        let reader = match (verb, attachment) {
            (Verb::Gc, _) => Reader::Collects(*node),
            (Verb::Del, Some(attachment)) => Reader::Deletes(attachment),
            (Verb::Add, Some(attachment)) => Reader::Adds(attachment),
            _ => Reader::Other,
        };
        let (bug, keys) = (self.cluster.bug(), self.cluster.keys());
        let reads = twist::twist_reads(bug, keys, reader, reads);
        let read = move |state: &mut State| {
            let old = At::Revision((state.revision() - 3).max(1));
            // Where the old revision is compacted, the newest must do.
            let answer = if stale {
                state.read(&reads, old)
            } else {
                state.read(&reads, at)
            };
            answer.or_else(|_| state.read(&reads, at))
        };
        let reply = self.call(step, needs, read).await;
        let mut view = answered(reply)?;
        self.identity.has_read.set(true);
        self.understand(&mut view);
        twist::twist_view(bug, keys, reader, &mut view);
        Ok(view)
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let step = Step::of_commit(txn);
        // One that was struck may have used up its optimistic tries on its own unknown commits.
        let first = step == Step::Join && !self.identity.has_joined.replace(true);
        if first && !self.identity.is_struck.get() {
            self.cluster.judge().joins(self.identity.id);
        }
        let bug = self.cluster.bug();
        let of = self.identity.attachment.as_ref();
        for Piece {
            txn: mut piece,
            last,
        } in twist::twist_txn(bug, self.cluster.keys(), of, txn)
        {
            let (cluster, identity) = (self.cluster.clone(), self.identity.clone());
            let call = self.call(step, Needs::Write, move |state| {
                let of = identity.attachment.as_ref();
                twist::twist_arrival(bug, cluster.keys(), of, &mut piece, state);
                if identity.is_newer {
                    versions::written_by_newer(&mut piece, state);
                }
                state.commit(&piece)
            });
            let reply = if twist::is_impatient(bug) {
                let world = self.cluster.world();
                let impatient = world.now() + Duration::from_millis(900);
                within(world, impatient, call)
                    .await
                    .unwrap_or(Err(NoAnswer::Lost))
            } else {
                call.await
            };
            let mut result = match reply {
                Ok(answer) => answer.map_err(CommitError::from),
                Err(NoAnswer::Lost) => Err(CommitError::Unknown("the link was cut".to_owned())),
                Err(NoAnswer::Unknown(reason)) => Err(CommitError::Unknown(reason.to_owned())),
            };
            if let Ok(Outcome::Done(view) | Outcome::Conflict(view)) = &mut result {
                self.understand(view);
            }
            let result = twist::twist_outcome(bug, step, txn, result);
            self.cluster
                .log(&*self.identity, format_args!("{step}: {}", brief(&result)));
            if last || !matches!(result, Ok(Outcome::Done(_))) {
                return result;
            }
        }
        unreachable!("one of the transactions is the last")
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        let grant = move |state: &mut State| Ok(state.grant(ttl_s));
        let lease = answered(self.call(Step::Grant, Needs::Write, grant).await)?;
        self.cluster.judge().granted(self.identity.id, lease.id);
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        if self.cluster.bug() == Some(Bug::LeaseNotKeptAlive) {
            return Ok(());
        }
        let keep = move |state: &mut State| state.keep_alive(lease);
        answered(self.call(Step::KeepAlive, Needs::Leader, keep).await)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        let revoke = move |state: &mut State| state.revoke(lease);
        answered(self.call(Step::Revoke, Needs::Write, revoke).await)
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<ClientWatch, Unavailable> {
        let store = self.cluster.0.store.clone();
        // The model's watches are its store's, so the call only carries the fact that it arrived.
        answered(self.call(Step::Watch, Needs::Leader, |_| Ok(())).await)?;
        let inner = store.watch(keys).await?;
        let (cluster, identity) = (self.cluster.clone(), self.identity.clone());
        Ok(ClientWatch {
            inner,
            cluster,
            identity,
            arriving: None,
        })
    }
}

fn brief(result: &Result<Outcome, CommitError>) -> String {
    match result {
        Ok(Outcome::Done(view)) => format!("done at {}", view.revision),
        Ok(Outcome::Conflict(view)) => format!("conflict at {}", view.revision),
        Err(error) => error.to_string(),
    }
}

/// A process' watch: its events arrive after a delay, or it ends.
#[derive(Debug)]
pub(crate) struct ClientWatch {
    inner: MemoryWatch,
    cluster: Cluster,
    identity: Rc<Identity>,
    arriving: Option<(Duration, Vec<Event>)>,
}

impl Watch for ClientWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        self.identity.step.set(Step::Wait);
        let world = self.cluster.world().clone();
        if self.arriving.is_none() {
            let events = self.inner.next().await?;
            self.arriving = Some((world.elapsed() + self.cluster.delay(), events));
        }
        let (at, _) = self.arriving.as_ref().expect("just set");
        world.sleep(at.saturating_sub(world.elapsed())).await;
        let (_, mut events) = self.arriving.take().expect("nobody else takes it");
        if self.identity.is_newer {
            for event in &mut events {
                if let Event::Put(entry) = event {
                    versions::read_by_newer(entry);
                }
            }
        }
        let cut = self.cluster.is_cut(self.identity.node, Way::Back);
        if cut || self.cluster.strikes(Fault::WatchEnded) {
            let fault = if cut {
                Fault::Partition
            } else {
                Fault::WatchEnded
            };
            self.cluster.count_fault(fault, &self.identity);
            return Err(WatchEnded("the link was cut".to_owned()));
        }
        self.identity.step.set(Step::Between);
        Ok(events)
    }
}
