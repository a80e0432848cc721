//! The state of one etcd cluster, as far as [`Store`](crate::Store) reaches, changed by one
//! request at a time.
//!
//! Synchronous and without a clock: time passes when [`State::advance`] says so. Leases whose time is up end when
//! [`State::expire`] is called, however late, as in etcd. The model knows no faults, no watchers and no limits in bytes.
//! The conformance suite and a differential test check it against etcd 3.4.23.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use super::transaction;
use crate::{
    At, Compare, Entry, Event, Lease, LeaseId, Order, Outcome, Read, Revision, Txn, Unavailable,
    View, well_formed,
};
use whereabouts_core::limits;

/// The decisions of an administrator for a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The cluster's id.
    pub cluster: u64,
    /// `--max-txn-ops`.
    pub operations: usize,
    /// The least time to live of a lease, in seconds: one and a half election timeouts, rounded
    /// up.
    pub least_ttl_s: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster: 1,
            operations: limits::TRANSACTION_OPERATIONS,
            least_ttl_s: 2,
        }
    }
}

/// A cluster's keys, their past since the last compaction, and its leases.
#[derive(Clone, Debug)]
pub struct State {
    options: Options,
    revision: Revision,
    compacted: Revision,
    pub(super) live: BTreeMap<Vec<u8>, Entry>,
    /// All that happened since the compaction, in order.
    log: Vec<Change>,
    now: Duration,
    leases: BTreeMap<LeaseId, Held>,
    last_lease: LeaseId,
}

/// One key's part in a revision.
#[derive(Clone, Debug)]
struct Change {
    event: Event,
    before: Option<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    ttl: Duration,
    ends: Duration,
}

