//! Making a failing history smaller, as long as it breaks the same promise: fewer kinds of faults,
//! rounds, pods and nodes, and then single faults, until none can be left out.
//!
//! Faults are numbered in the order in which they strike, or would. If some are left out, the history goes on
//! differently after the first of them. So a smaller history is another history, and only a run shows whether it
//! fails, too.

use std::collections::BTreeSet;

use super::history::{Verdict, run};
use crate::journal::History;
use crate::planted::Bug;
use crate::setup::Knobs;

/// Histories that one search for a smaller one may run.
const MOST_HISTORIES: u64 = 600;

/// A failing history: its seed, and the bug that is planted in it.
#[derive(Clone, Copy, Debug)]
pub struct Failing {
    /// The seed.
    pub seed: u64,
    /// The bug.
    pub bug: Option<Bug>,
    /// The promise that is broken.
    pub promise: u8,
}

/// The smallest history that breaks the same promise, as far as a bounded search finds one.
pub fn shrink(failing: Failing, knobs: &Knobs) -> Verdict {
    let mut search = Search {
        failing,
        left: MOST_HISTORIES,
    };
    let mut smallest = run(failing.seed, knobs, failing.bug, &History::default());
    while let Some(smaller) = search.first_failing(features(&smallest.knobs)) {
        smallest = smaller;
    }
    search.fewer_faults(smallest)
}

struct Search {
    failing: Failing,
    left: u64,
}

impl Search {
    fn first_failing(&mut self, candidates: Vec<Knobs>) -> Option<Verdict> {
        candidates.into_iter().find_map(|knobs| self.fails(&knobs))
    }

    fn fails(&mut self, knobs: &Knobs) -> Option<Verdict> {
        self.left = self.left.checked_sub(1)?;
        let Failing { seed, bug, promise } = self.failing;
        let verdict = run(seed, knobs, bug, &History::default());
        let same = |found: &crate::judge::Finding| found.promise == promise;
        verdict
            .finding
            .as_ref()
            .is_some_and(same)
            .then_some(verdict)
    }

    /// Delta debugging: leaves out ever smaller parts of the faults. The last ones first, since what
    /// was before them stays as it was.
    fn fewer_faults(&mut self, mut smallest: Verdict) -> Verdict {
        let mut part = usize::try_from(smallest.faults)
            .unwrap_or(usize::MAX)
            .max(1);
        loop {
            let faults = faults_of(&smallest);
            let smaller = faults.rchunks(part).find_map(|left_out| {
                let rest = faults.iter().filter(|number| !left_out.contains(number));
                let only: BTreeSet<u64> = rest.copied().collect();
                let only = Some(only);
                let knobs = smallest.knobs.clone();
                self.fails(&Knobs { only, ..knobs })
            });
            match smaller {
                Some(verdict) => smallest = verdict,
                None if part > 1 => part = part.div_ceil(2),
                None => return smallest,
            }
        }
    }
}

/// The numbers of the faults that strike in a history.
fn faults_of(verdict: &Verdict) -> Vec<u64> {
    let struck = 0..verdict.faults;
    match &verdict.knobs.only {
        Some(only) => struck.filter(|number| only.contains(number)).collect(),
        None => struck.collect(),
    }
}

fn features(knobs: &Knobs) -> Vec<Knobs> {
    let mut smaller = Vec::new();
    for fault in knobs.faults.keys() {
        let mut fewer = knobs.clone();
        fewer.faults.remove(fault);
        smaller.push(fewer);
    }
    let reduced = |count: u64| (count > 1).then(|| count - 1);
    smaller.extend(reduced(knobs.rounds).map(|rounds| Knobs {
        rounds,
        ..knobs.clone()
    }));
    smaller.extend(reduced(knobs.pods_per_node).map(|pods_per_node| Knobs {
        pods_per_node,
        ..knobs.clone()
    }));
    smaller.extend(reduced(knobs.nodes).map(|nodes| Knobs {
        nodes,
        ..knobs.clone()
    }));
    smaller
}
