//! The simulator's command line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use serde_json::json;
use whereabouts_sim::exhaustive;
use whereabouts_sim::journal::{History, Totals};
use whereabouts_sim::planted::{Bug, Home};
use whereabouts_sim::run::{
    Failing, Replay, Verdict, first_found, knobs_of, parse_bug, run, shrink,
};

/// A fifth of the time of a run goes into memory with the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs the plugin's code on many simulated nodes against a simulated etcd that fails, and judges
/// every revision. One seed gives one history, byte for byte.
///
/// Begin with `run --seeds 0..1000`. What it finds it makes smaller, and prints as a `replay` line; with
/// `--trace`, that line shows what happens.
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
    /// Run one history again, all of it or what was left when it was made smaller.
    Replay {
        #[command(flatten)]
        replay: Replay,
        /// Print what happens, a line an event.
        #[arg(long)]
        trace: bool,
    },
    /// Explore small worlds completely: every interleaving of store calls, with up to one fault, or two.
    Exhaustive {
        /// Only the worlds whose name has this in it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        world: String,
        /// Those too that take longer than some seconds: two faults, and three processes in a queue.
        #[arg(long)]
        large: bool,
    },
    /// Plant each bug of the catalogue, and see that it is found: after how many histories, and after
    /// how many interleavings of a small world.
    ///
    /// Exit status: 0 if each was found in one of the two.
    Planted {
        /// After how many histories to give up.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// Only this bug, and make the history that finds it smaller.
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

fn main() -> ExitCode {
    let held = match Arguments::parse().command {
        Command::Run { seeds, json } => run_many(seeds, json.as_deref()),
        Command::Replay { replay, trace } => run_again(&replay, trace),
        Command::Exhaustive { world, large } => explore(&world, large),
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
    let sum = run_parallel(&seeds, started);
    let Sum {
        totals,
        failed,
        shown,
        ..
    } = sum;
    let took = started.elapsed().as_secs_f64();
    print!("{totals}");
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let per_minute = totals.executions() as f64 / took * 60.0;
    println!("\n{took:.1} s, {per_minute:.0} verbs per minute");
    println!("{failed} findings");
    for (seed, verdict) in &shown {
        report(*seed, None, verdict);
    }
    let (faults, steps) = totals.untouched();
    let thorough = seeds.end - seeds.start < LARGE || (faults.is_empty() && steps.is_empty());
    if !thorough {
        println!("never struck: {faults:?}; never struck in: {steps:?}");
    }
    if let Some(path) = json {
        let written = std::fs::write(path, to_json(&totals, failed, took).to_string());
        if let Err(error) = written {
            eprintln!("{}: {error}", path.display());
            return false;
        }
    }
    failed == 0 && thorough
}

/// Seeds that one core takes at a time.
const PORTION: u64 = 64;

/// Failing histories that are kept, to be made smaller and shown; the others are counted.
const MOST_SHOWN: usize = 10;

/// How often the progress is told on standard error.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What many histories came to: of a size that does not grow with their number.
#[derive(Default)]
struct Sum {
    totals: Totals,
    failed: u64,
    shown: BTreeMap<u64, Verdict>,
    told: Duration,
}

impl Sum {
    fn add(&mut self, totals: &Totals, failures: Vec<(u64, Verdict)>) {
        self.totals.add(totals);
        self.failed += failures.len() as u64;
        for (seed, verdict) in &failures {
            if let Some(finding) = &verdict.finding {
                eprintln!("seed {seed}: {finding}");
            }
        }
        self.shown.extend(failures);
        while self.shown.len() > MOST_SHOWN {
            self.shown.pop_last();
        }
    }

    fn tell(&mut self, took: Duration, all: u64) {
        if took >= self.told + TELL_EVERY {
            self.told = took;
            let (histories, failed) = (self.totals.histories, self.failed);
            eprintln!(
                "{:>6.0} s: {histories} of {all} histories, {failed} findings",
                took.as_secs_f64()
            );
        }
    }
}

fn run_parallel(seeds: &Range<u64>, started: Instant) -> Sum {
    let all = seeds.end - seeds.start;
    let sum = Mutex::new(Sum::default());
    on_all_cores(all.div_ceil(PORTION), |index| {
        let from = seeds.start + index * PORTION;
        let mut totals = Totals::default();
        let mut failures = Vec::new();
        for seed in from..(from + PORTION).min(seeds.end) {
            let verdict = run(seed, &knobs_of(seed), None, &History::default());
            totals.add(&verdict.totals);
            if verdict.finding.is_some() {
                failures.push((seed, verdict));
            }
        }
        let mut sum = sum.lock().expect("no thread panics with it");
        sum.add(&totals, failures);
        sum.tell(started.elapsed(), all);
    });
    sum.into_inner().expect("no thread panics with it")
}

fn report(seed: u64, bug: Option<Bug>, verdict: &Verdict) {
    let Some(finding) = &verdict.finding else {
        return;
    };
    println!("\nseed {seed}: {finding}\n  {}", verdict.knobs);
    let promise = finding.promise;
    let small = shrink(Failing { seed, bug, promise }, &verdict.knobs);
    println!("  as small as it gets: {}", small.knobs);
    println!("  {}", Replay::of(seed, bug, &small.knobs));
}

fn run_again(replay: &Replay, trace: bool) -> bool {
    let history = if trace {
        History::kept()
    } else {
        History::default()
    };
    let (seed, knobs) = (replay.seed, replay.knobs());
    let verdict = run(seed, &knobs, replay.bug, &history);
    for line in history.lines() {
        println!("{line}");
    }
    match &verdict.finding {
        Some(finding) => println!("seed {seed}: {finding}"),
        None => println!("seed {seed}: every promise held"),
    }
    verdict.finding.is_none()
}

fn explore(part: &str, large: bool) -> bool {
    let started = Instant::now();
    let report = exhaustive::run(cores(), |world, faults| {
        world.name.contains(part) && (large || faults < world.large_from)
    });
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
    let results = Mutex::new(BTreeMap::new());
    on_all_cores(bugs.len() as u64, |index| {
        let bug = bugs[usize::try_from(index).expect("below the length")];
        let in_histories = match bug.home() {
            Some(Home::World(..)) => None,
            Some(Home::Shape(_) | Home::FarAway) | None => first_found(bug, seeds),
        };
        let found = (in_histories, exhaustive::hunt(bug));
        results
            .lock()
            .expect("no thread panics with it")
            .insert(bug, found);
    });
    let results = results.into_inner().expect("no thread panics with it");
    for (bug, (history, world)) in &results {
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
    if let (Some(bug), Some((Some(found), _))) = (only, results.values().next()) {
        let verdict = run(
            found.seed,
            &knobs_of(found.seed),
            Some(bug),
            &History::default(),
        );
        report(found.seed, Some(bug), &verdict);
    }
    let found = |(history, world): &(Option<_>, Option<_>)| history.is_some() || world.is_some();
    results.values().all(found)
}

/// `work` on each of `count` pieces, in any order.
fn on_all_cores(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    work(index);
                }
            });
        }
    });
}

fn to_json(totals: &Totals, failures: u64, took: f64) -> serde_json::Value {
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
    let steps: BTreeMap<String, u64> = totals
        .steps
        .iter()
        .map(|((verb, step), count)| (format!("{verb}/{step}"), *count))
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
        "steps": steps,
    })
}
