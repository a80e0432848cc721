//! The report: a table for people, and the same as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Fault;
use super::shared::Suite;
use super::tally::{SETTLED, Struck};

/// The report of a run that is over.
#[derive(Debug)]
pub struct Report {
    executions: Vec<(String, String, u64)>,
    total: u64,
    seconds: f64,
    revisions: u64,
    left_to_gc: u64,
    healthy: Times,
    struck: Vec<(Fault, Struck)>,
    complaints: Vec<String>,
}

/// How long some ADDs took.
#[derive(Clone, Copy, Debug)]
struct Times {
    count: usize,
    median: Duration,
    worst: Duration,
}

impl Times {
    fn of(sorted: &[Duration]) -> Self {
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self {
            count: sorted.len(),
            median: at(sorted.len() / 2),
            worst: sorted.last().copied().unwrap_or_default(),
        }
    }

    fn json(self) -> Value {
        json!({
            "count": self.count,
            "median_ms": milliseconds(self.median),
            "worst_ms": milliseconds(self.worst),
        })
    }
}

impl Report {
    /// Of `suite`, with what is not as it must be.
    pub fn of(suite: &Suite, complaints: Vec<String>) -> Self {
        let tally = suite.tally();
        let struck: Vec<(Fault, Struck)> = tally.struck().into_iter().collect();
        let executions = tally.executions().iter();
        Self {
            executions: executions
                .map(|((verb, end), count)| (verb.to_string(), format!("{end:?}"), *count))
                .collect(),
            total: tally.total(),
            seconds: tally.start().elapsed().as_secs_f64(),
            revisions: suite.verdict.borrow().revisions(),
            left_to_gc: suite.left_to_gc.get(),
            healthy: Times::of(&tally.healthy()),
            struck,
            complaints,
        }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes everything");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "{} executions in {:.0} s, {} revisions judged, {} attachments left to GC",
            self.total, self.seconds, self.revisions, self.left_to_gc
        )?;
        for (verb, end, count) in &self.executions {
            writeln!(text, "  {verb:<7}{end:<9}{count:>8}")?;
        }
        writeln!(
            text,
            "\n{:<19}{:>6}{:>8}{:>8}{:>8}{:>9}{:>10}{:>11}{:>10}",
            "fault",
            "times",
            "before",
            "during",
            "after",
            "code 11",
            "gap s",
            "median ms",
            "worst ms"
        )?;
        for (fault, kind) in &self.struck {
            let times = Times::of(&kind.took);
            writeln!(
                text,
                "{fault:<19}{:>6}{:>8}{:>8}{:>8}{:>9}{:>10.1}{:>11.1}{:>10.0}",
                kind.times,
                kind.before,
                kind.during,
                kind.after,
                kind.clear_failures,
                kind.longest_gap.as_secs_f64(),
                milliseconds(times.median),
                milliseconds(times.worst),
            )?;
        }
        let Times {
            count,
            median,
            worst,
        } = self.healthy;
        writeln!(
            text,
            "\nADD, healthy: {count}, median {:.1} ms, worst {:.0} ms",
            milliseconds(median),
            milliseconds(worst)
        )?;
        let dead = self.struck.iter();
        for (fault, kind) in dead.filter(|(fault, _)| fault.is_one_member_dead()) {
            let settled = Times::of(&kind.took_settled);
            let all = Times::of(&kind.took);
            writeln!(
                text,
                "ADD, {fault}: {} after {SETTLED:?}, median {:.1} ms ({} 2 x healthy); worst of all {:.0} ms \
                 ({} {SETTLED:?})",
                settled.count,
                milliseconds(settled.median),
                within(settled.median, median * 2),
                milliseconds(all.worst),
                within(all.worst, SETTLED),
            )?;
        }
        for complaint in &self.complaints {
            writeln!(text, "FINDING: {complaint}")?;
        }
        if self.complaints.is_empty() {
            writeln!(text, "\nNo finding.")?;
        }
        Ok(())
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let executions = self
            .executions
            .iter()
            .map(|(verb, end, count)| json!({"verb": verb, "end": end, "count": count}));
        let struck = self.struck.iter().map(|(fault, kind)| {
            json!({
                "fault": fault.to_string(),
                "times": kind.times,
                "successes_before": kind.before,
                "successes_during": kind.during,
                "successes_after": kind.after,
                "clear_failures": kind.clear_failures,
                "longest_gap_s": kind.longest_gap.as_secs_f64(),
                "add": Times::of(&kind.took).json(),
                "add_settled": Times::of(&kind.took_settled).json(),
            })
        });
        json!({
            "executions": executions.collect::<Value>(),
            "total": self.total,
            "seconds": self.seconds,
            "revisions": self.revisions,
            "left_to_gc": self.left_to_gc,
            "healthy": self.healthy.json(),
            "faults": struck.collect::<Value>(),
            "findings": self.complaints,
        })
    }
}

fn within(time: Duration, bound: Duration) -> &'static str {
    if time <= bound { "within" } else { "OVER" }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
