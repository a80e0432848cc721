//! The times that etcd takes for a request.

use std::time::Duration;

/// Service times of one etcd, and the network before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// A read of one key.
    pub read: Duration,
    /// A transaction of one compare and one write, without the sync of the log.
    pub commit: Duration,
    /// Each further compare, write, read or entry of a request, and each event of a watch.
    pub operation: Duration,
    /// A sync of the log to the disk. One sync covers all commits that have arrived.
    pub sync: Duration,
    /// A request that is refused, or that its sender has given up before it is begun.
    pub refusal: Duration,
    /// The way to etcd and back.
    pub round_trip: Duration,
}

/// docs/PERFORMANCE.md, "Many ranges": 256 clients get 5,421 transactions of one compare and one write a second (184 µs
/// each), and 3,129 pairs of a read and such a transaction (135 µs for the read). An ADD that meets no other takes
/// 499 µs, and has 7 further operations in its read and 15 in its commit (8 µs each). The clients ran on the same cores,
/// with etcd's data in memory. The sync is the median of 300 `fdatasync` of 2,300 bytes on a virtual disk.
impl Default for Service {
    fn default() -> Self {
        let micros = Duration::from_micros;
        Self {
            read: micros(135),
            commit: micros(184),
            operation: micros(8),
            sync: micros(670),
            refusal: micros(20),
            round_trip: micros(500),
        }
    }
}

impl Service {
    pub(super) fn read_of(&self, questions: usize) -> Duration {
        self.read + self.operation * further(questions, 1)
    }

    pub(super) fn commit_of(&self, operations: usize) -> Duration {
        self.commit + self.operation * further(operations, 2)
    }

    pub(super) fn one_way(&self) -> Duration {
        self.round_trip / 2
    }
}

fn further(operations: usize, first: usize) -> u32 {
    u32::try_from(operations.saturating_sub(first)).expect("etcd bounds a request")
}
