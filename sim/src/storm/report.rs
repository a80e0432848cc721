//! The figures of a storm, and the judgement.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::etcd::Counts;
use super::tally::Tally;
use super::{Plan, Service};

/// The least share of the largest throughput that a storm must complete.
const LEAST_SHARE: f64 = 0.8;

/// One level of the rising load.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// ADDs a second that came.
    pub offered: u64,
    /// ADDs a second that succeeded.
    pub completed: f64,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered, completed } = self;
        write!(
            f,
            "{offered:>6} ADDs a second offered, {completed:>7.0} completed"
        )
    }
}

/// The figures of one offered load.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The pods.
    pub pods: u64,
    /// Whether all pods have their addresses.
    pub is_whole: bool,
    /// The times of the grants, in order.
    pub granted_at: Vec<Duration>,
    /// The longest time of a pod until its address.
    pub longest_wait: Duration,
    /// The most ADDs of one pod.
    pub most_tries: u64,
    /// Failed ADDs, by the kind of the failure.
    pub failed: BTreeMap<&'static str, u64>,
    /// DELs after failed ADDs.
    pub deletes: u64,
    /// Those of them that failed.
    pub failed_deletes: u64,
    /// What etcd served.
    pub counts: Counts,
    /// Broken promises.
    pub violations: Vec<String>,
}

impl Run {
    pub(super) fn new(
        tally: &Tally,
        pods: u64,
        is_whole: bool,
        before: &Counts,
        after: &Counts,
        violations: Vec<String>,
    ) -> Self {
        Self {
            pods,
            is_whole,
            granted_at: tally.granted_at.clone(),
            longest_wait: tally.longest_wait,
            most_tries: tally.most_tries,
            failed: tally.failed.clone(),
            deletes: tally.deletes,
            failed_deletes: tally.failed_deletes,
            counts: after.since(before),
            violations,
        }
    }

    /// ADDs a second that succeeded between two times.
    pub(super) fn completed_between(&self, from: Duration, until: Duration) -> f64 {
        let within = self
            .granted_at
            .iter()
            .filter(|at| **at >= from && **at < until);
        float(within.count() as u64) / until.saturating_sub(from).as_secs_f64()
    }

    /// The time until this many hundredths of the pods had their addresses.
    fn time_until(&self, hundredths: usize) -> Option<Duration> {
        let needed =
            usize::try_from(self.pods).expect("a count of this process") * hundredths / 100;
        self.granted_at.get(needed.checked_sub(1)?).copied()
    }

    /// ADDs a second that succeeded until this many hundredths of the pods had their addresses.
    fn rate_until(&self, hundredths: usize) -> f64 {
        let pods = float(self.pods) * float(hundredths as u64) / 100.0;
        self.time_until(hundredths)
            .map_or(0.0, |time| pods / time.as_secs_f64())
    }

    fn a_second(&self) -> Vec<u64> {
        let mut seconds = Vec::new();
        for at in &self.granted_at {
            let second = usize::try_from(at.as_secs()).expect("a short time");
            seconds.resize(seconds.len().max(second + 1), 0);
            seconds[second] += 1;
        }
        seconds
    }
}

/// The result of a storm.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was run.
    pub plan: Plan,
    /// The rising load.
    pub levels: Vec<Level>,
    /// The largest throughput, in ADDs a second.
    pub peak: f64,
    /// The storm.
    pub run: Run,
}

impl Report {
    /// The throughput of the storm as a share of the largest: over all of its time until the last pod had its address.
    pub fn share(&self) -> f64 {
        self.run.rate_until(100) / self.peak
    }

