//! The judge: everything that happens, held against the promises of `docs/ARCHITECTURE.md`.
//!
//! It sees every revision of the store with the process that made it, and every question and answer
//! of a verb. There is one checker for each promise; the first that is broken ends the history.
//!
//! ```text
//! events of a revision ──> entry ──> ledger: the books ──> change ──> a checker for each promise
//! questions and answers ──> seen, asks, settled ──────────────────────────^
//! ```

mod agree;
mod all_or_nothing;
mod asks;
mod change;
mod durable;
mod entry;
mod fenced;
mod in_use;
mod independent;
mod inside;
mod ledger;
mod lowest;
mod no_leak;
mod own_cluster;
mod progress;
mod same_again;
mod seen;
mod settled;
mod since;
mod take_over;
mod unique;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Attachment, Held};
use whereabouts_core::durable::DurableOwner;
use whereabouts_store::keys::Keys;
use whereabouts_store::memory::State;
use whereabouts_store::{Event, LeaseId, Revision};

use crate::setup::Sharing;
use crate::vocabulary::{ProcessId, Step, Used, Verb};
use asks::Asks;
pub use change::{Change, LockAt, TicketAt};
pub use ledger::Ledger;
use own_cluster::Clusters;
pub use seen::Seen;
use settled::Settled;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its number in `docs/ARCHITECTURE.md`; 0 when the store holds what nobody could have written.
    pub promise: u8,
    /// At which revision.
    pub revision: Revision,
    /// How.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            promise,
            revision,
            text,
        } = self;
        write!(f, "promise {promise} broken at revision {revision}: {text}")
    }
}

/// Whether a failure says that what was sent may still come.
pub fn says_unknown(reason: &str) -> bool {
    reason.contains("is unknown")
}

/// Why the store has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A process committed something, in this step.
    Commit(ProcessId, Step),
    /// A process ended a lease.
    Revoked,
    /// The time of a lease was up.
    LeaseEnded,
}

/// The judge of one history.
#[derive(Debug)]
pub struct Judge {
    ledger: Ledger,
    processes: BTreeMap<ProcessId, Seen>,
    /// Whose processes a fault has struck.
    struck: BTreeSet<Attachment>,
    asks: Asks,
    settled: Settled,
    /// Attachments that a runtime uses: added with success, and not being deleted.
    live: BTreeMap<Attachment, Vec<Held>>,
    /// The clusters that share the store, where they are known.
    clusters: Option<Clusters>,
    finding: Option<Finding>,
}

impl Judge {
    /// A judge of the keys below a prefix, from the store's beginning.
    pub fn new(keys: Keys) -> Self {
        Self {
            ledger: Ledger::new(keys),
            processes: BTreeMap::new(),
            struck: BTreeSet::new(),
            asks: Asks::default(),
            settled: Settled::default(),
            live: BTreeMap::new(),
            clusters: None,
            finding: None,
        }
    }

    /// The first broken promise.
    pub fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    /// The store's content.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// These clusters share the store.
    pub fn share(&mut self, sharing: Sharing) {
        self.clusters = Some(Clusters {
            sharing,
            nodes: BTreeMap::new(),
        });
    }

    /// Takes over what is in the store already, before the history begins.
    pub fn begin(&mut self, state: &State) {
        self.take_in(state, Cause::Revoked, false);
        let claims = self.ledger.claims().iter();
        self.live = claims
            .map(|(attachment, claim)| (attachment.clone(), claim.held.clone()))
            .collect();
    }

    /// A process starts.
    pub fn starts(&mut self, process: ProcessId, seen: Seen) {
        if let Some(ask) = &seen.ask {
            self.asks.add(ask, seen.started);
            if let Some(clusters) = &mut self.clusters {
                clusters.nodes.insert(ask.attachment.clone(), seen.node);
            }
        }
        self.settled.starts(&seen);
        self.processes.insert(process, seen);
    }

    /// A request of an ADD of `attachment` may still come: the ADD was killed, or says so.
    pub fn doubts(&mut self, attachment: &Attachment) {
        self.settled.doubts(attachment);
    }

    /// An ADD fails, and cannot have heard of a commit whose reply was lost: it has done nothing, or says
    /// that its outcome is unknown.
    pub fn denies(&mut self, process: ProcessId) {
        let seen = self.processes.get(&process);
        if let Some(attachment) = seen.and_then(|seen| seen.attachment.as_ref()) {
            let result = self
                .settled
                .check_denial(process, attachment, &self.processes);
            self.hold_against(8, result);
        }
    }

