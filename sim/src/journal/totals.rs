//! The totals of histories.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::vocabulary::{Fault, Step, Verb};

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With success.
    Done,
    /// With an answer that says no for good: a full range, a taken address.
    Refused,
    /// With an error that says to try again.
    Failed,
    /// Killed before its end.
    Killed,
}

/// How often a step may be taken without being struck once, by mere chance: strikes come in clusters, and of
/// 422 `ReadMore` of GCs ten were struck.
const RARELY: u64 = 500;

/// The totals of one history, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Histories.
    pub histories: u64,
    /// Virtual time.
    pub time: Duration,
    /// Revisions of the store, each judged.
    pub revisions: u64,
    /// Calls to the store.
    pub calls: u64,
    /// Verbs by how they ended.
    pub verbs: BTreeMap<(Verb, End), u64>,
    /// Faults by where they struck.
    pub faults: BTreeMap<(Fault, Verb, Step), u64>,
    /// Steps done.
    pub steps: BTreeMap<(Verb, Step), u64>,
    /// Claims that only GC could remove: the documented case.
    pub left_to_gc: u64,
}

impl Totals {
    /// Verbs executed.
    pub fn executions(&self) -> u64 {
        self.verbs.values().sum()
    }

    /// Adds another history or many.
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.time += other.time;
        self.revisions += other.revisions;
        self.calls += other.calls;
        self.left_to_gc += other.left_to_gc;
        merge(&mut self.verbs, &other.verbs);
        merge(&mut self.faults, &other.faults);
        merge(&mut self.steps, &other.steps);
    }

    /// Kinds of faults that never struck, and steps that none struck though they were taken often: in a
    /// large run, both must be none.
    pub fn untouched(&self) -> (Vec<Fault>, Vec<(Verb, Step)>) {
        let struck: BTreeSet<Fault> = self.faults.keys().map(|(fault, ..)| *fault).collect();
        let places: BTreeSet<(Verb, Step)> = self
            .faults
            .keys()
            .map(|(_, verb, step)| (*verb, *step))
            .collect();
        let faults = Fault::ALL
            .into_iter()
            .filter(|fault| !struck.contains(fault))
            .collect();
        let steps = self
            .steps
            .iter()
            .filter(|(place, taken)| **taken > RARELY && !places.contains(place))
            .map(|(place, _)| *place)
            .collect();
        (faults, steps)
    }
}

fn merge<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(*key).or_default() += count;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.time.as_secs_f64() / 3_600.0;
        writeln!(f, "histories          {:>12}", self.histories)?;
        writeln!(f, "simulated hours    {hours:>12.1}")?;
        writeln!(f, "verbs executed     {:>12}", self.executions())?;
        writeln!(f, "store calls        {:>12}", self.calls)?;
        writeln!(f, "revisions judged   {:>12}", self.revisions)?;
        writeln!(f, "left to GC         {:>12}", self.left_to_gc)?;
        writeln!(f, "\nverb        done   refused    failed    killed")?;
        for verb in [
            Verb::Add,
            Verb::Del,
            Verb::Check,
            Verb::Gc,
            Verb::Status,
            Verb::End,
        ] {
            let count = |end| self.verbs.get(&(verb, end)).copied().unwrap_or_default();
            let ends = [End::Done, End::Refused, End::Failed, End::Killed].map(count);
            let [done, refused, failed, killed] = ends;
            writeln!(
                f,
                "{:<6}{done:>10}{refused:>10}{failed:>10}{killed:>10}",
                verb.to_string()
            )?;
        }
        writeln!(f, "\nfault               struck   in steps")?;
        for fault in Fault::ALL {
            let mut steps: BTreeMap<Step, u64> = BTreeMap::new();
            for ((kind, _, step), count) in &self.faults {
                if *kind == fault {
                    *steps.entry(*step).or_default() += count;
                }
            }
            let sum: u64 = steps.values().sum();
            write!(f, "{:<16}{sum:>10}  ", fault.to_string())?;
            for (step, count) in steps {
                write!(f, " {step} {count}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
