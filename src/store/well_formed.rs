//! Requests that only a bug can make. Every store asserts before it acts that a request is none of them.
//!
//! Each of these means something else to etcd than it says here: revision or lease 0 is "the key
//! is missing", no upper bound is "this key alone", limit 0 is "all".

use super::{At, Compare, Read, Txn, Write};

/// Panics when a read is not one that means what it says.
pub fn assert_read(reads: &[Read], at: At) {
    assert!(!reads.is_empty(), "a read asks something");
    assert!(
        !matches!(at, At::Revision(..=0)),
        "a revision is positive: {at:?}"
    );
    assert_reads(reads);
}

/// Panics when a transaction is not one that means what it says.
pub fn assert_txn(txn: &Txn) {
    txn.compares.iter().for_each(assert_compare);
    txn.writes.iter().chain(&txn.instead).for_each(assert_write);
    assert_reads(&txn.then);
    assert_reads(&txn.otherwise);
}

/// Panics when there are no keys to watch.
pub fn assert_keys(keys: &[Vec<u8>]) {
    assert!(!keys.is_empty(), "a watch is on some key");
    for key in keys {
        assert_key(key);
    }
}

fn assert_reads(reads: &[Read]) {
    for read in reads {
        match read {
            Read::Key(key) => assert_key(key),
            Read::Range {
                from,
                until,
                order: _,
                limit,
            } => {
                assert_key(from);
                assert_key(until);
                assert!(*limit > 0, "a range is read up to a limit");
            }
        }
    }
}

fn assert_compare(compare: &Compare) {
    match compare {
        Compare::Absent(key) | Compare::Value(key, _) => assert_key(key),
        Compare::NoneIn(from, until) => {
            assert_key(from);
            assert_key(until);
        }
        Compare::Modified(key, revision) | Compare::Created(key, revision) => {
            assert_key(key);
            assert!(*revision > 0, "an existing key has a positive revision");
        }
    }
}

fn assert_write(write: &Write) {
    match write {
        Write::Put { key, .. }
        | Write::Rewrite { key, .. }
        | Write::Touch(key)
        | Write::Delete(key) => assert_key(key),
        Write::Ensure { key, unless, .. } => {
            assert_key(key);
            for other in unless {
                assert_key(other);
            }
        }
        Write::DeleteUnlessNewer {
            key,
            from,
            until,
            revision,
        } => {
            assert_key(key);
            assert_key(from);
            assert_key(until);
            assert!(*revision > 0, "what is newer is newer than something");
        }
    }
}

fn assert_key(key: &[u8]) {
    assert!(!key.is_empty(), "a key has at least one byte");
}
