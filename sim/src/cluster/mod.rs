//! The simulated etcd cluster: the correct model, behind links and members that fail.
//!
//! A request travels as a task of its own: it arrives even when its sender has given up or was
//! killed meanwhile, and its reply can be lost after it was carried out. The model itself has no
//! faults. Every change is shown to the judge with the process that made it.

pub(crate) mod client;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::claim::RangeId;
use whereabouts_store::keys::Keys;
use whereabouts_store::memory::{MemoryStore, State};

use crate::journal::{End, History, Totals};
use crate::judge::{Cause, Judge};
use crate::planted::Bug;
use crate::setup::Knobs;
use crate::vocabulary::{Fault, Identity, NodeId, ProcessId, Verb};
use crate::world::World;

/// How often the leader looks for leases whose time is up.
const SWEEP: Duration = Duration::from_millis(500);

/// A cluster. Clones are one cluster.
#[derive(Clone)]
pub(crate) struct Cluster(Rc<Inner>);

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
    /// Draws the faults, apart from all other chance: that one fault is left out changes no other
    /// draw by itself.
    fault_chance: Chance,
    next_fault: Cell<u64>,
    next_number: Cell<u64>,
    leader_at: Cell<Duration>,
    sweep_at: Cell<Duration>,
    refusing_until: Cell<Duration>,
    full_until: Cell<Duration>,
    cut_until: RefCell<BTreeMap<(NodeId, Way), Duration>>,
    paused: RefCell<BTreeMap<ProcessId, Duration>>,
}

/// A way that messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// From a node to etcd.
    Out,
    /// Back.
    Back,
}

