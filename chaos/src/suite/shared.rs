//! A run as all of its parts share it: options, phase, faults at the moment, verdict and log.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tokio::sync::Notify;
use tokio::time::timeout;
use whereabouts_core::claim::Attachment;
use whereabouts_store::{Event, Revision};

use super::fault::Fault;
use super::tally::Tally;
use super::verdict::{EtcdCourt, KubernetesCourt, Verdict};
use super::watcher::Told;
use crate::proxied::{Control, ProxiedCluster};
use crate::servers::Servers;

/// Below it are the plugin's keys: as the simulator has them, whose bugs can be planted here too.
pub(super) const PREFIX: &str = "/w/";

/// Lines of the log that are kept for a finding.
const LOG_LINES: usize = 4_000;

/// The datastore of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Datastore {
    /// etcd itself.
    Etcd,
    /// API servers on it.
    Kubernetes,
}

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
pub(super) enum Phase {
    /// Pods come and go.
    Working,
    /// No pod comes any more.
    Ending,
    /// Nobody tries anything again.
    Over,
}

/// One run.
pub struct Suite {
    pub(super) options: Options,
    /// They end before their etcd.
    servers: Option<Servers>,
    pub(super) cluster: ProxiedCluster,
    pub(super) verdict: RefCell<Verdict>,
    pub(super) tally: RefCell<Tally>,
    pub(super) phase: Cell<Phase>,
    /// Faults of the plugin that strike at the moment.
    pub(super) under: RefCell<BTreeSet<Fault>>,
    pub(super) hit: RefCell<BTreeSet<Fault>>,
    /// Attachments of which something may be left when they are deleted: the documented case.
    pub(super) suspects: RefCell<BTreeSet<Attachment>>,
    pub(super) left_to_gc: Cell<u64>,
    pub(super) burst: Notify,
    pub(super) log: RefCell<VecDeque<String>>,
    pub(super) watching: Cell<bool>,
}

impl Suite {
    /// A run on `cluster`, which is fresh, or on API servers of it.
    pub fn new(options: Options, cluster: ProxiedCluster, servers: Option<Servers>) -> Rc<Self> {
        let verdict = match &servers {
            None => Verdict::of(Box::new(EtcdCourt::new(PREFIX))),
            Some(_) => Verdict::of(Box::new(KubernetesCourt::default())),
        };
        Rc::new(Self {
            options,
            servers,
            cluster,
            verdict: RefCell::new(verdict),
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

    /// Ends after `pause`, or when everybody starts at once, or no pod comes any more.
    pub(super) async fn idle(&self, pause: Duration) {
        if self.is_working() {
            // Either way it is over.
            let _ = timeout(pause, self.burst.notified()).await;
        }
    }

    /// The broken promises.
    pub(super) fn findings(&self) -> Vec<String> {
        self.verdict().court().finding().into_iter().collect()
    }

    /// The end of the log.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.borrow().iter().cloned().collect()
    }

    pub(super) fn log(&self, what: fmt::Arguments<'_>) {
        let at = self.tally.borrow().start().elapsed();
        let seen = self.seen();
        let mut log = self.log.borrow_mut();
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(format!("{:>10.3} r{seen} {what}", at.as_secs_f64()));
    }

    /// Something of the cluster's that is not as it should be, and no finding by itself.
    pub(super) fn trouble(&self, what: fmt::Arguments<'_>) {
        self.log(what);
        eprintln!("chaos: {what}");
    }

    pub(super) fn is_working(&self) -> bool {
        self.phase.get() == Phase::Working && !self.has_found()
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over || self.has_found()
    }

    pub(super) fn has_found(&self) -> bool {
        self.verdict.borrow().court().finding().is_some()
    }

    pub(super) fn is_under(&self, fault: Fault) -> bool {
        self.under.borrow().contains(&fault)
    }

    pub(super) fn set_under(&self, fault: Fault) {
        self.under.borrow_mut().insert(fault);
    }

    pub(super) fn no_longer_under(&self, fault: Fault) {
        self.under.borrow_mut().remove(&fault);
    }

    pub(super) fn hit(&self, fault: Fault) {
        self.hit.borrow_mut().insert(fault);
    }

    pub(super) fn was_hit(&self, fault: Fault) -> bool {
        self.hit.borrow().contains(&fault)
    }

    pub(super) fn suspect(&self, attachment: &Attachment) {
        self.suspects.borrow_mut().insert(attachment.clone());
    }

    pub(super) fn seen(&self) -> Revision {
        self.verdict.borrow().court().seen()
    }

    pub(super) fn seed(&self) -> u64 {
        self.options.seed
    }

    pub(super) fn first(&self) -> &[Fault] {
        &self.options.first
    }

    pub(super) fn plugin(&self) -> &Path {
        &self.options.plugin
    }

    pub(super) fn upgrades(&self) -> &[PathBuf] {
        &self.options.upgrades
    }

    pub(super) fn sabotage(&self) -> Option<&str> {
        self.options.sabotage.as_deref()
    }

    pub(super) fn datastore(&self) -> Datastore {
        match &self.servers {
            None => Datastore::Etcd,
            Some(_) => Datastore::Kubernetes,
        }
    }

    /// The API servers, if the datastore has some.
    pub(super) fn servers(&self) -> Option<&Servers> {
        self.servers.as_ref()
    }

    /// Waits until the whole datastore is well.
    pub(super) async fn all_well(&self) -> Result<(), String> {
        Control::of(&self.cluster).all_well().await?;
        match &self.servers {
            None => Ok(()),
            Some(servers) => servers.all_well().await,
        }
    }

    pub(super) fn cluster(&self) -> &ProxiedCluster {
        &self.cluster
    }

    pub(super) fn verdict(&self) -> RefMut<'_, Verdict> {
        self.verdict.borrow_mut()
    }

    pub(super) fn tally(&self) -> RefMut<'_, Tally> {
        self.tally.borrow_mut()
    }
}

impl Told for Suite {
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