    /// A process is killed: what it has sent may still come.
    pub fn killed(&mut self, process: ProcessId) {
        let killed = self.processes.get(&process);
        let adding = killed.filter(|seen| seen.verb == Verb::Add);
        if let Some(attachment) = adding.and_then(|seen| seen.attachment.clone()) {
            self.doubts(&attachment);
        }
        self.ends(process);
    }

    /// A process ends.
    pub fn ends(&mut self, process: ProcessId) {
        let revision = self.ledger.revision();
        let ending = self.processes.get(&process);
        if let Some(attachment) = ending.and_then(|seen| seen.attachment.as_ref())
            && !self.struck.contains(attachment)
        {
            let result = progress::leaves_no_lock(&self.ledger, &self.processes, attachment);
            self.hold_against(10, result);
        }
        if let Some(seen) = self.processes.get(&process) {
            self.settled.ends(seen, &self.processes);
        }
        if let Some(seen) = self.processes.get_mut(&process) {
            seen.ended = Some(revision);
        }
        // Only those matter that ran at the same time as one that still runs.
        let running = self.processes.values().filter(|seen| seen.ended.is_none());
        let oldest = running.map(|seen| seen.started).min().unwrap_or(revision);
        self.processes
            .retain(|_, seen| seen.ended.is_none_or(|ended| ended >= oldest));
    }

    /// Whether another process of the same container, with the same verb, ran at the same time. The DELs of two interfaces
    /// release one claim, if that names no interface. A GC releases what a DEL of its node does.
    pub fn has_mate(&self, process: ProcessId) -> bool {
        let Some(one) = self.processes.get(&process) else {
            return true;
        };
        let container = |seen: &Seen| seen.attachment.as_ref().map(Attachment::without_interface);
        let key = |seen: &Seen| (container(seen), seen.verb);
        let mut others = self.processes.iter().filter(|(id, _)| **id != process);
        let may_collect = |other: &Seen| {
            (one.verb, other.verb) == (Verb::Del, Verb::Gc) && other.node == one.node
        };
        others.any(|(_, other)| key(other) == key(one) || may_collect(other))
    }

    /// A process is granted a lease.
    pub fn granted(&mut self, process: ProcessId, lease: LeaseId) {
        if let Some(seen) = self.processes.get_mut(&process) {
            seen.leases.insert(lease);
        }
    }

    /// A fault strikes a process.
    pub fn strikes(&mut self, process: ProcessId) {
        if let Some(seen) = self.processes.get_mut(&process) {
            seen.is_struck = true;
            self.struck.extend(seen.attachment.clone());
        }
    }

    /// A process puts a ticket.
    pub fn joins(&mut self, process: ProcessId) {
        let result = independent::check(&self.ledger, &self.processes, process);
        self.hold_against(11, result);
    }

    /// The store has changed.
    pub fn changed(&mut self, state: &State, cause: Cause) {
        self.take_in(state, cause, true);
    }

    fn take_in(&mut self, state: &State, cause: Cause, judged: bool) {
        let mut revision = self.ledger.revision();
        let mut events: Vec<&Event> = Vec::new();
        for event in state.changes(revision) {
            if event.revision() != revision && !events.is_empty() {
                self.take_in_revision(&events, cause, judged);
                events.clear();
            }
            revision = event.revision();
            events.push(event);
        }
        if !events.is_empty() {
            self.take_in_revision(&events, cause, judged);
        }
    }

    /// A watch has told of one revision: all of its events. `by` is what is known of its maker.
    pub fn told(&mut self, events: &[&Event], by: Option<&Seen>) {
        if let Some(change) = self.enter(events) {
            self.judge(&change, by, None);
        }
    }

    fn take_in_revision(&mut self, events: &[&Event], cause: Cause, judged: bool) {
        let Some(change) = self.enter(events).filter(|_| judged) else {
            return;
        };
        let processes = std::mem::take(&mut self.processes);
        match cause {
            Cause::Commit(process, step) => {
                self.judge(&change, processes.get(&process), Some(step));
            }
            Cause::Revoked => self.judge(&change, None, None),
            Cause::LeaseEnded => {
                self.judge(&change, None, None);
                self.hold_against(10, progress::keeps_its_lease(&processes, &change));
            }
        }
        self.processes = processes;
    }

