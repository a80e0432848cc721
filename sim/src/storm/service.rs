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

/// Operations of an ADD that meets no other, in its read and in its commit. The simulator counts them.
pub const OPERATIONS_OF_AN_ADD: u32 = 12;

/// Of those, the operations that are part of the price of a read and of a commit.
const PAID_OPERATIONS: u32 = 3;

/// docs/PERFORMANCE.md, "Many ranges": 256 clients get 5,421 transactions of one compare and one write a second (184 µs
/// each). They get 3,129 pairs of a read and such a transaction, so the read takes 135 µs. They get 2,005 ADDs that meet no other
/// (499 µs each), so the further operations take the rest. The clients ran on the same cores, with etcd's data in
/// memory.
///
/// The times of a sync, of a refusal and of the way are assumptions: a fast disk, and one data centre.
impl Default for Service {
    fn default() -> Self {
        let micros = Duration::from_micros;
        Self {
            read: micros(135),
            commit: micros(184),
            operation: micros(499 - 135 - 184) / (OPERATIONS_OF_AN_ADD - PAID_OPERATIONS),
            sync: micros(670),
            refusal: micros(20),
            round_trip: micros(500),
        }
    }
}

impl Service {
    pub(super) fn read_of(&self, questions: usize) -> Duration {
        self.read + self.operation * count(questions.saturating_sub(1))
    }

    /// A commit, without what it writes and reads after its compares.
    pub(super) fn commit_of(&self, compares: usize) -> Duration {
        (self.commit + self.operation * count(compares)).saturating_sub(2 * self.operation)
    }

    pub(super) fn one_way(&self) -> Duration {
        self.round_trip / 2
    }
}

fn count(operations: usize) -> u32 {
    u32::try_from(operations).expect("etcd bounds a request")
}
