//! The simulator's command line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::{Parser, Subcommand};
use serde_json::json;
use whereabouts_sim::exhaustive;
use whereabouts_sim::history::History;
use whereabouts_sim::planted::{Bug, Home, first_found};
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
    /// Explore small worlds completely: every interleaving of store calls, with up to one fault.
    Exhaustive,
    /// Plant each bug of the catalogue, and see that it is found.
    Planted {
        /// After how many seeds to give up.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// Only this bug.
        #[arg(long, value_parser = parse_bug)]
        bug: Option<Bug>,
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
        Command::Exhaustive => explore(),
        Command::Planted { seeds, bug } => find_planted(seeds, bug),
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

/// Seeds that one core takes at a time.
const PORTION: u64 = 64;

fn run_parallel(seeds: Range<u64>) -> (Totals, BTreeMap<u64, Verdict>) {
    let portions = (seeds.end - seeds.start).div_ceil(PORTION);
    let results = on_all_cores(usize::try_from(portions).expect("it fits"), |index| {
        let from = seeds.start + index as u64 * PORTION;
        let mut totals = Totals::default();
        let mut failures = BTreeMap::new();
        for seed in from..(from + PORTION).min(seeds.end) {
            let verdict = run(seed, &knobs_of(seed), None, &History::default());
            totals.add(&verdict.totals);
            if verdict.finding.is_some() {
                failures.insert(seed, verdict);
            }
        }
        (totals, failures)
    });
    let mut sum = Totals::default();
    let mut all_failures = BTreeMap::new();
    for (totals, failures) in results {
        sum.add(&totals);
        all_failures.extend(failures);
    }
    (sum, all_failures)
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

fn explore() -> bool {
    let started = Instant::now();
    let report = exhaustive::run_all(cores());
    println!("{report}\n{:.1} s", started.elapsed().as_secs_f64());
    report.is_clean()
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn find_planted(seeds: u64, only: Option<Bug>) -> bool {
    let bugs: Vec<Bug> = match only {
        Some(bug) => vec![bug],
        None => Bug::ALL.to_vec(),
    };
    let started = Instant::now();
    println!(
        "{:<24}{:>6}{:>9}{:>14}  what",
        "bug", "seeds", "promise", "interleavings"
    );
    let results = on_all_cores(bugs.len(), |index| {
        let bug = bugs[index];
        let in_histories = match bug.home() {
            Some(Home::World(_)) => None,
            Some(Home::Shape(_)) | None => first_found(bug, seeds),
        };
        (in_histories, exhaustive::hunt(bug))
    });
    for (bug, (history, world)) in bugs.iter().zip(&results) {
        let nothing = || "-".to_owned();
        let seed = history
            .as_ref()
            .map_or_else(nothing, |found| found.histories.to_string());
        let promise = history
            .as_ref()
            .map_or_else(nothing, |found| found.finding.promise.to_string());
        let interleavings = world
            .as_ref()
            .map_or_else(nothing, |found| found.interleavings.to_string());
        let what = match (history, world) {
            (Some(found), _) => found.finding.text.clone(),
            (None, Some(found)) => {
                format!("{} ({}, {} faults)", found.what, found.world, found.faults)
            }
            (None, None) => format!("NOT FOUND: {}", bug.description()),
        };
        let name = bug.to_string();
        println!("{name:<24}{seed:>6}{promise:>9}{interleavings:>14}  {what}");
    }
    println!("{:.1} s", started.elapsed().as_secs_f64());
    let found = |(history, world): &(Option<_>, Option<_>)| history.is_some() || world.is_some();
    results.iter().all(found)
}

/// `work` on each of `count` pieces, in any order; the results in theirs.
fn on_all_cores<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let result = work(index);
                    results
                        .lock()
                        .expect("no thread panics with it")
                        .insert(index, result);
                }
            });
        }
    });
    results
        .into_inner()
        .expect("no thread panics with it")
        .into_values()
        .collect()
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
