//! What the pods of a storm saw.

use std::collections::BTreeMap;
use std::time::Duration;

use whereabouts_core::failure::Failure;
use whereabouts_core::verbs::Error;

/// The grants and failures of a storm, and the violations that a grant shows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The pod that has an address.
    pub(super) holders: BTreeMap<String, u64>,
    pub(super) violations: Vec<String>,
    /// The times of the grants, since the beginning of the storm.
    pub(super) granted_at: Vec<Duration>,
    pub(super) longest_wait: Duration,
    pub(super) most_tries: u64,
    /// Failed ADDs, by the kind of the failure.
    pub(super) failed: BTreeMap<&'static str, u64>,
    pub(super) deletes: u64,
    pub(super) failed_deletes: u64,
    pub(super) began: Duration,
}

impl Tally {
    pub(super) fn granted(
        &mut self,
        pod: u64,
        address: String,
        tries: u64,
        waited: Duration,
        now: Duration,
    ) {
        if let Some(other) = self.holders.get(&address) {
            let text = format!("pods {other} and {pod} both have {address}");
            self.violations.push(text);
        }
        self.holders.insert(address, pod);
        self.granted_at.push(now.saturating_sub(self.began));
        self.longest_wait = self.longest_wait.max(waited);
        self.most_tries = self.most_tries.max(tries);
    }

    pub(super) fn failed(&mut self, error: &Error) {
        let kind = kind_of(error);
        *self.failed.entry(kind).or_default() += 1;
        if kind == OTHER {
            self.violations.push(format!("an ADD failed: {error}"));
        }
    }

    pub(super) fn deleted(&mut self, is_done: bool) {
        self.deletes += 1;
        self.failed_deletes += u64::from(!is_done);
    }
}

/// No pod may see another failure: there are addresses for all of them, and etcd lives.
const OTHER: &str = "other";

fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::Failure(Failure::Unreachable { .. }) => "unreachable",
        Error::Failure(Failure::OutOfTime { .. }) => "out of time",
        Error::Failure(Failure::QueueTooLong(_)) => "queue too long",
        Error::Failure(Failure::LockTooLong(_)) => "lock too long",
        Error::Failure(Failure::Unsettled(_)) => "unsettled",
        // A restarted sandbox: the old container's claim, from an ADD that ended as unknown.
        Error::Failure(Failure::BeganLate(_)) => "began late",
        _ => OTHER,
    }
}
