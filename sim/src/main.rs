//! The simulator's command line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::{Parser, Subcommand};
use serde_json::json;
use whereabouts_sim::history::History;
use whereabouts_sim::planted::Bug;
use whereabouts_sim::run::{Verdict, knobs_of, run};
use whereabouts_sim::shrink::shrink;
use whereabouts_sim::totals::Totals;

/// Runs the plugin's code on many simulated nodes against a simulated etcd that fails, and judges
/// every revision. One seed gives one history, byte for byte.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the histories of many seeds, on all cores.
    ///
    /// Exit status: 0 if every promise held, and, with 10,000 seeds or more, every kind of fault
    /// struck, and every step of every verb was struck.
    Run {
        /// Which seeds.
        #[arg(long, value_name = "FROM..UNTIL", value_parser = parse_seeds)]
        seeds: Range<u64>,
        /// Write the totals to this file, too.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Run one history again.
    Replay {
        /// Its seed.
        #[arg(long)]
        seed: u64,
        /// Print what happens, a line an event.
        #[arg(long)]
        trace: bool,
        /// With this bug planted.
        #[arg(long, value_parser = parse_bug)]
        bug: Option<Bug>,
    },
    /// Plant each bug of the catalogue, and see that it is found.
    Planted {
        /// After how many seeds to give up.
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
    },
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, until) = text.split_once("..").ok_or("write it as 0..1000")?;
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|error| format!("{text:?}: {error}"))
    };
    Ok(number(from)?..number(until)?)
}

fn parse_bug(text: &str) -> Result<Bug, String> {
    let found = Bug::ALL
        .iter()
        .find(|bug| bug.to_string().eq_ignore_ascii_case(text));
    found
        .copied()
        .ok_or_else(|| format!("no such bug; there are {:?}", Bug::ALL))
}

fn main() -> ExitCode {
    let held = match Arguments::parse().command {
        Command::Run { seeds, json } => run_many(seeds, json.as_deref()),
        Command::Replay { seed, trace, bug } => replay(seed, trace, bug),
        Command::Planted { seeds } => find_planted(seeds),
    };
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Histories after which a kind of fault or a step that was never struck is a finding.
const LARGE: u64 = 10_000;

fn run_many(seeds: Range<u64>, json: Option<&std::path::Path>) -> bool {
    let started = Instant::now();
    let (totals, failures) = run_parallel(seeds.clone());
    let took = started.elapsed().as_secs_f64();
    print!("{totals}");
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let per_minute = totals.executions() as f64 / took * 60.0;
    println!("\n{took:.1} s, {per_minute:.0} verbs per minute");
    for (seed, verdict) in &failures {
        report(*seed, verdict);
    }
    let (faults, steps) = totals.untouched();
    let thorough = seeds.end - seeds.start < LARGE || (faults.is_empty() && steps.is_empty());
    if !thorough {
        println!("never struck: {faults:?}; never struck in: {steps:?}");
    }
    if let Some(path) = json {
        let written = std::fs::write(path, to_json(&totals, failures.len(), took).to_string());
        if let Err(error) = written {
            eprintln!("{}: {error}", path.display());
            return false;
        }
    }
    failures.is_empty() && thorough
}

fn run_parallel(seeds: Range<u64>) -> (Totals, BTreeMap<u64, Verdict>) {
    let next = AtomicU64::new(seeds.start);
    let (sender, receiver) = mpsc::channel();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..cores {
            let (next, sender, end) = (&next, sender.clone(), seeds.end);
            scope.spawn(move || {
                let mut totals = Totals::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let verdict = run(seed, &knobs_of(seed), None, &History::default());
                    totals.add(&verdict.totals);
                    if verdict.finding.is_some() {
                        // The receiver outlives the threads.
                        let _ = sender.send((Totals::default(), Some((seed, verdict))));
                    }
                }
                let _ = sender.send((totals, None));
            });
        }
        drop(sender);
        let mut sum = Totals::default();
        let mut failures = BTreeMap::new();
        for (totals, failure) in receiver {
            sum.add(&totals);
            failures.extend(failure);
        }
        (sum, failures)
    })
}

fn report(seed: u64, verdict: &Verdict) {
    let Some(finding) = &verdict.finding else {
        return;
    };
    println!("\nseed {seed}: {finding}");
    println!("  knobs: {}", verdict.knobs);
    let small = shrink(seed, &verdict.knobs, finding.promise);
    println!("  as small as it gets: {}", small.knobs);
    println!("  again: cargo run --release -p whereabouts-sim -- replay --trace --seed {seed}");
}

fn replay(seed: u64, trace: bool, bug: Option<Bug>) -> bool {
    let history = if trace {
        History::kept()
    } else {
        History::default()
    };
    let verdict = run(seed, &knobs_of(seed), bug, &history);
    for line in history.lines() {
        println!("{line}");
    }
    let held = verdict.finding.is_none();
    match verdict.finding {
        Some(finding) => println!("seed {seed}: {finding}"),
        None => println!("seed {seed}: every promise held"),
    }
    held
}

fn find_planted(seeds: u64) -> bool {
    println!("{:<24}{:>8}  {:<9}what", "bug", "seeds", "promise");
    let found = Bug::ALL.iter().map(|bug| {
        let first = whereabouts_sim::planted::first_found(*bug, seeds);
        match &first {
            Some((seed, finding)) => {
                let count = seed + 1;
                println!(
                    "{:<24}{count:>8}  {:<9}{}",
                    bug.to_string(),
                    finding.promise,
                    finding.text
                );
            }
            None => println!(
                "{:<24}{:>8}  NOT FOUND: {}",
                bug.to_string(),
                "-",
                bug.description()
            ),
        }
        first.is_some()
    });
    found.fold(true, |all, one| all && one)
}

fn to_json(totals: &Totals, failures: usize, took: f64) -> serde_json::Value {
    let faults: BTreeMap<String, u64> = totals
        .faults
        .iter()
        .map(|((fault, verb, step), count)| (format!("{fault}/{verb}/{step}"), *count))
        .collect();
    let verbs: BTreeMap<String, u64> = totals
        .verbs
        .iter()
        .map(|((verb, end), count)| (format!("{verb}/{end:?}"), *count))
        .collect();
    json!({
        "histories": totals.histories,
        "simulated_seconds": totals.time.as_secs(),
        "executions": totals.executions(),
        "store_calls": totals.calls,
        "revisions": totals.revisions,
        "left_to_gc": totals.left_to_gc,
        "findings": failures,
        "wall_seconds": took,
        "verbs": verbs,
        "faults": faults,
    })
}
