//! The chaos suite: nodes that execute the plugin, a nemesis that strikes it and the cluster, and
//! a verdict on everything that the store went through.
//!
//! ```text
//! nodes ──> execution: the plugin ──> proxies ──> etcd <── watcher ──> verdict
//!              ^ struck by nemesis ───────┴────────┘                      ^
//! nodes ──── what was asked and answered ─────────────────────────────────┘
//! ```

mod execution;
pub mod fault;
mod finish;
mod nemesis;
mod network;
mod node;
mod pod;
pub mod report;
mod strike;
pub mod tally;
mod verdict;
mod watcher;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::{Either, join, join_all, join3, select};
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};
use whereabouts_core::claim::Attachment;
use whereabouts_store::{Event, Revision};

use self::fault::Fault;
use self::node::Node;
use self::tally::Tally;
use self::verdict::Verdict;
use crate::proxied::{Control, ProxiedCluster};

/// Below it are the plugin's keys: as the simulator has them, whose bugs can be planted here too.
const PREFIX: &str = "/w/";

/// How often many pods start at once.
const BURST_PERIOD: Duration = Duration::from_secs(3);

/// How often it is looked whether a promise is broken.
const LOOK: Duration = Duration::from_millis(20);

/// Lines of the log that are kept for a finding.
const LOG_LINES: usize = 4_000;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed of its choices.
    pub seed: u64,
    /// How long faults last at least.
    pub lasts: Duration,
    /// The kinds that strike before each kind does once.
    pub first: Vec<Fault>,
    /// Nodes.
    pub nodes: u64,
    /// Pods that a node runs at the same time.
    pub pods: u64,
    /// The plugin.
    pub plugin: PathBuf,
    /// The versions of etcd that the members are upgraded to, one version after the other.
    pub upgrades: Vec<PathBuf>,
    /// The bug that it has, if it is the sabotaged one.
    pub sabotage: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Pods come and go.
    Working,
    /// No pod comes any more.
    Ending,
    /// Nobody tries anything again.
    Over,
}

/// One run.
pub struct Suite {
    options: Options,
    cluster: ProxiedCluster,
    verdict: RefCell<Verdict>,
    tally: RefCell<Tally>,
    phase: Cell<Phase>,
    /// Faults of the plugin that strike at the moment.
    under: RefCell<BTreeSet<Fault>>,
    hit: RefCell<BTreeSet<Fault>>,
    /// Attachments of which something may be left when they are deleted: the documented case.
    suspects: RefCell<BTreeSet<Attachment>>,
    left_to_gc: Cell<u64>,
    burst: Notify,
    log: RefCell<VecDeque<String>>,
    watching: Cell<bool>,
}

impl Suite {
    /// A run on `cluster`, which is fresh.
    pub fn new(options: Options, cluster: ProxiedCluster) -> Rc<Self> {
        Rc::new(Self {
            options,
            cluster,
            verdict: RefCell::new(Verdict::new(PREFIX)),
            tally: RefCell::new(Tally::new(Instant::now())),
            phase: Cell::new(Phase::Working),
            under: RefCell::default(),
            hit: RefCell::default(),
            suspects: RefCell::default(),
            left_to_gc: Cell::new(0),
            burst: Notify::new(),
            log: RefCell::default(),
            watching: Cell::new(true),
        })
    }

