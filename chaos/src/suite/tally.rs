//! The events, counted and timed: executions by their end, ADDs by the faults meanwhile, and each fault with the
//! successes before, during and after it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use whereabouts_sim::vocabulary::Verb;

use super::fault::Fault;

/// After so long under a fault a cluster that can has elected a leader anew: the election time of
/// etcd, and 2 s.
pub const SETTLED: Duration = Duration::from_secs(3);

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With success.
    Done,
    /// There was nothing to be had: the range is full, the address is taken.
    Refused,
    /// etcd was not available (code 11), or GC could not collect everything.
    Failed,
    /// Killed: its outcome is unknown.
    Unknown,
}

/// The faults of the moment. Each change is another moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Healthy,
    /// One fault alone.
    Under(Fault),
    /// A fault is being healed, or there are several.
    Unclear,
}

/// A time under one fault.
#[derive(Clone, Debug)]
pub struct Window {
    /// The fault.
    pub fault: Fault,
    /// When it began.
    pub start: Instant,
    /// When it was healed; `None` while it lasts.
    pub end: Option<Instant>,
    /// ADDs that failed with code 11 meanwhile.
    pub clear_failures: u64,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Tally {
    start: Instant,
    condition: (Condition, u64),
    executions: BTreeMap<(Verb, End), u64>,
    /// When ADDs ended with success, in order.
    successes: Vec<Instant>,
    healthy: Vec<Duration>,
    /// How long into a fault ADDs began, and how long they took.
    under: BTreeMap<Fault, Vec<(Duration, Duration)>>,
    windows: Vec<Window>,
}

/// A moment at which an execution began.
#[derive(Clone, Copy, Debug)]
pub struct Begun((Condition, u64), Instant);

/// The faults of one kind together.
#[derive(Clone, Debug, Default)]
pub struct Struck {
    /// How often.
    pub times: u64,
    /// ADDs that succeeded before it, since the fault before was healed.
    pub before: usize,
    /// Meanwhile.
    pub during: usize,
    /// After it, until the next fault.
    pub after: usize,
    /// ADDs that failed clearly meanwhile.
    pub clear_failures: u64,
    /// The longest time without a success, from its beginning to the first success after its end,
    /// where it struck alone.
    pub longest_gap: Duration,
    /// How long ADDs took that began under it, shortest first.
    pub took: Vec<Duration>,
    /// Of those, the ones that began when it was [`SETTLED`].
    pub took_settled: Vec<Duration>,
}

impl Tally {
    /// Nothing has happened yet.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            condition: (Condition::Unclear, 0),
            executions: BTreeMap::new(),
            successes: Vec::new(),
            healthy: Vec::new(),
            under: BTreeMap::new(),
            windows: Vec::new(),
        }
    }

    /// Since when it is counted.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Something else is wrong from now on.
    pub fn becomes(&mut self, condition: Condition) {
        self.condition = (condition, self.condition.1 + 1);
    }

    /// Whether it is measured what ADD costs now: when nothing is wrong, or one member is dead.
    pub fn is_measured(&self) -> bool {
        match self.condition.0 {
            Condition::Healthy => true,
            Condition::Under(fault) => fault.is_one_member_dead(),
            Condition::Unclear => false,
        }
    }

    /// An execution begins.
    pub fn begins(&self, now: Instant) -> Begun {
        Begun(self.condition, now)
    }

    /// An execution has ended.
    pub fn ended(&mut self, verb: Verb, end: End, begun: Begun, took: Duration, now: Instant) {
        *self.executions.entry((verb, end)).or_default() += 1;
        match (verb, end) {
            (Verb::Add, End::Done) => {
                self.successes.push(now);
                match begun.0 {
                    (Condition::Healthy, _) if begun.0 == self.condition => self.healthy.push(took),
                    (Condition::Under(fault), _) => {
                        let mut windows = self.windows.iter().rev();
                        let window = windows.find(|window| window.fault == fault);
                        let since = window.map_or(now, |window| window.start);
                        let into = begun.1.saturating_duration_since(since);
                        self.under.entry(fault).or_default().push((into, took));
                    }
                    (Condition::Healthy | Condition::Unclear, _) => {}
                }
            }
            (Verb::Add, End::Failed) => {
                let open = self
                    .windows
                    .iter_mut()
                    .filter(|window| window.end.is_none());
                open.for_each(|window| window.clear_failures += 1);
            }
            _ => {}
        }
    }

    /// A fault begins.
    pub fn strikes(&mut self, fault: Fault, now: Instant) {
        self.windows.push(Window {
            fault,
            start: now,
            end: None,
            clear_failures: 0,
        });
    }

    /// Whether no other fault than `fault` has struck since then.
    pub fn is_alone(&self, fault: Fault, since: Instant) -> bool {
        let lasted = |window: &&Window| window.end.is_none_or(|end| end > since);
        let mut since_then = self.windows.iter().filter(lasted);
        since_then.all(|window| window.fault == fault)
    }

    /// A fault is healed.
    pub fn healed(&mut self, fault: Fault, now: Instant) {
        let mut windows = self.windows.iter_mut().rev();
        let window = windows.find(|window| window.fault == fault && window.end.is_none());
        window.expect("the fault has begun").end = Some(now);
    }

    /// ADDs that ended with success since then.
    pub fn successes_since(&self, then: Instant) -> usize {
        self.successes.len() - self.index(then)
    }

    /// Of the first success from then on.
    fn index(&self, then: Instant) -> usize {
        self.successes.partition_point(|at| *at < then)
    }

    /// Executions by verb and end.
    pub fn executions(&self) -> &BTreeMap<(Verb, End), u64> {
        &self.executions
    }

    /// All executions.
    pub fn total(&self) -> u64 {
        self.executions.values().sum()
    }

    /// How long ADDs took while nothing was wrong, shortest first.
    pub fn healthy(&self) -> Vec<Duration> {
        let mut took = self.healthy.clone();
        took.sort_unstable();
        took
    }

    /// The faults that struck and were healed, by kind.
    pub fn struck(&self) -> BTreeMap<Fault, Struck> {
        let mut struck: BTreeMap<Fault, Struck> = BTreeMap::new();
        for window in &self.windows {
            let Some(end) = window.end else { continue };
            let ends = self.windows.iter().filter_map(|other| other.end);
            let last_end = ends.filter(|end| *end <= window.start).max();
            let starts = self.windows.iter().map(|other| other.start);
            let next_start = starts.filter(|start| *start >= end).min();
            let before = self.index(last_end.unwrap_or(self.start))..self.index(window.start);
            let during = self.index(window.start)..self.index(end);
            let after =
                self.index(end)..next_start.map_or(self.successes.len(), |start| self.index(start));
            let kind = struck.entry(window.fault).or_default();
            kind.times += 1;
            kind.before += before.len();
            kind.during += during.len();
            kind.after += after.len();
            kind.clear_failures += window.clear_failures;
            let first_after = self.successes.get(after.start);
            let marks = self.successes[during].iter().chain(first_after).copied();
            let mut last = window.start;
            // Of two faults at once it cannot be told which one it was.
            let overlaps = |other: &&Window| {
                other.fault != window.fault
                    && other.start < end
                    && other.end.is_none_or(|end| end > window.start)
            };
            let marks = marks.filter(|_| !self.windows.iter().any(|other| overlaps(&other)));
            for mark in marks {
                kind.longest_gap = kind.longest_gap.max(mark - last);
                last = mark;
            }
        }
        for (fault, took) in &self.under {
            if let Some(kind) = struck.get_mut(fault) {
                let settled = took.iter().filter(|(into, _)| *into >= SETTLED);
                kind.took_settled = sorted(settled);
                kind.took = sorted(took);
            }
        }
        struck
    }
}

