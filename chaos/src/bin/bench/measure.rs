//! The cost of some operations together: counted by etcd itself, and timed.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Map, Value, json};
use whereabouts_chaos::cluster::Cluster;
use whereabouts_chaos::counters::Counters;

/// The cost of operations of one kind together.
pub(crate) struct Cost {
    /// How many there were.
    pub(crate) operations: u64,
    /// The requests that etcd counted for them.
    pub(crate) spent: Counters,
    /// Processor time of this process and of those that it executed for them.
    pub(crate) client_cpu: Duration,
    pace: Pace,
}

/// How fast operations were: those that are timed, of all that were counted.
pub(crate) struct Pace {
    /// Operations that ended within `wall`.
    pub(crate) in_time: u64,
    /// The time in which they did.
    pub(crate) wall: Duration,
    /// How long each took.
    pub(crate) took: Vec<Duration>,
}

impl Pace {
    /// Of operations that all ended within `wall`.
    pub(crate) fn of_all(took: Vec<Duration>, wall: Duration) -> Self {
        Self {
            in_time: took.len() as u64,
            wall,
            took,
        }
    }
}

/// A look at all meters, from which on costs are measured.
pub(crate) struct Meters {
    counters: Counters,
    cpu: Duration,
    start: Instant,
}

impl Meters {
    /// Reads the meters. Nothing else may use the cluster until the cost is told.
    pub(crate) fn read(cluster: &Cluster) -> Self {
        Self {
            counters: cluster.counters(),
            cpu: cpu(UsageWho::RUSAGE_SELF) + cpu(UsageWho::RUSAGE_CHILDREN),
            start: Instant::now(),
        }
    }

    /// When they were read.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// The cost of all operations since then.
    pub(crate) fn cost(self, cluster: &Cluster, operations: u64, mut pace: Pace) -> Cost {
        let cpu = cpu(UsageWho::RUSAGE_SELF) + cpu(UsageWho::RUSAGE_CHILDREN);
        pace.took.sort_unstable();
        Cost {
            operations,
            spent: cluster.counters().since(&self.counters),
            client_cpu: cpu.saturating_sub(self.cpu),
            pace,
        }
    }
}

impl Cost {
    /// Carries out `act` for each of `numbers`, uncontended. Nothing else may use the cluster.
    pub(crate) async fn measure(
        cluster: &Cluster,
        numbers: impl IntoIterator<Item = u64>,
        act: impl AsyncFn(u64) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut took = Vec::new();
        let meters = Meters::read(cluster);
        for number in numbers {
            let start = Instant::now();
            act(number).await?;
            took.push(start.elapsed());
        }
        let pace = Pace::of_all(took, meters.start().elapsed());
        Ok(meters.cost(cluster, pace.in_time, pace))
    }

    /// Of so many operations in a hundred, the slowest took so long.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.pace.took, percent)
    }

    /// Operations in a second.
    pub(crate) fn rate(&self) -> f64 {
        ratio(self.pace.in_time, 1) / self.pace.wall.as_secs_f64()
    }

    /// From the first's start to the last's end, or as long as operations were counted.
    pub(crate) fn wall(&self) -> Duration {
        self.pace.wall
    }

    /// Of a total, an operation's part.
    pub(crate) fn each(&self, total: u64) -> f64 {
        ratio(total, self.operations)
    }

    /// Bytes of requests and answers together.
    pub(crate) fn bytes(&self) -> u64 {
        self.spent.received_bytes + self.spent.sent_bytes
    }

    /// Processor time of an operation at the clients, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> f64 {
        milliseconds(self.client_cpu) / ratio(self.operations, 1)
    }

    /// All of it, each operation's part.
    pub(crate) fn to_json(&self) -> Value {
        let requests = self.spent.requests.iter();
        let requests: Map<String, Value> = requests
            .map(|(method, count)| (method.clone(), json!(self.each(*count))))
            .collect();
        json!({
            "operations": self.operations,
            "per_second": self.rate(),
            "requests": requests,
            "all_requests": self.each(self.spent.all_requests()),
            "told": self.each(self.spent.told),
            "commits": self.each(self.spent.commits),
            "keys_written": self.each(self.spent.keys_written),
            "bytes_to_etcd": self.each(self.spent.received_bytes),
            "bytes_from_etcd": self.each(self.spent.sent_bytes),
            "client_cpu_ms": self.cpu_ms(),
            "etcd_cpu_ms": self.each(self.spent.cpu_ms),
            "p50_ms": milliseconds(self.percentile(50)),
            "p99_ms": milliseconds(self.percentile(99)),
            "worst_ms": milliseconds(self.percentile(100)),
        })
    }
}

/// Of so many in a hundred of these, which are in growing order, the last.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    let at = rank.checked_sub(1).and_then(|index| sorted.get(index));
    at.copied().unwrap_or_default()
}

/// A time as a number.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A quotient of counts.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Processor time so far of this process, or of all its children that have ended.
pub(crate) fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("a process may ask for its own usage");
    let micros = [usage.user_time(), usage.system_time()].map(|time| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        u64::try_from(micros).expect("time spent is not negative")
    });
    Duration::from_micros(micros.iter().sum())
}
