//! The simulated etcd cluster: the correct model, behind links and members that fail.
//!
//! A request travels as a task of its own: it arrives even when its sender has given up or was
//! killed meanwhile, and its reply can be lost after it was carried out. The model itself has no
//! faults. Every change is shown to the judge with the process that made it.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::oneshot;
use whereabouts::claim::QueueId;
use whereabouts::clock::{Clock, within};
use whereabouts::store::keys::Keys;
use whereabouts::store::memory::{MemoryStore, MemoryWatch, State};
use whereabouts::store::{
    At, CommitError, Event, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View, Watch,
    WatchEnded,
};

use crate::history::History;
use crate::judge::Judge;
use crate::knobs::Knobs;
use crate::planted::{self, Bug, Piece};
use crate::process::{Identity, NodeId, ProcessId};
use crate::step::{Fault, Step, Verb};
use crate::totals::{End, Totals};
use crate::world::World;

/// A cluster. Clones are one cluster.
#[derive(Clone)]
pub struct Cluster(Rc<Inner>);

struct Inner {
    world: World,
    store: MemoryStore,
    keys: Keys,
    judge: RefCell<Judge>,
    history: History,
    totals: RefCell<Totals>,
    knobs: Knobs,
    bug: Option<Bug>,
    calm: Cell<bool>,
    next_number: Cell<u64>,
    leader_at: Cell<Duration>,
    refusing_until: Cell<Duration>,
    full_until: Cell<Duration>,
    cut_until: RefCell<BTreeMap<(NodeId, Way), Duration>>,
    paused: RefCell<BTreeMap<ProcessId, Duration>>,
}

/// A way that messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From a node to etcd.
    Out,
    /// Back.
    Back,
}

impl Cluster {
    /// A cluster whose store may hold something already.
    pub fn new(
        world: World,
        store: MemoryStore,
        keys: Keys,
        knobs: Knobs,
        bug: Option<Bug>,
        history: History,
    ) -> Self {
        let mut judge = Judge::new(keys.clone());
        store.with(|state| judge.begin(state));
        Self(Rc::new(Inner {
            world,
            store,
            keys,
            judge: RefCell::new(judge),
            history,
            totals: RefCell::default(),
            knobs,
            bug,
            calm: Cell::new(false),
            next_number: Cell::new(0),
            leader_at: Cell::default(),
            refusing_until: Cell::default(),
            full_until: Cell::default(),
            cut_until: RefCell::default(),
            paused: RefCell::default(),
        }))
    }

    /// The scheduler.
    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The knobs.
    pub fn knobs(&self) -> &Knobs {
        &self.0.knobs
    }

    /// The bug that is planted.
    pub fn bug(&self) -> Option<Bug> {
        self.0.bug
    }

    /// The judge.
    pub fn judge(&self) -> RefMut<'_, Judge> {
        self.0.judge.borrow_mut()
    }

    /// What has been counted.
    pub fn totals(&self) -> RefMut<'_, Totals> {
        self.0.totals.borrow_mut()
    }

    /// All ranges that are ever asked for.
    pub fn ranges(&self) -> BTreeSet<QueueId> {
        let configs = self.0.knobs.shape.configs();
        let ranges = configs.iter().flatten();
        ranges
            .map(|range| QueueId {
                pool: range.pool().clone(),
                cidr: range.cidr(),
            })
            .collect()
    }

    /// A number that was not given before.
    pub fn next_number(&self) -> u64 {
        self.0.next_number.replace(self.0.next_number.get() + 1)
    }

    /// Writes a line of the history.
    pub fn log(&self, who: &dyn fmt::Display, what: fmt::Arguments<'_>) {
        self.0.history.line(self.0.world.elapsed(), &who, what);
    }

    /// Counts the end of a verb.
    pub fn count_end(&self, verb: Verb, end: End) {
        *self.totals().verbs.entry((verb, end)).or_default() += 1;
    }

    /// Counts a fault that struck a process.
    pub fn count_fault(&self, fault: Fault, identity: &Identity) {
        identity.is_struck.set(true);
        let place = (fault, identity.verb, identity.step.get());
        *self.totals().faults.entry(place).or_default() += 1;
        self.log(
            identity,
            format_args!("! {fault} in {}", identity.step.get()),
        );
    }

    /// Whether a fault strikes at one of its occasions.
    pub fn strikes(&self, fault: Fault) -> bool {
        let rate = self.0.knobs.faults.get(&fault).copied().unwrap_or_default();
        !self.0.calm.get() && rate > 0 && self.0.world.chance().below(10_000) < rate
    }

    /// From now on nothing fails any more.
    pub fn calm_down(&self) {
        let now = self.0.world.elapsed();
        self.0.calm.set(true);
        self.0.leader_at.set(now);
        self.0.refusing_until.set(now);
        self.0.full_until.set(now);
        self.0.cut_until.borrow_mut().clear();
    }

    /// Whether nothing fails any more.
    pub fn is_calm(&self) -> bool {
        self.0.calm.get()
    }

    /// Lets time pass in the store; leases end, as far as a leader is there to end them.
    pub fn pass(&self, by: Duration) {
        let has_leader = self.has_leader();
        self.0.store.with(|state| {
            state.advance(by);
            if has_leader {
                state.expire();
            }
        });
        self.show_to_judge(None);
    }

    /// Takes the leader away for a while. The next one lets all leases live anew.
    pub async fn lose_leader(&self, pause: Duration) {
        let back = self.0.world.elapsed() + pause;
        self.0.leader_at.set(back.max(self.0.leader_at.get()));
        self.0.world.sleep(pause).await;
        self.0.store.with(State::extend_leases);
    }

    /// Restarts a member: all watches end, and nobody is there for a while.
    pub async fn restart(&self, pause: Duration) {
        self.0.store.end_watches();
        self.lose_leader(pause).await;
    }

    /// Forgets the history up to a little before now.
    pub fn compact(&self) {
        let chance = self.0.world.chance();
        self.0.store.with(|state| {
            let back = i64::try_from(chance.below(4)).expect("small");
            // Compacting twice to the same revision is refused, and changes nothing.
            let _ = state.compact((state.revision() - back).max(1));
        });
    }

    /// Takes no requests for a while.
    pub fn refuse(&self, pause: Duration) {
        self.0.refusing_until.set(self.0.world.elapsed() + pause);
    }

    /// Takes no writes for a while.
    pub fn run_full(&self, pause: Duration) {
        self.0.full_until.set(self.0.world.elapsed() + pause);
    }

    /// Cuts a node off, one way, for a while.
    pub fn cut(&self, node: NodeId, way: Way, pause: Duration) {
        let until = self.0.world.elapsed() + pause;
        self.0.cut_until.borrow_mut().insert((node, way), until);
    }

    /// How long a process was stopped altogether.
    pub fn paused(&self, process: ProcessId) -> Duration {
        self.0
            .paused
            .borrow()
            .get(&process)
            .copied()
            .unwrap_or_default()
    }

    /// Notes that a process is stopped for a while.
    pub fn note_pause(&self, process: ProcessId, pause: Duration) {
        *self.0.paused.borrow_mut().entry(process).or_default() += pause;
    }

    fn is_cut(&self, node: NodeId, way: Way) -> bool {
        let until = self.0.cut_until.borrow().get(&(node, way)).copied();
        until.is_some_and(|until| until > self.0.world.elapsed())
    }

    fn has_leader(&self) -> bool {
        self.0.leader_at.get() <= self.0.world.elapsed()
    }

    fn delay(&self) -> Duration {
        let longest = if self.is_calm() {
            100
        } else {
            self.0.knobs.delay_us
        };
        Duration::from_micros(1 + self.0.world.chance().below(longest))
    }

    fn show_to_judge(&self, by: Option<ProcessId>) {
        self.0.store.with(|state| self.judge().changed(state, by));
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("knobs", &self.0.knobs)
            .finish_non_exhaustive()
    }
}

