//! The first of the looks that found a record without what it is for.

use std::collections::BTreeMap;
use std::time::Duration;

use whereabouts_core::allocator::Revision;

/// Since when records have been without it, by their keys.
#[derive(Debug)]
pub(crate) struct Absences<K>(BTreeMap<K, Absence>);

#[derive(Debug)]
struct Absence {
    revision: Revision,
    since: Duration,
}

impl<K> Default for Absences<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Absences<K> {
    /// Notes an absence that a look found until `now`. Returns its begin: that of `earlier`, unless the record has changed
    /// since.
    pub(crate) fn note(
        &mut self,
        earlier: &Self,
        key: K,
        revision: Revision,
        now: Duration,
    ) -> Duration {
        let known = earlier.0.get(&key);
        let unchanged = known.filter(|absence| absence.revision == revision);
        let since = unchanged.map_or(now, |absence| absence.since);
        self.0.insert(key, Absence { revision, since });
        since
    }
}
