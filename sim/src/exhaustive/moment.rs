//! One moment of a world: the store, where each process stands, and what is still on its way.
//!
//! A moment is plain data. It can be copied, told from others by its hash, and says what can happen
//! next; what then happens is in [`happen`](super::happen).

use std::collections::BTreeSet;

use whereabouts_store::keys::Key;
use whereabouts_store::memory::State;
use whereabouts_store::{At, Event, LeaseId, Revision, Txn, Write};

use super::automaton::{Automata, Place, Stand};
use super::choice::{Arriving, Choice, ProcessId};
use super::digest::Digest;
use super::scenario::Foreign;
use super::setting::Setting;
use super::tape::{Answer, Request};

/// The faults and early timers that may strike in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Faults.
    pub faults: u8,
    /// Timers that fire although something else could happen.
    pub early_timers: u8,
}

/// One moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) state: State,
    pub(super) runs: Vec<Run>,
    pub(super) operations: Vec<Progress>,
    pub(super) late: Vec<Late>,
    /// Leases of processes that are gone, with keys bound to them or on their way.
    pub(super) orphans: Vec<LeaseId>,
    pub(super) budget: Budget,
    /// Whether the foreigner has the lock and will give it up.
    pub(super) foreign: bool,
    /// Operations that a fault has struck.
    pub(super) struck: BTreeSet<usize>,
    /// Operations whose lease has ended under them.
    pub(super) unleased: BTreeSet<usize>,
    /// Whether somebody died, or lost its lease, who may have left others to their slow timers.
    pub(super) left_to_timers: bool,
    /// Operations of which a request landed after the last DEL of their attachment had begun, when
    /// they were killed long since.
    pub(super) excused: BTreeSet<usize>,
    /// Killed operations of which a request that claims or queues landed.
    pub(super) late_ones: BTreeSet<usize>,
    pub(super) steps: u64,
}

/// A process.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Which of its operations it is at.
    pub(super) at: usize,
    /// Where that stands; `None` when all have ended.
    pub(super) place: Option<Place>,
    pub(super) watch: Option<WatchAt>,
    /// The revision of what it read last, of which it may read more.
    pub(super) read_at: Option<Revision>,
    /// How many leases the operation has been granted.
    pub(super) granted: usize,
}

/// The watch of an operation: the keys, and until when each has been told of.
#[derive(Clone, Debug)]
pub(super) struct WatchAt {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) seen: Vec<Revision>,
}

/// How far an operation has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// When its first request was carried out, and which operations had ended by then.
    pub(super) begun: Option<(u64, u64)>,
    /// When it ended and where; `None` for where: it was killed.
    pub(super) over: Option<(u64, Option<Place>)>,
}

/// A commit that is on its way although its sender does not wait for it any more.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub(super) operation: usize,
    /// Where its sender stood.
    pub(super) place: Place,
    pub(super) txn: Txn,
}

impl WatchAt {
    /// The events of each key that the watch has not told yet.
    pub(super) fn untold(&self, state: &State) -> Vec<Vec<Event>> {
        let of_key = |(key, seen): (&Vec<u8>, &Revision)| {
            let keys = BTreeSet::from([key.clone()]);
            state
                .events_after(*seen, &keys)
                .expect("nothing is compacted")
        };
        self.keys.iter().zip(&self.seen).map(of_key).collect()
    }
}

impl Moment {
    /// The beginning.
    pub(super) fn first(setting: &Setting, budget: Budget) -> Self {
        let runs = setting.processes.iter().map(|operations| Run {
            at: 0,
            place: operations.first().map(|verb| Automata::beginning(*verb)),
            watch: None,
            read_at: None,
            granted: 0,
        });
        let crashed = setting.foreign.iter().filter(|f| f.1 == Foreign::Crashes);
        Self {
            state: setting.state.clone(),
            runs: runs.collect(),
            operations: vec![Progress::default(); setting.verbs.len()],
            late: Vec::new(),
            orphans: crashed.map(|foreign| foreign.0).collect(),
            budget,
            foreign: matches!(setting.foreign, Some((_, Foreign::Leaves))),
            struck: BTreeSet::new(),
            unleased: BTreeSet::new(),
            left_to_timers: false,
            excused: BTreeSet::new(),
            late_ones: BTreeSet::new(),
            steps: 0,
        }
    }