    fn enter(&mut self, events: &[&Event]) -> Option<Change> {
        match self.ledger.apply(events) {
            Ok(change) => Some(change),
            Err(text) => {
                self.hold_against(0, Err(text));
                None
            }
        }
    }

    fn judge(&mut self, change: &Change, by: Option<&Seen>, step: Option<Step>) {
        let results = [
            (1, unique::check(&self.ledger, change)),
            (2, agree::check(&self.ledger, change)),
            (2, durable::check_bound(&self.ledger, change)),
            (13, durable::check(change)),
            (3, inside::check(&self.asks, change)),
            (4, lowest::check(&self.ledger, &self.asks, change, by)),
            (5, all_or_nothing::check(&self.asks, change)),
            (7, fenced::check(&self.ledger, change, by, step)),
            (8, self.settled.check(change)),
            (9, in_use::check(&self.live, change)),
            (9, take_over::check(change)),
            (6, take_over::check_kept(&self.ledger, &self.asks, change)),
            (10, progress::check(&self.ledger, change, by)),
            (12, self.check_cluster(change, by)),
        ];
        for (promise, result) in results {
            self.hold_against(promise, result);
        }
    }

    fn check_cluster(&self, change: &Change, by: Option<&Seen>) -> Result<(), String> {
        let clusters = self.clusters.as_ref();
        clusters.map_or(Ok(()), |clusters| clusters.check(&self.ledger, change, by))
    }

    /// A verb answers that the store is not known to be its cluster's.
    pub fn refused_as_strange(&mut self, process: ProcessId) {
        if let (Some(seen), Some(clusters)) = (self.processes.get(&process), &self.clusters) {
            let result = clusters.check_refusal(&self.ledger, seen.node);
            self.hold_against(12, result);
        }
    }

    /// An ADD answers with addresses. `used`: a runtime is there to use them.
    pub fn added(&mut self, process: ProcessId, held: &[Held], used: Used) {
        let Some(seen) = self.processes.get(&process).cloned() else {
            return;
        };
        let attachment = seen.attachment.expect("an ADD has an attachment");
        self.settled.answers(&attachment);
        let result = same_again::check(&self.ledger, &attachment, held, seen.started);
        self.hold_against(6, result);
        if used == Used::ByRuntime {
            let known = self.ledger.claim(&attachment).is_some();
            if let Err(text) = known
                .then_some(())
                .ok_or("a runtime was given addresses that no attachment holds")
            {
                self.hold_against(9, Err(format!("{attachment}: {text}")));
            }
            self.live.insert(attachment, held.to_vec());
        }
    }

    /// An ADD answers that there is nothing to be had.
    pub fn short(&mut self, process: ProcessId, shortage: &Shortage) {
        let Some(seen) = self.processes.get(&process) else {
            return;
        };
        let result = lowest::check_shortage(&self.ledger, seen, shortage);
        self.hold_against(4, result);
    }

    /// An ADD answers that another attachment has the addresses of its durable owner.
    pub fn owner_in_use(&mut self, process: ProcessId, owner: &DurableOwner, holder: &Attachment) {
        if let Some(seen) = self.processes.get(&process) {
            let result = durable::check_in_use(&self.ledger, seen, owner, holder);
            self.hold_against(13, result);
        }
    }

    /// An ADD answers that its durable owner keeps addresses that it does not want.
    pub fn owner_keeps(&mut self, process: ProcessId, owner: &DurableOwner, held: &[Held]) {
        if let Some(seen) = self.processes.get(&process) {
            let result = durable::check_unwanted(&self.ledger, seen, owner, held);
            self.hold_against(13, result);
        }
    }

    /// A runtime begins to delete an attachment, or it is gone with its node.
    pub fn no_longer_used(&mut self, attachment: &Attachment) {
        self.live.remove(attachment);
    }

    /// A verb says something that cannot be: of a promise, with the reason.
    pub fn accuse(&mut self, promise: u8, text: String) {
        self.hold_against(promise, Err(text));
    }

    /// Everything was deleted, and collected: nothing may be left.
    pub fn all_is_gone(&mut self) {
        let result = no_leak::check(&self.ledger);
        self.hold_against(8, result);
    }

    fn hold_against(&mut self, promise: u8, result: Result<(), String>) {
        if let (Err(text), None) = (result, &self.finding) {
            let revision = self.ledger.revision();
            self.finding = Some(Finding {
                promise,
                revision,
                text,
            });
        }
    }
}
