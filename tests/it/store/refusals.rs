//! The refusals of a healthy etcd, and their words.

use whereabouts_store::{
    At, CommitError, Compare, Order, Outcome, Read, Store, Txn, Unavailable, Write,
};

use super::{put, read, store};
use crate::support::etcd::{Cluster, Setup};
use crate::support::run;

const MEBIBYTE: usize = 1 << 20;

fn put_bytes(key: &str, bytes: usize) -> Txn {
    Txn {
        writes: vec![Write::Put {
            key: key.into(),
            value: vec![0; bytes],
            lease: 0,
        }],
        ..Txn::default()
    }
}

#[test]
fn a_request_larger_than_allowed_is_refused() {
    let cluster = Cluster::start(1);
    run(async {
        let store = store(&cluster.access());
        // etcd's own limit is 1.5 MiB, and 512 KiB more is that of its transport.
        for bytes in [MEBIBYTE * 7 / 4, 3 * MEBIBYTE] {
            let refused = store.commit(&put_bytes("/key", bytes)).await;
            let expected = Err(CommitError::Unavailable(Unavailable::TooLarge));
            assert_eq!(refused, expected, "{bytes} bytes");
        }
        read(&store)
            .await
            .expect("the connection is as good as before");
    });
}

#[test]
fn an_answer_larger_than_a_request_may_be_arrives() {
    let cluster = Cluster::start(1);
    run(async {
        let store = store(&cluster.access());
        for key in ["/0", "/1", "/2", "/3", "/4", "/5"] {
            let outcome = store.commit(&put_bytes(key, MEBIBYTE)).await;
            assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
        }
        let all = Read::Range {
            from: b"/".to_vec(),
            until: b"0".to_vec(),
            order: Order::Key,
            limit: 9,
        };
        let view = store.read(&[all], At::Now).await.expect("it reads");
        assert_eq!(view.answers[0].len(), 6);
    });
}

#[test]
fn a_lower_limit_of_operations_is_told() {
    let cluster = Cluster::with(Setup {
        arguments: &["--max-txn-ops=2"],
        ..Setup::default()
    });
    run(async {
        let store = store(&cluster.access());
        let compares = |count| Txn {
            compares: vec![Compare::Absent(b"/key".to_vec()); count],
            ..Txn::default()
        };
        let outcome = store.commit(&compares(2)).await;
        assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
        let expected = Err(CommitError::Unavailable(Unavailable::TooManyOperations));
        assert_eq!(store.commit(&compares(3)).await, expected);
    });
}

#[test]
fn a_compacted_revision_is_told() {
    let cluster = Cluster::start(1);
    run(async {
        let store = store(&cluster.access());
        let Ok(Outcome::Done(first)) = store.commit(&put()).await else {
            panic!("it is written");
        };
        let Ok(Outcome::Done(second)) = store.commit(&put()).await else {
            panic!("it is written");
        };
        cluster.etcdctl(&["compact", &second.revision.to_string()]);
        let reads = [Read::Key(b"/key".to_vec())];
        let gone = store.read(&reads, At::Revision(first.revision)).await;
        assert_eq!(gone, Err(Unavailable::Compacted));
        let there = store.read(&reads, At::Revision(second.revision)).await;
        there.expect("a compaction keeps its own revision");
    });
}

/// etcd may say so of a transaction that it has just applied.
#[test]
fn a_commit_without_space_is_unknown_and_a_grant_is_refused() {
    let cluster = Cluster::with(Setup {
        arguments: &["--quota-backend-bytes=2000000"],
        ..Setup::default()
    });
    run(async {
        let store = store(&cluster.access());
        // It counts what it has written to its disk, which it does every 100 ms.
        let refused = loop {
            if let Err(error) = store.commit(&put_bytes("/key", MEBIBYTE)).await {
                break error;
            }
        };
        match refused {
            CommitError::Unknown(text) => assert!(text.contains("space"), "{text}"),
            other @ CommitError::Unavailable(_) => panic!("{other:?}"),
        }
        assert_eq!(store.grant(60).await, Err(Unavailable::NoSpace));
        read(&store).await.expect("it can still be read");
    });
}