    /// Runs it. Gives what is not as it must be.
    pub fn run(self: &Rc<Self>) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        LocalSet::new().block_on(&runtime, self.perform())
    }

    async fn perform(self: &Rc<Self>) -> Result<Vec<String>, String> {
        Control::of(&self.cluster).all_well().await?;
        let watched = join(
            watcher::send_ticks(&self.cluster, &**self),
            watcher::watch(&self.cluster, &**self),
        );
        let burst = self.burst_now_and_then();
        let (_, (), complaints) = Box::pin(join3(watched, burst, self.work())).await;
        Ok(complaints)
    }

    async fn work(self: &Rc<Self>) -> Vec<String> {
        let nodes: Vec<Rc<Node>> = (0..self.options.nodes)
            .map(|number| Node::new(self, number))
            .collect();
        let places = |node: &Rc<Node>| {
            let node = node.clone();
            (0..self.options.pods)
                .map(move |place| tokio::task::spawn_local(node.clone().run_pods(place)))
        };
        let pods: Vec<_> = nodes.iter().flat_map(places).collect();
        let end = Instant::now() + self.options.lasts;
        let haunt = std::pin::pin!(nemesis::haunt(self, end));
        let found = std::pin::pin!(self.found());
        if let Either::Left(_) = select(haunt, found).await {
            self.phase.set(Phase::Ending);
            self.burst.notify_waiters();
            finish::finish(self, &nodes, join_all(pods)).await;
        }
        self.watching.set(false);
        let mut complaints = self.findings();
        if complaints.is_empty() {
            complaints = nemesis::complaints(self);
        }
        complaints
    }

    /// Ends when a promise is broken.
    async fn found(&self) {
        while !self.has_found() {
            sleep(LOOK).await;
        }
    }

    /// Now and then everybody who idles starts at once; not while it is measured what ADD costs.
    async fn burst_now_and_then(&self) {
        while self.is_working() {
            sleep(BURST_PERIOD).await;
            if !self.tally().is_measured() {
                self.burst.notify_waiters();
            }
        }
    }

    /// Ends after `pause`, or when everybody starts at once, or no pod comes any more.
    async fn idle(&self, pause: Duration) {
        if self.is_working() {
            // Either way it is over.
            let _ = timeout(pause, self.burst.notified()).await;
        }
    }

    /// The broken promises.
    fn findings(&self) -> Vec<String> {
        self.verdict().finding().into_iter().collect()
    }

    /// The end of the log.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.borrow().iter().cloned().collect()
    }

    fn log(&self, what: fmt::Arguments<'_>) {
        let at = self.tally.borrow().start().elapsed();
        let seen = self.seen();
        let mut log = self.log.borrow_mut();
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(format!("{:>10.3} r{seen} {what}", at.as_secs_f64()));
    }

    /// Something of the cluster's that is not as it should be, and no finding by itself.
    fn trouble(&self, what: fmt::Arguments<'_>) {
        self.log(what);
        eprintln!("chaos: {what}");
    }

    fn is_working(&self) -> bool {
        self.phase.get() == Phase::Working && !self.has_found()
    }

    fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over || self.has_found()
    }

    fn has_found(&self) -> bool {
        self.verdict.borrow().finding().is_some()
    }

    fn is_under(&self, fault: Fault) -> bool {
        self.under.borrow().contains(&fault)
    }

    fn set_under(&self, fault: Fault) {
        self.under.borrow_mut().insert(fault);
    }

    fn no_longer_under(&self, fault: Fault) {
        self.under.borrow_mut().remove(&fault);
    }

    fn hit(&self, fault: Fault) {
        self.hit.borrow_mut().insert(fault);
    }

    fn was_hit(&self, fault: Fault) -> bool {
        self.hit.borrow().contains(&fault)
    }

    fn suspect(&self, attachment: &Attachment) {
        self.suspects.borrow_mut().insert(attachment.clone());
    }

    fn seen(&self) -> Revision {
        self.verdict.borrow().seen()
    }

    fn seed(&self) -> u64 {
        self.options.seed
    }

    fn first(&self) -> &[Fault] {
        &self.options.first
    }

    fn plugin(&self) -> &Path {
        &self.options.plugin
    }

    fn upgrades(&self) -> &[PathBuf] {
        &self.options.upgrades
    }

    fn sabotage(&self) -> Option<&str> {
        self.options.sabotage.as_deref()
    }

    fn cluster(&self) -> &ProxiedCluster {
        &self.cluster
    }

    fn verdict(&self) -> RefMut<'_, Verdict> {
        self.verdict.borrow_mut()
    }

    fn tally(&self) -> RefMut<'_, Tally> {
        self.tally.borrow_mut()
    }
}

impl watcher::Told for Suite {
    fn revision(&self, events: Vec<Event>) {
        self.verdict().revision(&events);
    }

    fn tick(&self, number: u64) {
        self.verdict().tick(number);
    }

    fn sends(&self, number: u64) {
        self.verdict().sends(number);
    }

    fn goes_on(&self) -> bool {
        self.watching.get()
    }

    fn fails(&self, reason: String) {
        self.verdict().accuse(0, reason);
    }
}
