//! A history, written as the command line that runs it again.

use std::collections::BTreeSet;
use std::fmt;

use super::history::knobs_of;
use crate::planted::Bug;
use crate::setup::Knobs;
use crate::vocabulary::Fault;

/// Which history: a seed, and what of it is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its seed.
    pub seed: u64,
    /// With this bug planted.
    pub bug: Option<Bug>,
    /// Nodes, instead of what the seed says.
    pub nodes: Option<u64>,
    /// Pods at once on each node, instead of what the seed says.
    pub pods: Option<u64>,
    /// Pods one after the other, instead of what the seed says.
    pub rounds: Option<u64>,
    /// With an etcd as far away as an operation bears: nearly two seconds there and back, and no fault.
    pub far_away: bool,
    /// Kinds of faults to leave out.
    pub without: Vec<Fault>,
    /// Numbers of the only faults that strike; "none" for none.
    pub faults: Option<BTreeSet<u64>>,
}

impl Replay {
    /// The history of `seed` and `bug` whose knobs are, or were made smaller to, `knobs`.
    pub fn of(seed: u64, bug: Option<Bug>, knobs: &Knobs) -> Self {
        let whole = knobs_of(seed);
        let changed = |now: u64, before: u64| (now != before).then_some(now);
        let kinds = whole.faults.keys();
        Self {
            seed,
            bug,
            nodes: changed(knobs.nodes, whole.nodes),
            pods: changed(knobs.pods_per_node, whole.pods_per_node),
            rounds: changed(knobs.rounds, whole.rounds),
            far_away: !knobs.is_near() && whole.is_near(),
            without: kinds
                .filter(|kind| !knobs.faults.contains_key(kind))
                .copied()
                .collect(),
            faults: knobs.only.clone(),
        }
    }

    /// The knobs of the history.
    pub fn knobs(&self) -> Knobs {
        let mut knobs = knobs_of(self.seed);
        if self.far_away {
            knobs = knobs.far_away();
        }
        knobs.nodes = self.nodes.unwrap_or(knobs.nodes);
        knobs.pods_per_node = self.pods.unwrap_or(knobs.pods_per_node);
        knobs.rounds = self.rounds.unwrap_or(knobs.rounds);
        knobs.faults.retain(|kind, _| !self.without.contains(kind));
        knobs.only.clone_from(&self.faults);
        knobs
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replay --seed {}", self.seed)?;
        if let Some(bug) = self.bug {
            write!(f, " --bug {bug}")?;
        }
        let counts = [
            ("nodes", self.nodes),
            ("pods", self.pods),
            ("rounds", self.rounds),
        ];
        for (name, count) in counts {
            if let Some(count) = count {
                write!(f, " --{name} {count}")?;
            }
        }
        if self.far_away {
            f.write_str(" --far-away")?;
        }
        if !self.without.is_empty() {
            let kinds: Vec<String> = self.without.iter().map(Fault::to_string).collect();
            write!(f, " --without {}", kinds.join(","))?;
        }
        match &self.faults {
            None => Ok(()),
            Some(none) if none.is_empty() => f.write_str(" --faults none"),
            Some(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                write!(f, " --faults {}", numbers.join(","))
            }
        }
    }
}
