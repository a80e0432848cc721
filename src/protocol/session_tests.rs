//! The tries of a session against a store that refuses or hangs.

use std::cell::Cell;
use std::future::pending;
use std::time::{Duration, Instant};

use futures::executor::block_on;

use crate::session::Session;
use whereabouts_clock::{Chance, Clock, Still};
use whereabouts_core::failure::Failure;
use whereabouts_store::keys::Keys;
use whereabouts_store::memory::MemoryWatch;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View,
};

/// A clock on which no wait takes any time: what is waited for is now.
struct Passing(Still, Cell<Duration>);

impl Clock for Passing {
    fn now(&self) -> Instant {
        self.0.now() + self.1.get()
    }

    fn since_epoch(&self) -> Duration {
        self.1.get()
    }

    async fn sleep_until(&self, instant: Instant) {
        let by = instant.saturating_duration_since(self.now());
        self.1.set(self.1.get() + by);
    }
}

/// A store that refuses so many reads, and then hangs.
struct Dead(Cell<u32>);

impl Store for Dead {
    type Watch = MemoryWatch;

    async fn read(&self, _: &[Read], _: At) -> Result<View, Unavailable> {
        let left = self.0.get();
        if left == 0 {
            return pending().await;
        }
        self.0.set(left - 1);
        Err(Unavailable::Later("connection refused".to_owned()))
    }

    async fn commit(&self, _: &Txn) -> Result<Outcome, CommitError> {
        pending().await
    }

    async fn grant(&self, _: i64) -> Result<Lease, Unavailable> {
        pending().await
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<(), Unavailable> {
        pending().await
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), Unavailable> {
        pending().await
    }

    async fn watch(&self, _: &[Vec<u8>]) -> Result<MemoryWatch, Unavailable> {
        pending().await
    }
}

#[test]
fn a_last_try_without_a_reply_hides_no_earlier_reason() {
    for (refusals, expected) in [
        (0, "no reply in time"),
        (1, "no reply in time; before that: connection refused"),
        (1000, "connection refused"),
    ] {
        let store = Dead(Cell::new(refusals));
        let clock = Passing(Still::default(), Cell::default());
        let (chance, keys) = (Chance::new(1), Keys::new("/w/"));
        let session = Session::new(&store, &clock, &chance, &keys, Duration::from_secs(5));
        match block_on(session.snapshot(&[])) {
            Err(Failure::Unreachable { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
    }
}