    /// What does not hold.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = self.run.violations.clone();
        if !self.run.is_whole {
            let without = self.run.pods - self.run.granted_at.len() as u64;
            failures.push(format!("{without} pods have no address"));
        }
        if self.share() < LEAST_SHARE {
            failures.push(format!(
                "{:.0} % of the largest throughput",
                100.0 * self.share()
            ));
        }
        failures
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Value {
        let (run, counts) = (&self.run, &self.run.counts);
        let levels = self.levels.iter();
        let levels =
            levels.map(|level| json!({"offered": level.offered, "completed": level.completed}));
        json!({
            "seed": self.plan.seed,
            "nodes": self.plan.nodes,
            "pods": run.pods,
            "ranges": self.plan.ranges,
            "overload": self.plan.overload,
            "service_us": service_json(&self.plan.service),
            "levels": levels.collect::<Vec<_>>(),
            "peak": self.peak,
            "share_until_95_percent": run.rate_until(95) / self.peak,
            "share": self.share(),
            "seconds_until_all": run.time_until(100).map(|time| time.as_secs_f64()),
            "seconds_until_95_percent": run.time_until(95).map(|time| time.as_secs_f64()),
            "longest_wait_seconds": run.longest_wait.as_secs_f64(),
            "completed_a_second": run.a_second(),
            "failed_adds": run.failed,
            "most_tries": run.most_tries,
            "deletes": run.deletes,
            "failed_deletes": run.failed_deletes,
            "requests": counts.requests,
            "commits": counts.commits,
            "conflicts": counts.conflicts,
            "operations": counts.operations,
            "dropped_reads": counts.dropped,
            "late_commits": counts.late,
            "refused": counts.refused,
            "longest_line": counts.longest_line,
            "failures": self.failures(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (run, counts) = (&self.run, &self.run.counts);
        let each = |count: u64| float(count) / float(run.pods);
        let seconds = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64());
        writeln!(f, "peak                 {:>9.0} ADDs a second", self.peak)?;
        writeln!(
            f,
            "pods                 {:>9}, in {} ranges, at {} times the peak",
            run.pods, self.plan.ranges, self.plan.overload
        )?;
        writeln!(
            f,
            "until 95 % have one  {:>9.1} s, {:.0} % of the peak",
            seconds(run.time_until(95)),
            100.0 * run.rate_until(95) / self.peak
        )?;
        writeln!(
            f,
            "until all have one   {:>9.1} s, {:.0} % of the peak",
            seconds(run.time_until(100)),
            100.0 * self.share()
        )?;
        writeln!(
            f,
            "longest wait         {:>9.1} s, {} ADDs at most",
            run.longest_wait.as_secs_f64(),
            run.most_tries
        )?;
        writeln!(f, "requests of an ADD   {:>9.2}", each(counts.requests))?;
        writeln!(
            f,
            "commits of an ADD    {:>9.2}, of which {:.2} were refused",
            each(counts.commits),
            each(counts.conflicts)
        )?;
        writeln!(
            f,
            "operations a commit  {:>9.1}",
            float(counts.operations) / float(counts.commits.max(1))
        )?;
        writeln!(
            f,
            "failed ADDs          {:>9} {:?}",
            run.failed.values().sum::<u64>(),
            run.failed
        )?;
        writeln!(
            f,
            "failed DELs          {:>9} of {}",
            run.failed_deletes, run.deletes
        )?;
        writeln!(
            f,
            "given up in line     {:>9} reads, {} commits",
            counts.dropped, counts.late
        )?;
        writeln!(
            f,
            "too many requests    {:>9}, longest line {}",
            counts.refused, counts.longest_line
        )?;
        let rates: Vec<String> = run
            .a_second()
            .chunks(10)
            .map(|chunk| (chunk.iter().sum::<u64>() / chunk.len() as u64).to_string())
            .collect();
        writeln!(f, "completed a second, by 10 s: {}", rates.join(" "))?;
        for failure in self.failures().iter().take(20) {
            writeln!(f, "NOT HELD: {failure}")?;
        }
        Ok(())
    }
}

fn service_json(service: &Service) -> Value {
    let micros = |time: Duration| float(u64::try_from(time.as_micros()).expect("a short time"));
    json!({
        "read": micros(service.read),
        "commit": micros(service.commit),
        "operation": micros(service.operation),
        "sync": micros(service.sync),
        "refusal": micros(service.refusal),
        "round_trip": micros(service.round_trip),
    })
}

/// A count as a number of a ratio.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