    /// The revision of the store.
    pub(super) fn revision(&self) -> Revision {
        self.state.revision()
    }

    /// The process that deletes everything in the end.
    pub(super) fn sweeper(&self) -> ProcessId {
        self.runs.len() - 1
    }

    /// Whether all processes but the last have ended.
    pub(super) fn is_main_over(&self) -> bool {
        let (_, others) = self.runs.split_last().expect("there is a last process");
        others.iter().all(|run| run.place.is_none())
    }

    /// Whether the last process has begun to delete everything.
    pub(super) fn is_sweeping(&self, setting: &Setting) -> bool {
        let first = setting.processes[self.sweeper()].first();
        first.is_some_and(|verb| self.operations[*verb].begun.is_some())
    }

    /// Whether nothing is left to happen but the arrival of late requests.
    pub(super) fn is_over(&self) -> bool {
        self.runs.iter().all(|run| run.place.is_none()) && self.orphans.is_empty() && !self.foreign
    }

    /// The possible next events.
    pub(super) fn choices(&self, setting: &Setting, automata: &Automata) -> Vec<Choice> {
        let mut choices = Vec::new();
        let main_over = self.is_main_over();
        let active: Vec<(ProcessId, &Stand)> = self
            .runs
            .iter()
            .enumerate()
            .filter(|(process, _)| *process != self.sweeper() || main_over)
            .filter_map(|(process, run)| Some((process, automata.stand(run.place?))))
            .collect();
        for (process, stand) in &active {
            self.steps_of(*process, stand, &mut choices);
        }
        let quiet = choices.is_empty();
        choices.extend((0..self.orphans.len()).map(Choice::Expire));
        if self.foreign {
            choices.push(Choice::ForeignLeaves);
        }
        let timers = active.iter().filter_map(|(process, stand)| match stand {
            Stand::Asks {
                request,
                timer: Some(timer),
            } if matches!(**request, Request::Next) => Some((*timer, *process)),
            Stand::Asks { .. } | Stand::Pauses | Stand::Ended(_) => None,
        });
        if self.budget.early_timers > 0 && !main_over {
            choices.extend(timers.map(|(_, process)| Choice::Wake(process)));
        } else if quiet && choices.is_empty() {
            choices.extend(timers.min().map(|(_, process)| Choice::Wake(process)));
        }
        choices.extend((0..self.late.len()).map(Choice::Land));
        if self.budget.faults > 0 && !main_over {
            for (process, stand) in &active {
                self.faults_of(*process, stand, setting, &mut choices);
            }
        }
        choices
    }

    fn steps_of(&self, process: ProcessId, stand: &Stand, choices: &mut Vec<Choice>) {
        let Stand::Asks { request, .. } = stand else {
            choices.push(Choice::Step(process));
            return;
        };
        if !matches!(**request, Request::Next) {
            choices.push(Choice::Step(process));
            return;
        }
        let untold = self.watch(process).untold(&self.state);
        let telling: Vec<usize> = (0..untold.len())
            .filter(|key| !untold[*key].is_empty())
            .collect();
        if telling.is_empty() {
            return;
        }
        choices.push(Choice::Tell(process, Arriving::All));
        if telling.len() > 1 {
            let of_key = |key| Choice::Tell(process, Arriving::OfKey(key));
            choices.extend(telling.into_iter().map(of_key));
        }
    }

    fn faults_of(
        &self,
        process: ProcessId,
        stand: &Stand,
        setting: &Setting,
        choices: &mut Vec<Choice>,
    ) {
        if self.operations[self.operation(process, setting)]
            .begun
            .is_some()
        {
            choices.push(Choice::Kill(process));
        }
        let mut lease_used = false;
        if let Stand::Asks { request, .. } = stand {
            match &**request {
                Request::Commit(txn) => {
                    choices.extend([Choice::LoseReply(process), Choice::Delay(process)]);
                    let lease = self.last_lease(process, setting);
                    lease_used = lease.is_some_and(|lease| puts_with(txn, lease));
                }
                Request::Next => choices.push(Choice::EndWatch(process)),
                Request::KeepAlive(_) | Request::Revoke(_) => choices.push(Choice::Fail(process)),
                // Repeated until answered, so a lost one cannot be told from a slow one.
                Request::Read(..) | Request::Watch(_) | Request::Grant => {}
            }
        }
        let lease = self.last_lease(process, setting);
        if lease.is_some_and(|lease| self.is_alive(lease) && (lease_used || self.has_keys(lease))) {
            choices.push(Choice::EndLease(process));
        }
    }

