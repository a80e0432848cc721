//! A history, written as the command line that runs it again.

use std::collections::BTreeSet;
use std::fmt;

use clap::Args;

use super::history::knobs_of;
use crate::planted::Bug;
use crate::setup::Knobs;
use crate::vocabulary::Fault;

/// Which history: a seed, and what of it is left out.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(skip)]
pub struct Replay {
    /// Its seed.
    #[arg(long)]
    pub seed: u64,
    /// With this bug planted.
    #[arg(long, value_name = "BUG", value_parser = parse_bug)]
    pub bug: Option<Bug>,
    /// Nodes, instead of what the seed says.
    #[arg(long, value_name = "N")]
    pub nodes: Option<u64>,
    /// Pods at once on each node, instead of what the seed says.
    #[arg(long, value_name = "N")]
    pub pods: Option<u64>,
    /// Pods one after the other, instead of what the seed says.
    #[arg(long, value_name = "N")]
    pub rounds: Option<u64>,
    /// With an etcd as far away as an operation bears: nearly two seconds there and back, and no fault.
    #[arg(long)]
    pub far_away: bool,
    /// Kinds of faults to leave out.
    #[arg(long, value_name = "KIND,..", value_delimiter = ',', value_parser = parse_fault)]
    pub without: Vec<Fault>,
    /// Numbers of the only faults that strike; "none" for none.
    #[arg(long, value_name = "N,..", value_parser = parse_numbers)]
    pub faults: Option<Numbers>,
}

/// Numbers of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(pub BTreeSet<u64>);

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
            faults: knobs.only.clone().map(Numbers),
        }
    }

    /// What the history is made of.
    pub fn knobs(&self) -> Knobs {
        let mut knobs = knobs_of(self.seed);
        if self.far_away {
            knobs = knobs.far_away();
        }
        knobs.nodes = self.nodes.unwrap_or(knobs.nodes);
        knobs.pods_per_node = self.pods.unwrap_or(knobs.pods_per_node);
        knobs.rounds = self.rounds.unwrap_or(knobs.rounds);
        knobs.faults.retain(|kind, _| !self.without.contains(kind));
        knobs.only = self.faults.clone().map(|Numbers(numbers)| numbers);
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
            Some(Numbers(none)) if none.is_empty() => f.write_str(" --faults none"),
            Some(Numbers(numbers)) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                write!(f, " --faults {}", numbers.join(","))
            }
        }
    }
}

/// The bug of this name.
pub fn parse_bug(text: &str) -> Result<Bug, String> {
    let found = Bug::ALL
        .iter()
        .find(|bug| bug.to_string().eq_ignore_ascii_case(text));
    found
        .copied()
        .ok_or_else(|| format!("no such bug; there are {:?}", Bug::ALL))
}

fn parse_fault(text: &str) -> Result<Fault, String> {
    let found = Fault::ALL
        .iter()
        .find(|kind| kind.to_string().eq_ignore_ascii_case(text));
    found
        .copied()
        .ok_or_else(|| format!("no such fault; there are {:?}", Fault::ALL))
}

fn parse_numbers(text: &str) -> Result<Numbers, String> {
    if text == "none" {
        return Ok(Numbers(BTreeSet::new()));
    }
    let numbers = text.split(',').map(str::parse);
    let numbers: Result<BTreeSet<u64>, _> = numbers.collect();
    numbers
        .map(Numbers)
        .map_err(|error| format!("{text:?}: {error}"))
}
