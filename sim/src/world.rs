//! The scheduler: one thread, virtual time, and every choice drawn from one seed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::task::{ArcWake, waker};
use whereabouts_clock::{Chance, Clock};

type Process = Pin<Box<dyn Future<Output = ()>>>;

/// A running process of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

/// The scheduler and its clock. Clones are the same world.
#[derive(Clone)]
pub(crate) struct World(Rc<Inner>);

struct Inner {
    chance: Chance,
    /// The origin of virtual instants. The code only uses differences of instants.
    origin: Instant,
    now: Cell<Duration>,
    next_id: Cell<u64>,
    tasks: RefCell<BTreeMap<TaskId, Process>>,
    timers: RefCell<BTreeMap<(Duration, u64), Waker>>,
    ready: Ready,
    paused: RefCell<BTreeSet<TaskId>>,
}

struct TaskWaker {
    id: TaskId,
    ready: Ready,
}

impl ArcWake for TaskWaker {
    fn wake_by_ref(this: &Arc<Self>) {
        this.ready.insert(this.id);
    }
}

/// The tasks that can go on, in order. There are few, and one is chosen by its place: a vector.
#[derive(Clone, Default)]
struct Ready(Arc<Mutex<Vec<TaskId>>>);

impl Ready {
    fn insert(&self, id: TaskId) {
        let mut ready = self.lock();
        if let Err(place) = ready.binary_search(&id) {
            ready.insert(place, id);
        }
    }

    /// Takes out the first that is not paused, from a place on that `chance` chooses.
    fn choose(&self, paused: &BTreeSet<TaskId>, chance: &Chance) -> Option<TaskId> {
        let mut ready = self.lock();
        let count = ready.len();
        let first = usize::try_from(chance.below(count as u64)).expect("below a small number");
        let mut places = (0..count).map(|further| (first + further) % count);
        let place = places.find(|place| !paused.contains(&ready[*place]))?;
        Some(ready.remove(place))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of one step of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A process ran until it waited.
    Ran(TaskId),
    /// Nothing could run, so time went on by this much.
    Waited(Duration),
    /// Nothing is left that could ever run.
    Idle,
}

impl World {
    /// The world that `seed` determines.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rc::new(Inner {
            chance: Chance::new(seed),
            origin: Instant::now(),
            now: Cell::new(Duration::ZERO),
            next_id: Cell::new(0),
            tasks: RefCell::default(),
            timers: RefCell::default(),
            ready: Ready::default(),
            paused: RefCell::default(),
        }))
    }

    /// The source of all chance.
    pub(crate) fn chance(&self) -> &Chance {
        &self.0.chance
    }

    /// Virtual time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.now.get()
    }

    /// Starts a process.
    pub(crate) fn spawn(&self, process: impl Future<Output = ()> + 'static) -> TaskId {
        let id = TaskId(self.0.next_id.get());
        self.0.next_id.set(id.0 + 1);
        self.0.tasks.borrow_mut().insert(id, Box::pin(process));
        self.0.ready.insert(id);
        id
    }

    /// Ends a process where it stands. Its requests are still on their way.
    pub(crate) fn kill(&self, id: TaskId) {
        let process = self.0.tasks.borrow_mut().remove(&id);
        drop(process);
    }

    /// Stops a process: time goes on, and it does not.
    pub(crate) fn pause(&self, id: TaskId) {
        self.0.paused.borrow_mut().insert(id);
    }

    /// Lets a stopped process go on.
    pub(crate) fn resume(&self, id: TaskId) {
        self.0.paused.borrow_mut().remove(&id);
    }

    /// Whether a process has neither ended nor been killed.
    pub(crate) fn is_alive(&self, id: TaskId) -> bool {
        self.0.tasks.borrow().contains_key(&id)
    }

    /// Ends after `pause`.
    pub(crate) async fn sleep(&self, pause: Duration) {
        let until = self.elapsed() + pause;
        self.sleep_until_elapsed(until).await;
    }

    /// Lets one process run, or time pass.
    pub(crate) fn step(&self) -> Step {
        let chosen = self.0.ready.choose(&self.0.paused.borrow(), self.chance());
        let Some(id) = chosen else { return self.wait() };
        let process = self.0.tasks.borrow_mut().remove(&id);
        if let Some(mut process) = process {
            let waker = waker(Arc::new(TaskWaker {
                id,
                ready: self.0.ready.clone(),
            }));
            if process
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
            {
                self.0.tasks.borrow_mut().insert(id, process);
            }
        }
        Step::Ran(id)
    }

    fn wait(&self) -> Step {
        let Some(((at, _), waker)) = self.0.timers.borrow_mut().pop_first() else {
            return Step::Idle;
        };
        let before = self.0.now.get();
        self.0.now.set(at.max(before));
        waker.wake();
        Step::Waited(at.saturating_sub(before))
    }

    async fn sleep_until_elapsed(&self, until: Duration) {
        let mut is_set = false;
        poll_fn(|context| {
            if self.elapsed() >= until {
                return Poll::Ready(());
            }
            // A task has one waker all its life, so once is enough.
            if std::mem::replace(&mut is_set, true) {
                return Poll::Pending;
            }
            let number = self.0.next_id.get();
            self.0.next_id.set(number + 1);
            self.0
                .timers
                .borrow_mut()
                .insert((until, number), context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        self.0.origin + self.elapsed()
    }

    fn since_epoch(&self) -> Duration {
        Duration::from_secs(1_800_000_000) + self.elapsed()
    }

    async fn sleep_until(&self, instant: Instant) {
        self.sleep_until_elapsed(instant.duration_since(self.0.origin))
            .await;
    }
}

/// The clock of a node: time passes as everywhere, and each node believes another date, which jumps.
#[derive(Clone, Debug)]
pub(crate) struct NodeClock {
    world: World,
    node: u64,
}

/// How far the dates of nodes lie apart, in seconds.
const SKEW_S: u64 = 2 * 86_400;

/// After how long a node's date jumps, in seconds.
const JUMP_S: u64 = 7;

impl NodeClock {
    /// The clock of a node.
    pub(crate) fn new(world: World, node: u64) -> Self {
        Self { world, node }
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Instant {
        self.world.now()
    }

    fn since_epoch(&self) -> Duration {
        let jumps = self.world.elapsed().as_secs() / JUMP_S;
        let skew = Chance::new(self.node << 32 | jumps).below(SKEW_S);
        self.world.since_epoch() + Duration::from_secs(skew)
    }

    async fn sleep_until(&self, instant: Instant) {
        self.world.sleep_until(instant).await;
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}
