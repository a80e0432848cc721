//! A session against a store that refuses, hangs, or is slow.

use std::cell::Cell;
use std::future::pending;
use std::time::{Duration, Instant};

use futures::executor::block_on;

use crate::session::Session;
use whereabouts_clock::{Chance, Clock, Still};
use whereabouts_core::address::{Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Owner, Want};
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::{Registry, Taken};
use whereabouts_store::keys::Keys;
use whereabouts_store::memory::{MemoryStore, MemoryWatch};
use whereabouts_store::snapshot::Query;
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

/// A store whose reads take so long.
struct Slow<'c>(&'c MemoryStore, &'c Passing, Duration);

impl Store for Slow<'_> {
    type Watch = MemoryWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        self.1.sleep_until(self.1.now() + self.2).await;
        self.0.read(reads, at).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        self.0.commit(txn).await
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

fn ask(container: &str) -> Ask {
    let name = |text| Name::new(text).expect("a name");
    let cidr = "10.0.0.0/24".parse().expect("a CIDR");
    let range = Range::new(RangeSpec::of(cidr)).expect("it makes sense");
    Ask {
        attachment: Attachment {
            network: name("net"),
            container: name(container),
            interface: "eth0".to_owned(),
        },
        wants: vec![Want::lowest(&range)],
        owner: Owner {
            node: Some("node".to_owned()),
            pod_uid: Some("uid".to_owned()),
            ..Owner::default()
        },
        may_take_over: true,
    }
}

#[test]
fn an_add_whose_first_answer_comes_late_takes_nothing_over() {
    let (old, new) = (ask("old"), ask("new"));
    for (wait_ms, is_late) in [(4_000, false), (4_001, true)] {
        let store = MemoryStore::default();
        let clock = Passing(Still::default(), Cell::default());
        let (chance, keys) = (Chance::new(1), Keys::new("/w/"));
        let minute = Duration::from_mins(1);
        let quick = Session::new(&store, &clock, &chance, &keys, minute);
        let granted = block_on(quick.take(&old)).expect("it is granted");
        assert!(matches!(granted, Taken::Granted(_)));
        let slow = Slow(&store, &clock, Duration::from_millis(wait_ms));
        let session = Session::new(&slow, &clock, &chance, &keys, minute);
        match block_on(session.take(&new)) {
            Ok(Taken::TakenOver(from, _)) => assert!(!is_late && from == old.attachment),
            Err(Failure::BeganLate(from)) => assert!(is_late && from == old.attachment),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_that_answers_slowly_gets_more_time() {
    // The last one: of the time that is left, an attempt takes a third.
    let minute = Duration::from_mins(1);
    for (deadline, answer_ms, expected_ms) in [
        (minute, 100, 1_000),
        (minute, 900, 3_600),
        (minute, 3_000, 8_000),
        (minute / 3, 3_000, 4_000),
    ] {
        let store = MemoryStore::default();
        let clock = Passing(Still::default(), Cell::default());
        let (chance, keys) = (Chance::new(1), Keys::new("/w/"));
        let slow = Slow(&store, &clock, Duration::from_millis(answer_ms));
        let session = Session::new(&slow, &clock, &chance, &keys, deadline);
        let query = Query::Claim(ask("pod").attachment);
        block_on(session.snapshot(&[query])).expect("it is answered");
        let asked = clock.now();
        block_on(session.keep_alive(1)).expect_err("there is no answer");
        let waited = clock.now() - asked;
        assert_eq!(waited, Duration::from_millis(expected_ms));
    }
}
