//! Keys and values that nobody stores: a reader's view of objects.

use std::collections::BTreeMap;

use whereabouts_etcd::Change;
use whereabouts_store::{Entry, Order, Read, Revision};

/// Values and their revisions, in the order of keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries(BTreeMap<Vec<u8>, (Vec<u8>, Revision)>);

impl FromIterator<(Vec<u8>, (Vec<u8>, Revision))> for Entries {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, (Vec<u8>, Revision))>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Entries {
    /// Shows `take` all entries, in the order of keys.
    pub(crate) fn each(&self, take: impl FnMut(Entry)) {
        self.0.iter().map(entry).for_each(take);
    }

    /// The difference to earlier entries. One that is gone went at the revision `now`, as far as anybody knows.
    pub(crate) fn changes_since(&self, before: &Self, now: Revision) -> Vec<Change> {
        let is_new = |(key, stored): &(&Vec<u8>, _)| before.0.get(*key) != Some(*stored);
        let written = self.0.iter().filter(is_new).map(entry);
        let written = written.map(|entry| Change {
            key: entry.key.clone(),
            revision: entry.modified,
            before: None,
            now: Some(entry),
        });
        let is_gone = |key: &&Vec<u8>| !self.0.contains_key(*key);
        let gone = before.0.keys().filter(is_gone);
        let gone = gone.map(|key| Change {
            key: key.clone(),
            revision: now,
            before: None,
            now: None,
        });
        written.chain(gone).collect()
    }

    /// The answer to `read`.
    pub(super) fn answer(&self, read: &Read) -> Vec<Entry> {
        match read {
            Read::Key(key) => {
                let found = self.0.get_key_value(key);
                found.map(entry).into_iter().collect()
            }
            Read::Range {
                from,
                until,
                order,
                limit,
            } if from < until => {
                let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
                let range = self.0.range(from.clone()..until.clone()).map(entry);
                match order {
                    Order::Key => range.take(limit).collect(),
                    Order::Created => {
                        let mut found: Vec<Entry> = range.collect();
                        found.sort_by_key(|entry| entry.created);
                        found.truncate(limit);
                        found
                    }
                }
            }
            Read::Range { .. } => Vec::new(),
        }
    }
}

/// An API server tells the version of an object, and not the one at which it came into being.
fn entry((key, (value, revision)): (&Vec<u8>, &(Vec<u8>, Revision))) -> Entry {
    Entry {
        key: key.clone(),
        value: value.clone(),
        created: *revision,
        modified: *revision,
        lease: 0,
    }
}