impl Cluster {
    /// A cluster whose store may hold something already.
    pub(crate) fn new(
        world: World,
        store: MemoryStore,
        keys: Keys,
        knobs: Knobs,
        bug: Option<Bug>,
        history: History,
    ) -> Self {
        let mut judge = Judge::new(keys.clone());
        judge.share(knobs.sharing);
        let fault_chance = Chance::new(world.chance().bits());
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
            fault_chance,
            next_fault: Cell::new(0),
            next_number: Cell::new(0),
            leader_at: Cell::default(),
            sweep_at: Cell::default(),
            refusing_until: Cell::default(),
            full_until: Cell::default(),
            cut_until: RefCell::default(),
            paused: RefCell::default(),
        }))
    }

    /// The scheduler.
    pub(crate) fn world(&self) -> &World {
        &self.0.world
    }

    /// The keys.
    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The knobs.
    pub(crate) fn knobs(&self) -> &Knobs {
        &self.0.knobs
    }

    /// The bug that is planted.
    pub(crate) fn bug(&self) -> Option<Bug> {
        self.0.bug
    }

    /// The judge.
    pub(crate) fn judge(&self) -> RefMut<'_, Judge> {
        self.0.judge.borrow_mut()
    }

    /// The counts so far.
    pub(crate) fn totals(&self) -> RefMut<'_, Totals> {
        self.0.totals.borrow_mut()
    }

    /// All ranges that are ever asked for.
    pub(crate) fn ranges(&self) -> BTreeSet<RangeId> {
        let configs = self.0.knobs.shape.configs();
        let ranges = configs.iter().flatten();
        ranges
            .map(|range| RangeId {
                pool: range.pool().clone(),
                cidr: range.cidr(),
            })
            .collect()
    }

    /// A number that was not given before.
    pub(crate) fn next_number(&self) -> u64 {
        self.0.next_number.replace(self.0.next_number.get() + 1)
    }

    /// Writes a line of the history.
    pub(crate) fn log(&self, who: &dyn fmt::Display, what: fmt::Arguments<'_>) {
        self.0.history.line(self.0.world.elapsed(), &who, what);
    }

    /// Counts the end of a verb.
    pub(crate) fn count_end(&self, verb: Verb, end: End) {
        *self.totals().verbs.entry((verb, end)).or_default() += 1;
    }

    /// Counts a fault that struck a process.
    pub(crate) fn count_fault(&self, fault: Fault, identity: &Identity) {
        identity.is_struck.set(true);
        self.judge().strikes(identity.id);
        let place = (fault, identity.verb, identity.step.get());
        *self.totals().faults.entry(place).or_default() += 1;
        self.log(
            identity,
            format_args!("! {fault} in {}", identity.step.get()),
        );
    }

    /// Whether a fault strikes at one of its occasions.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let rate = self.0.knobs.faults.get(&fault).copied().unwrap_or_default();
        if self.0.calm.get() || rate == 0 || self.0.fault_chance.below(10_000) >= rate {
            return false;
        }
        let number = self.0.next_fault.replace(self.0.next_fault.get() + 1);
        let strikes = self
            .0
            .knobs
            .only
            .as_ref()
            .is_none_or(|only| only.contains(&number));
        if strikes {
            self.log(&"fault", format_args!("! {fault}, number {number}"));
        }
        strikes
    }

    /// How many faults have struck, or would have.
    pub(crate) fn faults(&self) -> u64 {
        self.0.next_fault.get()
    }

    /// From now on nothing fails any more.
    pub(crate) fn calm_down(&self) {
        let now = self.0.world.elapsed();
        self.0.calm.set(true);
        self.0.leader_at.set(now);
        self.0.refusing_until.set(now);
        self.0.full_until.set(now);
        self.0.cut_until.borrow_mut().clear();
    }

    /// Whether nothing fails any more.
    pub(crate) fn is_calm(&self) -> bool {
        self.0.calm.get()
    }

    /// Lets time pass in the store; leases end, as far as a leader is there to end them.
    pub(crate) fn pass(&self, by: Duration) {
        self.0.store.with(|state| state.advance(by));
        let now = self.0.world.elapsed();
        if self.has_leader() && now >= self.0.sweep_at.get() {
            self.0.sweep_at.set(now + SWEEP);
            self.0.store.with(State::expire);
            self.show_to_judge(Cause::LeaseEnded);
        }
    }

    /// Takes the leader away for a while. The next one lets all leases live anew.
    pub(crate) async fn lose_leader(&self, pause: Duration) {
        let back = self.0.world.elapsed() + pause;
        self.0.leader_at.set(back.max(self.0.leader_at.get()));
        self.0.world.sleep(pause).await;
        self.0.store.with(State::extend_leases);
    }

    /// Restarts a member: all watches end, and nobody is there for a while.
    pub(crate) async fn restart(&self, pause: Duration) {
        self.0.store.end_watches();
        self.lose_leader(pause).await;
    }

    /// Forgets the history up to a little before now.
    pub(crate) fn compact(&self) {
        let chance = self.0.world.chance();
        self.0.store.with(|state| {
            let back = i64::try_from(chance.below(4)).expect("small");
            // Compacting twice to the same revision is refused, and changes nothing.
            let _ = state.compact((state.revision() - back).max(1));
        });
    }

    /// Takes no requests for a while.
    pub(crate) fn refuse(&self, pause: Duration) {
        self.0.refusing_until.set(self.0.world.elapsed() + pause);
    }

    /// Takes no writes for a while.
    pub(crate) fn run_full(&self, pause: Duration) {
        self.0.full_until.set(self.0.world.elapsed() + pause);
    }

    /// Cuts a node off, one way, for a while.
    pub(crate) fn cut(&self, node: NodeId, way: Way, pause: Duration) {
        let until = self.0.world.elapsed() + pause;
        self.0.cut_until.borrow_mut().insert((node, way), until);
    }

    /// How long a process was stopped altogether.
    pub(crate) fn paused(&self, process: ProcessId) -> Duration {
        self.0
            .paused
            .borrow()
            .get(&process)
            .copied()
            .unwrap_or_default()
    }

    /// Notes that a process is stopped for a while.
    pub(crate) fn note_pause(&self, process: ProcessId, pause: Duration) {
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

    fn show_to_judge(&self, cause: Cause) {
        self.0
            .store
            .with(|state| self.judge().changed(state, cause));
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("knobs", &self.0.knobs)
            .finish_non_exhaustive()
    }
}
