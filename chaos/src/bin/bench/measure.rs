//! What some operations cost, one after the other: counted by etcd itself, and timed.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use whereabouts_chaos::cluster::Cluster;
use whereabouts_chaos::counters::Counters;

/// What operations of one kind cost together.
pub(crate) struct Cost {
    /// How many there were.
    pub(crate) operations: u64,
    /// What etcd was asked for them.
    pub(crate) spent: Counters,
    /// How long each took, shortest first.
    took: Vec<Duration>,
}

impl Cost {
    /// Carries out `act` for each of `numbers`, uncontended. Nothing else may use the cluster.
    pub(crate) async fn measure(
        cluster: &Cluster,
        numbers: impl IntoIterator<Item = u64>,
        act: impl AsyncFn(u64) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut took = Vec::new();
        let before = cluster.counters();
        for number in numbers {
            let start = Instant::now();
            act(number).await?;
            took.push(start.elapsed());
        }
        let spent = cluster.counters().since(&before);
        took.sort_unstable();
        Ok(Self {
            operations: took.len() as u64,
            spent,
            took,
        })
    }

    /// Of so many operations in a hundred, the slowest took so long.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.took.len() * percent).div_ceil(100);
        let at = rank.checked_sub(1).and_then(|index| self.took.get(index));
        at.copied().unwrap_or_default()
    }

    /// Of a total, an operation's part.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn each(&self, total: u64) -> f64 {
        total as f64 / self.operations as f64
    }

    /// Bytes of requests and answers together.
    pub(crate) fn bytes(&self) -> u64 {
        self.spent.received_bytes + self.spent.sent_bytes
    }

    /// All of it, each operation's part.
    pub(crate) fn to_json(&self) -> Value {
        let requests = self.spent.requests.iter();
        let requests: Map<String, Value> = requests
            .map(|(method, count)| (method.clone(), json!(self.each(*count))))
            .collect();
        json!({
            "operations": self.operations,
            "requests": requests,
            "commits": self.each(self.spent.commits),
            "keys_written": self.each(self.spent.keys_written),
            "bytes_to_etcd": self.each(self.spent.received_bytes),
            "bytes_from_etcd": self.each(self.spent.sent_bytes),
            "p50_ms": milliseconds(self.percentile(50)),
            "p99_ms": milliseconds(self.percentile(99)),
        })
    }
}

/// A time as a number.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