/// How a call ends that is not answered.
enum NoAnswer {
    /// The reply was lost, or never sent.
    Lost,
    /// The server said that it does not know.
    Unknown(&'static str),
}

/// What a call needs of the cluster.
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
pub struct Client {
    cluster: Cluster,
    identity: Rc<Identity>,
}

impl Client {
    /// The connection of one process.
    pub fn new(cluster: Cluster, identity: Rc<Identity>) -> Self {
        Self { cluster, identity }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whose connection it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn call<T: 'static>(
        &self,
        step: Step,
        needs: Needs,
        act: impl FnOnce(&mut State) -> Result<T, Unavailable> + 'static,
    ) -> Result<Result<T, Unavailable>, NoAnswer> {
        self.identity.step.set(step);
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
}

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
        let lost = self.strikes(Fault::LostRequest) || self.is_cut(Way::Out);
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
            return Ok(Err(Unavailable::Later("too many requests".to_owned())));
        }
        let full = self.needs == Needs::Write && inner.full_until.get() > world.elapsed();
        if full {
            self.cluster.count_fault(Fault::NoSpace, &self.identity);
            if world.chance().below(2) == 0 {
                return Err(NoAnswer::Unknown("database space exceeded"));
            }
        }
        let answer = inner.store.with(act);
        // The end of a lease is nobody's commit, whoever ends it.
        let by = (self.step != Step::Revoke).then_some(self.identity.id);
        self.cluster.show_to_judge(by);
        if full {
            Err(NoAnswer::Unknown("database space exceeded"))
        } else {
            Ok(answer)
        }
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
        let at = planted::read_at(self.cluster.bug(), at);
        let stale = self.cluster.bug() == Some(Bug::StaleReads) && at == At::Now;
        let reads = reads.to_vec();
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
        planted::twist_view(self.cluster.bug(), &self.identity, &mut view);
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
        for Piece { txn: piece, last } in
            planted::twist_txn(bug, self.cluster.keys(), &self.identity, txn)
        {
            let call = self.call(step, Needs::Write, move |state| state.commit(&piece));
            let reply = if bug == Some(Bug::UnknownAsFailure) {
                let world = self.cluster.world();
                let impatient = world.now() + Duration::from_millis(900);
                within(world, impatient, call)
                    .await
                    .unwrap_or(Err(NoAnswer::Lost))
            } else {
                call.await
            };
            let result = match reply {
                Ok(answer) => answer.map_err(CommitError::from),
                Err(NoAnswer::Lost) => Err(CommitError::Unknown("the link was cut".to_owned())),
                Err(NoAnswer::Unknown(reason)) => Err(CommitError::Unknown(reason.to_owned())),
            };
            let result = planted::twist_outcome(bug, step, txn, result);
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
pub struct ClientWatch {
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
        let (_, events) = self.arriving.take().expect("nobody else takes it");
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