fn sorted<'t>(took: impl IntoIterator<Item = &'t (Duration, Duration)>) -> Vec<Duration> {
    let mut took: Vec<Duration> = took.into_iter().map(|(_, took)| *took).collect();
    took.sort_unstable();
    took
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successes_are_told_apart_by_the_fault_they_came_under() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut tally = Tally::new(start);
        let add = |tally: &mut Tally, end, second| {
            let begun = tally.begins(at(second - 1));
            let took = Duration::from_secs(1);
            tally.ended(Verb::Add, end, begun, took, at(second));
        };
        tally.becomes(Condition::Healthy);
        add(&mut tally, End::Done, 1);
        tally.becomes(Condition::Under(Fault::LeaderKilled));
        tally.strikes(Fault::LeaderKilled, at(2));
        add(&mut tally, End::Failed, 3);
        add(&mut tally, End::Done, 4);
        add(&mut tally, End::Done, 6);
        tally.healed(Fault::LeaderKilled, at(7));
        tally.becomes(Condition::Unclear);
        add(&mut tally, End::Done, 9);
        add(&mut tally, End::Done, 13);
        let struck = &tally.struck()[&Fault::LeaderKilled];
        let counts = (struck.before, struck.during, struck.after);
        assert_eq!(counts, (1, 2, 2));
        assert!(tally.is_alone(Fault::LeaderKilled, at(1)));
        assert!(!tally.is_alone(Fault::PluginStopped, at(6)));
        assert!(tally.is_alone(Fault::PluginStopped, at(7)));
        assert_eq!(struck.clear_failures, 1);
        assert_eq!((struck.took.len(), struck.took_settled.len()), (2, 1));
        assert_eq!(struck.longest_gap, Duration::from_secs(3));
        assert_eq!(tally.healthy(), [Duration::from_secs(1)]);
        assert_eq!(tally.total(), 6);
    }
}
