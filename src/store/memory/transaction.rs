//! The demands of etcd on a transaction, in etcd's order: size, distinct keys, then, of the writes
//! that its compares let through, keys and leases that exist.
//!
//! It decides on a [`State`] and changes nothing. The rules are those of etcd 3.4
//! (`api/v3rpc/key.go`: `checkTxnRequest`, `checkIntervals`; `apply.go`: `checkRequestPut`).

use std::collections::BTreeSet;

use super::model::{State, within};
use crate::{LeaseId, Txn, Unavailable, Write};

/// A key's new value and lease, or `None` for its deletion.
pub(super) type Resolved = (Vec<u8>, Option<(Vec<u8>, LeaseId)>);

/// Refuses a transaction if one of its three lists is longer than `most`. A nested transaction shares that length with the
/// longest list of the outer one.
pub(super) fn check_operations(txn: &Txn, most: usize) -> Result<(), Unavailable> {
    let outer = txn
        .compares
        .len()
        .max(txn.writes.len() + txn.then.len())
        .max(txn.otherwise.len() + txn.instead.len());
    let nested = txn
        .writes
        .iter()
        .chain(&txn.instead)
        .map(own_compares)
        .max();
    if outer + nested.unwrap_or(0) > most {
        return Err(Unavailable::TooManyOperations);
    }
    Ok(())
}

/// The compares that a write has, as a nested transaction.
fn own_compares(write: &Write) -> usize {
    match write {
        Write::Put { .. } | Write::Rewrite { .. } | Write::Touch(_) | Write::Delete(_) => 0,
        Write::Ensure { unless, .. } => 1 + unless.len(),
        Write::DeleteUnlessNewer { .. } => 1,
    }
}

/// Refuses to set a key twice, or to set it and delete it. To delete it twice is to delete it once.
pub(super) fn check_keys_differ(writes: &[Write]) -> Result<(), Unavailable> {
    let mut set = BTreeSet::new();
    let mut deleted = BTreeSet::new();
    for write in writes {
        let fresh = match write {
            Write::Put { key, .. }
            | Write::Rewrite { key, .. }
            | Write::Touch(key)
            | Write::Ensure { key, .. } => set.insert(key),
            Write::Delete(key) | Write::DeleteUnlessNewer { key, .. } => {
                deleted.insert(key);
                true
            }
        };
        if !fresh {
            return Err(twice());
        }
    }
    if set.is_disjoint(&deleted) {
        Ok(())
    } else {
        Err(twice())
    }
}

fn twice() -> Unavailable {
    Unavailable::Refused("duplicate key given in txn request".to_owned())
}

/// The effect of the writes. Each is judged by the state before all of them, so a [`Write::Ensure`] does not see the other
/// writes of its transaction.
pub(super) fn resolve(state: &State, writes: &[Write]) -> Result<Vec<Resolved>, Unavailable> {
    let mut resolved = Vec::with_capacity(writes.len());
    for write in writes {
        resolved.push(match write {
            Write::Put { key, value, lease } => {
                if *lease != 0 && !state.is_granted(*lease) {
                    return Err(Unavailable::LeaseNotFound);
                }
                (key.clone(), Some((value.clone(), *lease)))
            }
            Write::Rewrite { key, value } => {
                let old = state.live.get(key).ok_or(Unavailable::KeyNotFound)?;
                (key.clone(), Some((value.clone(), old.lease)))
            }
            Write::Touch(key) => {
                let old = state.live.get(key).ok_or(Unavailable::KeyNotFound)?;
                (key.clone(), Some((old.value.clone(), old.lease)))
            }
            Write::Delete(key) => (key.clone(), None),
            Write::Ensure { key, unless, value } => {
                let exists = |key: &Vec<u8>| state.live.contains_key(key);
                if exists(key) || unless.iter().any(exists) {
                    continue;
                }
                (key.clone(), Some((value.clone(), 0)))
            }
            Write::DeleteUnlessNewer {
                key,
                from,
                until,
                revision,
            } => {
                if within(&state.live, from, until).any(|entry| entry.modified > *revision) {
                    continue;
                }
                (key.clone(), None)
            }
        });
    }
    Ok(resolved)
}