impl Default for State {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl State {
    /// A new cluster; like etcd's, its revision is 1.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            revision: 1,
            compacted: 0,
            live: BTreeMap::new(),
            log: Vec::new(),
            now: Duration::ZERO,
            leases: BTreeMap::new(),
            // Far from any revision, so that one cannot pass for the other.
            last_lease: 0x1ea5_e000_0000,
        }
    }

    /// The revision of the last transaction that wrote.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// All keys, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.live.values()
    }

    /// The leases that have not ended.
    pub fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.leases.keys().copied()
    }

    /// [`Store::read`](crate::Store::read).
    pub fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        well_formed::assert_read(reads, at);
        if reads.len() > self.options.operations {
            return Err(Unavailable::TooManyOperations);
        }
        match at {
            At::Now | At::Whenever => Ok(self.view(reads)),
            At::Revision(revision) if revision > self.revision => Err(Unavailable::Refused(
                format!("revision {revision} is in the future"),
            )),
            At::Revision(revision) if revision < self.compacted => Err(Unavailable::Compacted),
            At::Revision(revision) => {
                let past = |read| answer(read, &self.past(read, revision));
                Ok(self.view_of(reads.iter().map(past).collect()))
            }
        }
    }

    /// [`Store::commit`](crate::Store::commit): every error says that nothing was written.
    pub fn commit(&mut self, txn: &Txn) -> Result<Outcome, Unavailable> {
        well_formed::assert_txn(txn);
        transaction::check_operations(txn, self.options.operations)?;
        transaction::check_keys_differ(&txn.writes)?;
        transaction::check_keys_differ(&txn.instead)?;
        if !txn.compares.iter().all(|compare| self.holds(compare)) {
            let mut view = self.view(&txn.otherwise);
            let instead = transaction::resolve(self, &txn.instead)?;
            self.write(instead);
            view.revision = self.revision;
            return Ok(Outcome::Conflict(view));
        }
        let writes = transaction::resolve(self, &txn.writes)?;
        self.write(writes);
        Ok(Outcome::Done(self.view(&txn.then)))
    }

    /// [`Store::grant`](crate::Store::grant).
    pub fn grant(&mut self, ttl_s: i64) -> Lease {
        let granted_s = ttl_s.max(self.options.least_ttl_s);
        let ttl = Duration::from_secs(u64::try_from(granted_s).expect("the least is positive"));
        self.last_lease += 1;
        let held = Held {
            ttl,
            ends: self.now + ttl,
        };
        self.leases.insert(self.last_lease, held);
        Lease {
            id: self.last_lease,
            ttl,
        }
    }

    /// [`Store::keep_alive`](crate::Store::keep_alive): like etcd's, it does not save a
    /// lease whose time is up.
    pub fn keep_alive(&mut self, lease: LeaseId) -> Result<(), Unavailable> {
        match self.leases.get_mut(&lease) {
            Some(held) if held.ends > self.now => {
                held.ends = self.now + held.ttl;
                Ok(())
            }
            Some(_) | None => Err(Unavailable::LeaseNotFound),
        }
    }

    /// [`Store::revoke`](crate::Store::revoke): all its keys go in one revision.
    pub fn revoke(&mut self, lease: LeaseId) -> Result<(), Unavailable> {
        self.leases
            .remove(&lease)
            .ok_or(Unavailable::LeaseNotFound)?;
        let keys = self.entries().filter(|entry| entry.lease == lease);
        let deletions = keys.map(|entry| (entry.key.clone(), None)).collect();
        self.write(deletions);
        Ok(())
    }

    /// Whether a key may be bound to `lease`.
    pub(super) fn is_granted(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease)
    }

    /// Lets time pass. No lease ends by it alone.
    pub fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    /// Lets every lease live for its whole time again. A new leader does so, because it does not know the ages of leases.
    pub fn extend_leases(&mut self) {
        for held in self.leases.values_mut() {
            held.ends = self.now + held.ttl;
        }
    }

    /// Ends the leases whose time is up, each in a revision of its own, and tells which.
    pub fn expire(&mut self) -> Vec<LeaseId> {
        let up = self.leases.iter().filter(|(_, held)| held.ends <= self.now);
        let ended: Vec<LeaseId> = up.map(|(lease, _)| *lease).collect();
        for lease in &ended {
            self.revoke(*lease).expect("it was just found");
        }
        ended
    }

    /// Forgets what was before `revision`.
    pub fn compact(&mut self, revision: Revision) -> Result<(), Unavailable> {
        if revision > self.revision {
            let text = format!("revision {revision} is in the future");
            return Err(Unavailable::Refused(text));
        }
        if revision <= self.compacted {
            return Err(Unavailable::Compacted);
        }
        self.compacted = revision;
        self.log.retain(|change| change.event.revision() > revision);
        Ok(())
    }

    /// Everything that happened after `revision` and is not compacted, in order.
    pub fn changes(&self, revision: Revision) -> impl Iterator<Item = &Event> {
        self.changes_after(revision)
            .iter()
            .map(|change| &change.event)
    }

    /// The events on `keys` after `revision`, in order.
    pub fn events_after(
        &self,
        revision: Revision,
        keys: &BTreeSet<Vec<u8>>,
    ) -> Result<Vec<Event>, Unavailable> {
        if revision < self.compacted {
            return Err(Unavailable::Compacted);
        }
        let events = self.changes_after(revision).iter();
        let events = events.map(|change| &change.event);
        Ok(events
            .filter(|event| keys.contains(event.key()))
            .cloned()
            .collect())
    }

    /// Applies writes (a new value and lease, or a deletion) in one revision, if any changes
    /// anything.
    fn write(&mut self, writes: Vec<transaction::Resolved>) {
        let revision = self.revision + 1;
        for (key, new) in writes {
            let before = self.live.remove(&key);
            let event = match new {
                None if before.is_none() => continue,
                None => Event::Deleted { key, revision },
                Some((value, lease)) => {
                    let entry = Entry {
                        key,
                        value,
                        created: before.as_ref().map_or(revision, |old| old.created),
                        modified: revision,
                        lease,
                    };
                    self.live.insert(entry.key.clone(), entry.clone());
                    Event::Put(entry)
                }
            };
            self.log.push(Change { event, before });
            self.revision = revision;
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = |key: &Vec<u8>| self.live.get(key);
        match compare {
            Compare::Absent(key) => entry(key).is_none(),
            Compare::NoneIn(from, until) => within(&self.live, from, until).next().is_none(),
            Compare::Modified(key, revision) => entry(key).is_some_and(|e| e.modified == *revision),
            Compare::Created(key, revision) => entry(key).is_some_and(|e| e.created == *revision),
            Compare::Value(key, value) => entry(key).is_some_and(|e| e.value == *value),
        }
    }

    fn view(&self, reads: &[Read]) -> View {
        self.view_of(reads.iter().map(|read| answer(read, &self.live)).collect())
    }

    fn view_of(&self, answers: Vec<Vec<Entry>>) -> View {
        View {
            revision: self.revision,
            cluster: self.options.cluster,
            answers,
        }
    }

    /// The keys of one question as they were at `revision`: those of now, with all later changes undone.
    fn past(&self, read: &Read, revision: Revision) -> BTreeMap<Vec<u8>, Entry> {
        let (from, until) = match read {
            Read::Key(key) => (key.clone(), [key.as_slice(), &[0]].concat()),
            Read::Range { from, until, .. } => (from.clone(), until.clone()),
        };
        let now = within(&self.live, &from, &until);
        let mut keys: BTreeMap<Vec<u8>, Entry> = now
            .map(|entry| (entry.key.clone(), entry.clone()))
            .collect();
        for change in self.changes_after(revision).iter().rev() {
            let key = change.event.key();
            match &change.before {
                _ if key < from.as_slice() || key >= until.as_slice() => None,
                Some(entry) => keys.insert(entry.key.clone(), entry.clone()),
                None => keys.remove(key),
            };
        }
        keys
    }

    fn changes_after(&self, revision: Revision) -> &[Change] {
        let start = self
            .log
            .partition_point(|change| change.event.revision() <= revision);
        &self.log[start..]
    }
}

fn answer(read: &Read, keys: &BTreeMap<Vec<u8>, Entry>) -> Vec<Entry> {
    match read {
        Read::Key(key) => keys.get(key).cloned().into_iter().collect(),
        Read::Range {
            from,
            until,
            order,
            limit,
        } => {
            let limit = usize::try_from(*limit).expect("usize has 32 bits or more");
            let found = within(keys, from, until);
            match order {
                Order::Key => found.take(limit).cloned().collect(),
                Order::Created => {
                    let mut found: Vec<&Entry> = found.collect();
                    found.sort_by_key(|entry| entry.created);
                    found.into_iter().take(limit).cloned().collect()
                }
            }
        }
    }
}

/// The entries from `from` until `until`: none, as in etcd, when these are in the wrong order.
pub(super) fn within<'a>(
    keys: &'a BTreeMap<Vec<u8>, Entry>,
    from: &[u8],
    until: &'a [u8],
) -> impl Iterator<Item = &'a Entry> {
    keys.range::<[u8], _>((Bound::Included(from), Bound::Unbounded))
        .take_while(move |(key, _)| key.as_slice() < until)
        .map(|(_, entry)| entry)
}
