//! One suite for every store: what [`Store`]'s documentation says, as named cases.
//!
//! It runs on any executor and needs no time. A store that passes is one that the code above
//! cannot tell from etcd. The suite does not know the meaning of keys and values. It cannot ask for a compaction or wait for
//! the end of a lease, since the trait cannot.

mod commits;
mod compares;
mod leases;
mod reads;
mod watches;

use super::{
    At, CommitError, Entry, LeaseId, Order, Outcome, Read, Revision, Store, Txn, Unavailable, View,
    Write,
};

/// Runs each case on a scene of its own: a part of the store that no other case uses.
macro_rules! run {
    ($store:expr, $prefix:expr, $($module:ident: $($case:ident)*;)*) => {
        $($($module::$case(&Scene {
            store: $store,
            prefix: format!("{}{}/", $prefix, stringify!($case)),
        })
        .await;)*)*
    };
}

/// Runs all cases on keys below `prefix`, where nothing may be yet, and panics at the first that
/// fails. Nobody else may write to the store meanwhile.
pub async fn all<S: Store>(store: &S, prefix: &str) {
    entries(store, prefix).await;
    run! { store, prefix,
        reads:
            an_entry_has_value_revisions_and_lease
            a_read_at_a_revision_tells_the_past
            a_revision_in_the_future_is_refused
            more_questions_than_allowed_are_refused;
        commits:
            a_key_set_twice_refuses_the_commit
            more_operations_than_allowed_refuse_the_commit;
        leases:
            a_lease_lives_at_least_as_long_as_asked
            the_end_of_a_lease_deletes_its_keys_at_once
            the_end_of_a_lease_without_keys_takes_no_revision
            a_lease_that_ended_is_not_found
            a_lease_that_ended_refuses_the_commit
            a_put_moves_a_key_to_another_lease
            a_put_without_a_lease_frees_the_key
            a_touch_and_a_rewrite_keep_the_lease;
        watches:
            a_watch_tells_what_happens_from_now_on
            a_watch_tells_of_several_keys_in_order
            a_watch_tells_nothing_of_other_keys
            a_watch_tells_of_the_end_of_a_lease
            a_watch_that_was_not_awaited_loses_nothing;
    }
}

/// Runs the cases of a store that has entries and transactions, and neither a past nor leases, watches and limits.
pub async fn entries<S: Store>(store: &S, prefix: &str) {
    run! { store, prefix,
        reads:
            a_missing_key_is_no_entry
            questions_are_answered_in_order
            a_range_has_its_first_key_and_not_its_last
            a_range_in_the_wrong_order_is_empty
            a_limit_takes_the_first_in_the_order_asked_for
            a_read_of_any_moment_is_answered
            a_read_takes_no_revision;
        compares:
            absent_is_a_key_that_does_not_exist
            none_in_is_a_range_without_keys
            modified_is_the_last_write
            created_is_the_last_creation
            value_is_the_last_one
            one_compare_that_fails_refuses_all_writes;
        commits:
            a_transaction_is_one_revision
            a_commit_that_changes_nothing_takes_no_revision
            a_put_keeps_the_creation_and_a_deletion_ends_it
            reads_of_a_commit_see_its_writes
            reads_of_a_refused_commit_are_fresh
            a_refused_commit_writes_something_else
            a_commit_that_is_not_refused_writes_nothing_else
            a_key_is_deleted_unless_there_is_something_newer
            a_touch_changes_the_modification_alone
            a_rewrite_changes_the_value_alone
            a_missing_key_to_touch_or_rewrite_refuses_the_commit
            writes_behind_a_failed_compare_are_not_judged
            ensure_puts_a_key_when_there_is_neither
            ensure_has_any_number_of_other_keys
            ensure_sees_nothing_of_its_own_transaction
            a_key_deleted_twice_is_deleted;
    }
}

/// A part of a store that is a case's own, and what a case does there.
struct Scene<'a, S> {
    store: &'a S,
    prefix: String,
}

impl<S: Store> Scene<'_, S> {
    fn key(&self, name: &str) -> Vec<u8> {
        format!("{}{name}", self.prefix).into_bytes()
    }

    fn range(&self, from: &str, until: &str, order: Order, limit: u32) -> Read {
        Read::Range {
            from: self.key(from),
            until: self.key(until),
            order,
            limit,
        }
    }

    fn write(&self, name: &str, value: &str) -> Write {
        self.write_leased(name, value, 0)
    }

    fn write_leased(&self, name: &str, value: &str, lease: LeaseId) -> Write {
        Write::Put {
            key: self.key(name),
            value: value.as_bytes().to_vec(),
            lease,
        }
    }

    async fn read(&self, reads: &[Read]) -> View {
        self.store
            .read(reads, At::Now)
            .await
            .expect("the read succeeds")
    }

    async fn revision(&self) -> Revision {
        self.read(&[Read::Key(self.key("any"))]).await.revision
    }

    async fn get(&self, name: &str) -> Option<Entry> {
        let view = self.read(&[Read::Key(self.key(name))]).await;
        let [answer] = view.answers.try_into().expect("one question, one answer");
        assert!(answer.len() <= 1, "a key has one entry: {answer:?}");
        answer.into_iter().next()
    }

    async fn exists(&self, name: &str) -> bool {
        self.get(name).await.is_some()
    }

    /// Commits what must be done.
    async fn done(&self, txn: Txn) -> View {
        match self.store.commit(&txn).await {
            Ok(Outcome::Done(view)) => view,
            other => panic!("{txn:?} is {other:?}"),
        }
    }

    /// Commits what must meet a conflict.
    async fn conflict(&self, txn: Txn) -> View {
        match self.store.commit(&txn).await {
            Ok(Outcome::Conflict(view)) => view,
            other => panic!("{txn:?} is {other:?}"),
        }
    }

    /// Commits what must be refused without a change.
    async fn refused(&self, txn: Txn) -> Unavailable {
        let before = self.revision().await;
        match self.store.commit(&txn).await {
            Err(CommitError::Unavailable(why)) => {
                assert_eq!(self.revision().await, before, "{txn:?} was refused");
                why
            }
            other => panic!("{txn:?} is {other:?}"),
        }
    }

    async fn put(&self, name: &str, value: &str) -> Revision {
        self.writes([self.write(name, value)]).await
    }

    async fn delete(&self, name: &str) -> Revision {
        self.writes([Write::Delete(self.key(name))]).await
    }

    async fn writes(&self, writes: impl Into<Vec<Write>>) -> Revision {
        self.done(writing(writes)).await.revision
    }

    async fn lease(&self) -> LeaseId {
        let lease = self.store.grant(60).await.expect("a lease is granted");
        lease.id
    }

    async fn revoke(&self, lease: LeaseId) {
        self.store
            .revoke(lease)
            .await
            .expect("the lease is revoked");
    }
}

/// A transaction that only writes.
fn writing(writes: impl Into<Vec<Write>>) -> Txn {
    Txn {
        writes: writes.into(),
        ..Txn::default()
    }
}

/// The names of entries below a prefix, for comparison.
fn names<S>(scene: &Scene<'_, S>, entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| {
            let key = entry.key.strip_prefix(scene.prefix.as_bytes());
            String::from_utf8_lossy(key.expect("the key is the scene's")).into_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use crate::memory::MemoryStore;

    #[test]
    fn the_store_in_memory_conforms() {
        block_on(super::all(&MemoryStore::default(), "/"));
    }
}
