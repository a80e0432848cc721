//! Histories of many seeds, on all cores: their totals, and what was found in them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;
use whereabouts_sim::journal::{History, Totals};
use whereabouts_sim::run::{Verdict, knobs_of, run};

use crate::cores::on_all_cores;
use crate::one::report;

/// Histories after which a kind of fault or a step that was never struck is a finding.
const LARGE: u64 = 10_000;

/// Runs the histories of these seeds; whether nothing was found, and, in a large run, every fault and step was struck.
pub(crate) fn run_many(seeds: Range<u64>, json: Option<&Path>) -> bool {
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

/// The sum of many histories. Its size does not grow with their number.
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
