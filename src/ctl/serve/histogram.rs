//! A histogram of durations.

use std::time::Duration;

/// The upper bounds of the buckets, in microseconds, and as a label has them. An ADD takes some milliseconds; its deadline
/// is a minute.
pub(super) const BUCKETS: [(u64, &str); 14] = [
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// How many durations there were up to each bound.
#[derive(Default)]
pub(crate) struct Histogram {
    /// A duration counts in the first bucket that has room for it.
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub(super) fn observe(&mut self, duration: Duration) {
        let fits = |(bound, _): &(u64, &str)| duration <= Duration::from_micros(*bound);
        if let Some(bucket) = BUCKETS.iter().position(fits) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// How many durations were counted.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in seconds.
    pub(super) fn sum(&self) -> String {
        format!("{}.{:06}", self.sum.as_secs(), self.sum.subsec_micros())
    }

    /// The bounds, each with the number of durations up to it.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut count = 0;
        BUCKETS
            .iter()
            .zip(self.buckets)
            .map(move |((_, bound), of_bucket)| {
                count += of_bucket;
                (*bound, count)
            })
    }
}
