//! The loads: so many executions of a verb, so many at once, the peers in turns.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::UsageWho;
use serde_json::Value;
use whereabouts_core::claim::{Ask, Attachment, Owner};

use super::counts::Counts;
use super::peer::Peer;
use crate::measure::{cpu, milliseconds};
use crate::workload::Workload;

/// How the executions come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// Processes at once.
    pub(crate) at_once: u64,
    /// Executions of one peer in its turn.
    pub(crate) in_turn: u64,
    /// Turns of each peer.
    pub(crate) turns: u64,
    /// Whether it takes the ancestor minutes.
    pub(crate) is_long: bool,
}

/// The loads in their order.
pub(crate) const LOADS: [Load; 4] = [
    Load {
        name: "one after another",
        at_once: 1,
        in_turn: 10,
        turns: 10,
        is_long: false,
    },
    Load {
        name: "8 at once",
        at_once: 8,
        in_turn: 64,
        turns: 2,
        is_long: false,
    },
    Load {
        name: "64 at once",
        at_once: 64,
        in_turn: 64,
        turns: 2,
        is_long: false,
    },
    Load {
        name: "1,000, 64 at once",
        at_once: 64,
        in_turn: 1_000,
        turns: 1,
        is_long: true,
    },
];

/// What the executions of one verb by one peer cost, over all its turns.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) took: Vec<Duration>,
    pub(crate) failures: Vec<String>,
    /// The sum of the turns' times.
    pub(crate) wall: Duration,
    pub(crate) plugin_cpu: Duration,
    pub(crate) servers_cpu_ms: f64,
    pub(crate) counts: Counts,
    /// The addresses that ADDs answered.
    pub(crate) addresses: Vec<String>,
}

impl Figures {
    /// How many answers name an address that another answer names too.
    pub(crate) fn duplicates(&self) -> usize {
        self.addresses.len() - self.addresses.iter().collect::<BTreeSet<_>>().len()
    }

    /// Executions that ended.
    pub(crate) fn executions(&self) -> usize {
        self.took.len() + self.failures.len()
    }

    pub(crate) fn plugin_cpu_ms(&self) -> f64 {
        milliseconds(self.plugin_cpu)
    }
}

/// Puts the ADDs and then the DELs of a load on the peers, in turns.
pub(crate) fn run(
    load: Load,
    peers: &[&Peer],
    first: u64,
) -> Result<[(&'static str, Vec<Figures>); 2], String> {
    Ok([
        ("ADD", run_verb(load, peers, first, "ADD")?),
        ("DEL", run_verb(load, peers, first, "DEL")?),
    ])
}

fn run_verb(load: Load, peers: &[&Peer], first: u64, verb: &str) -> Result<Vec<Figures>, String> {
    let mut all: Vec<Figures> = peers.iter().map(|_| Figures::default()).collect();
    for turn in 0..load.turns {
        let start = first + turn * load.in_turn;
        for (peer, figures) in peers.iter().zip(&mut all) {
            take_turn(
                peer,
                verb,
                start..start + load.in_turn,
                load.at_once,
                figures,
            )?;
        }
    }
    for figures in &mut all {
        figures.took.sort_unstable();
    }
    Ok(all)
}

/// Executes a peer's plugin for the pods of these numbers, so many at once.
fn take_turn(
    peer: &Peer,
    verb: &str,
    pods: Range<u64>,
    at_once: u64,
    figures: &mut Figures,
) -> Result<(), String> {
    let next = AtomicU64::new(pods.start);
    let before = peer.counts()?;
    let gathered = Mutex::new(figures);
    let (start, plugin_cpu) = (Instant::now(), cpu(UsageWho::RUSAGE_CHILDREN));
    let servers_cpu_ms = peer.servers_cpu_ms();
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= pods.end {
                        return;
                    }
                    let begun = Instant::now();
                    let answer = execute(peer, verb, number);
                    let took = begun.elapsed();
                    let mut figures = gathered.lock().expect("no thread panics with it");
                    match answer {
                        Ok(address) => {
                            figures.took.push(took);
                            figures.addresses.extend(address);
                        }
                        Err(reason) => figures.failures.push(reason),
                    }
                }
            });
        }
    });
    let figures = gathered.into_inner().map_err(|_| "a thread panicked")?;
    figures.wall += start.elapsed();
    figures.plugin_cpu += cpu(UsageWho::RUSAGE_CHILDREN).saturating_sub(plugin_cpu);
    figures.servers_cpu_ms += peer.servers_cpu_ms() - servers_cpu_ms;
    figures.counts.add(peer.counts()?.since(before));
    Ok(())
}

/// Executes the plugin once. Its answer is the address, for ADD.
pub(crate) fn execute(peer: &Peer, verb: &str, number: u64) -> Result<Option<String>, String> {
    let (attachment, owner) = pod(number);
    let answer = peer.plugin.execute(verb, &attachment, &owner)?;
    if verb != "ADD" {
        return Ok(None);
    }
    let result: Value = serde_json::from_str(&answer)
        .map_err(|error| format!("{}: {error}: {answer}", peer.name))?;
    match result["ips"][0]["address"].as_str() {
        Some(address) => Ok(Some(address.to_owned())),
        None => Err(format!("{}: no address: {answer}", peer.name)),
    }
}

/// A pod whose name is its own: the ancestor takes pods of one name for the same.
fn pod(number: u64) -> (Attachment, Owner) {
    let Ask {
        attachment, owner, ..
    } = Workload::of_many(0, 1).ask(number);
    let owner = Owner {
        pod_name: Some(format!("web-6f5d9c7b8d-{number:06}")),
        ..owner
    };
    (attachment, owner)
}
