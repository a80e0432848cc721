//! The translation between the store's trait and etcd's messages (`rpc.proto`).

use std::iter;
use std::slice::SliceIndex;

use etcd_client::{
    Compare as WireCompare, CompareOp, GetOptions, KeyValue, PutOptions, SortOrder, SortTarget,
    Txn as WireTxn, TxnOp, TxnOpResponse, TxnResponse,
};

use super::failure::Failure;
use whereabouts_store::{At, Compare, Entry, Order, Outcome, Read, Txn, View, Write};

/// A transaction that only reads. etcd answers it without a commit, from one snapshot.
pub(super) fn question(reads: &[Read], at: At) -> WireTxn {
    WireTxn::new().and_then(get_all(reads, at))
}

/// The transaction of `txn`.
pub(super) fn transaction(txn: &Txn) -> WireTxn {
    let compares: Vec<_> = txn.compares.iter().map(compare).collect();
    let mut operations: Vec<_> = txn.writes.iter().map(operation).collect();
    operations.extend(get_all(&txn.then, At::Now));
    let mut otherwise = get_all(&txn.otherwise, At::Now);
    otherwise.extend(txn.instead.iter().map(operation));
    WireTxn::new()
        .when(compares)
        .and_then(operations)
        .or_else(otherwise)
}

/// The outcome of `txn`.
pub(super) fn outcome(answer: &TxnResponse, txn: &Txn) -> Result<Outcome, Failure> {
    if answer.succeeded() {
        view(answer, txn.writes.len()..).map(Outcome::Done)
    } else {
        view(answer, ..txn.otherwise.len()).map(Outcome::Conflict)
    }
}

/// The answers of the reads of a transaction.
pub(super) fn view(
    answer: &TxnResponse,
    reads: impl SliceIndex<[TxnOpResponse], Output = [TxnOpResponse]>,
) -> Result<View, Failure> {
    let unclear = || Failure::Lost("an answer that does not fit its question".to_owned());
    let header = answer.header().ok_or_else(unclear)?;
    let responses = answer.op_responses();
    let reads = responses.get(reads).ok_or_else(unclear)?;
    let answers = reads.iter().map(|response| match response {
        TxnOpResponse::Get(found) => Ok(found.kvs().iter().map(entry).collect()),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => Err(unclear()),
    });
    Ok(View {
        revision: header.revision(),
        cluster: header.cluster_id(),
        answers: answers.collect::<Result<_, _>>()?,
    })
}

/// An entry: a key and everything that etcd knows of it.
pub(super) fn entry(found: &KeyValue) -> Entry {
    Entry {
        key: found.key().to_vec(),
        value: found.value().to_vec(),
        created: found.create_revision(),
        modified: found.mod_revision(),
        lease: found.lease(),
    }
}

fn get_all(reads: &[Read], at: At) -> Vec<TxnOp> {
    reads.iter().map(|read| get(read, at)).collect()
}

fn get(read: &Read, at: At) -> TxnOp {
    let options = match at {
        At::Now => GetOptions::new(),
        At::Revision(revision) => GetOptions::new().with_revision(revision),
        At::Whenever => GetOptions::new().with_serializable(),
    };
    match read {
        Read::Key(key) => TxnOp::get(key.clone(), Some(options)),
        Read::Range {
            from,
            until,
            order,
            limit,
        } => {
            let options = options
                .with_range(until.clone())
                .with_limit(i64::from(*limit));
            let options = match order {
                Order::Key => options,
                Order::Created => options.with_sort(SortTarget::Create, SortOrder::Ascend),
            };
            TxnOp::get(from.clone(), Some(options))
        }
    }
}

fn compare(compare: &Compare) -> WireCompare {
    match compare {
        Compare::Absent(key) => absent(key),
        Compare::NoneIn(from, until) => absent(from).with_range(until.clone()),
        Compare::Modified(key, revision) => {
            WireCompare::mod_revision(key.clone(), CompareOp::Equal, *revision)
        }
        Compare::Created(key, revision) => {
            WireCompare::create_revision(key.clone(), CompareOp::Equal, *revision)
        }
        Compare::Value(key, value) => {
            WireCompare::value(key.clone(), CompareOp::Equal, value.clone())
        }
    }
}

/// A missing key has create revision 0. A range has create revision 0 if it has no key.
fn absent(key: &[u8]) -> WireCompare {
    WireCompare::create_revision(key, CompareOp::Equal, 0)
}

fn operation(write: &Write) -> TxnOp {
    match write {
        Write::Put { key, value, lease } => {
            let options = PutOptions::new().with_lease(*lease);
            TxnOp::put(key.clone(), value.clone(), Some(options))
        }
        Write::Rewrite { key, value } => {
            let options = PutOptions::new().with_ignore_lease();
            TxnOp::put(key.clone(), value.clone(), Some(options))
        }
        Write::Touch(key) => {
            let options = PutOptions::new().with_ignore_value().with_ignore_lease();
            TxnOp::put(key.clone(), [], Some(options))
        }
        Write::Delete(key) => TxnOp::delete(key.clone(), None),
        Write::Ensure { key, unless, value } => TxnOp::txn(
            WireTxn::new()
                .when(
                    iter::once(key)
                        .chain(unless)
                        .map(|key| absent(key))
                        .collect::<Vec<_>>(),
                )
                .and_then([TxnOp::put(key.clone(), value.clone(), None)]),
        ),
        Write::DeleteUnlessNewer {
            key,
            from,
            until,
            revision,
        } => TxnOp::txn(
            WireTxn::new()
                .when([
                    WireCompare::mod_revision(from.clone(), CompareOp::Less, *revision + 1)
                        .with_range(until.clone()),
                ])
                .and_then([TxnOp::delete(key.clone(), None)]),
        ),
    }
}