    /// The operation that a process is at.
    pub(super) fn operation(&self, process: ProcessId, setting: &Setting) -> usize {
        setting.processes[process][self.runs[process].at]
    }

    /// The lease that a process was granted last.
    pub(super) fn last_lease(&self, process: ProcessId, setting: &Setting) -> Option<LeaseId> {
        let last = self.runs[process].granted.checked_sub(1)?;
        Some(setting.leases[self.operation(process, setting)][last])
    }

    pub(super) fn watch(&self, process: ProcessId) -> &WatchAt {
        let watch = self.runs[process].watch.as_ref();
        watch.expect("who waits for events has a watch")
    }

    /// Whether a lock is offered to somebody.
    pub(super) fn has_offered_lock(&self, setting: &Setting) -> bool {
        let is_lock = |key: &[u8]| matches!(setting.keys.decode(key), Ok(Key::Lock(_)));
        self.state
            .entries()
            .any(|entry| entry.lease == 0 && is_lock(&entry.key))
    }

    pub(super) fn is_alive(&self, lease: LeaseId) -> bool {
        self.state.leases().any(|other| other == lease)
    }

    pub(super) fn has_keys(&self, lease: LeaseId) -> bool {
        self.state.entries().any(|entry| entry.lease == lease)
    }

    /// Whether the end of `lease` makes a difference.
    pub(super) fn is_needed(&self, lease: LeaseId) -> bool {
        self.is_alive(lease)
            && (self.has_keys(lease) || self.late.iter().any(|late| puts_with(&late.txn, lease)))
    }

    /// The hash that tells this moment from all moments with another future. `stored` is the hash of the store.
    pub(super) fn digest(&self, setting: &Setting, automata: &Automata, stored: u128) -> u128 {
        let mut digest = Digest::default();
        digest.bytes(&stored.to_le_bytes());
        for (process, run) in self.runs.iter().enumerate() {
            let Some(place) = run.place else {
                digest.number(u64::MAX);
                continue;
            };
            digest.number(run.at as u64).number(place.number());
            for lease in &setting.leases[self.operation(process, setting)][..run.granted] {
                digest.number(u64::from(self.is_alive(*lease)));
            }
            for events in run.watch.iter().flat_map(|watch| watch.untold(&self.state)) {
                digest.number(events.len() as u64);
                for event in &events {
                    digest.event(event);
                }
            }
            if let Stand::Asks { request, .. } = automata.stand(place)
                && let Request::Read(reads, at @ At::Revision(_)) = &**request
            {
                digest.answer(&Answer::View(self.state.read(reads, *at)));
            }
        }
        for progress in &self.operations {
            digest.number(progress.begun.map_or(u64::MAX, |(_, before)| before));
            digest.number(match progress.over {
                None => 0,
                Some((_, None)) => 1,
                Some((_, Some(place))) => 2 + place.number(),
            });
        }
        for late in &self.late {
            digest
                .number(late.operation as u64)
                .number(late.place.number());
        }
        digest.number(self.late.len() as u64);
        for orphan in &self.orphans {
            digest.signed(*orphan);
        }
        digest
            .number(u64::from(self.budget.faults) << 8 | u64::from(self.budget.early_timers))
            .number(u64::from(self.foreign) << 1 | u64::from(self.left_to_timers));
        let sets = [&self.excused, &self.late_ones, &self.struck, &self.unleased];
        for set in sets {
            digest.number(set.len() as u64);
            for operation in set {
                digest.number(*operation as u64);
            }
        }
        digest.finish()
    }

    /// The hash of what is stored.
    pub(super) fn stored(&self) -> u128 {
        let mut digest = Digest::default();
        digest.signed(self.state.revision());
        for entry in self.state.entries() {
            digest.entry(entry);
        }
        digest.finish()
    }
}

/// Whether a transaction binds a key to `lease`.
pub(super) fn puts_with(txn: &Txn, lease: LeaseId) -> bool {
    let of_lease = |write: &Write| matches!(write, Write::Put { lease: put, .. } if *put == lease);
    txn.writes.iter().any(of_lease)
}
