//! etcd as far as the protocol needs it: entries with revisions, and transactions that are applied
//! or refused. Sets of addresses and of ranges are bit sets.

use std::collections::BTreeMap;

/// 0 for what is not there, [`NEWEST`] for what this step writes, else a rank.
pub(crate) type Revision = u8;
const NEWEST: Revision = Revision::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verb {
    Add,
    Del,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Block(u8),
    Claim(u8),
    /// Queue, verb, attachment.
    Ticket(u8, Verb, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    /// Of a block or a claim.
    Addresses(u8),
    /// An ADD in line, and its ranges.
    Take(u8),
    /// A DEL in line, the revision and the addresses of the claim.
    Release(Revision, u8),
    /// A ticket that was answered: the range is full.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) lease: Option<usize>,
    pub(crate) created: Revision,
    pub(crate) modified: Revision,
}

pub(crate) type Leased = (Value, Option<usize>);

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Txn {
    pub(crate) unchanged: Vec<(Key, Revision)>,
    /// Queues that must have no tickets but those it deletes.
    pub(crate) nobody_in: u8,
    /// Values with their leases, or deletions.
    pub(crate) writes: Vec<(Key, Option<Leased>)>,
    /// Who serves which queue with it: looked at only to judge promise 7.
    pub(crate) holder: Option<(usize, u8)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Etcd {
    entries: BTreeMap<Key, Entry>,
    pub(crate) alive: u8,
    /// A batch was applied whose sender did not hold the lock.
    pub(crate) unfenced: bool,
}

pub(crate) fn members(set: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |member| set >> member & 1 == 1)
}

impl Etcd {
    pub(crate) fn get(&self, key: Key) -> Option<Entry> {
        self.entries.get(&key).copied()
    }

    pub(crate) fn modified(&self, key: Key) -> Revision {
        self.get(key).map_or(0, |entry| entry.modified)
    }

    pub(crate) fn addresses(&self, key: Key) -> u8 {
        match self.get(key).map(|entry| entry.value) {
            Some(Value::Addresses(addresses)) => addresses,
            _ => 0,
        }
    }

    /// The tickets of a queue, the oldest first.
    pub(crate) fn queue(&self, queue: u8) -> Vec<(Key, Entry)> {
        let is_in = |key: &Key| matches!(key, Key::Ticket(id, _, _) if *id == queue);
        let tickets = self.entries.iter().filter(|(key, _)| is_in(key));
        let mut tickets: Vec<_> = tickets.map(|(key, entry)| (*key, *entry)).collect();
        tickets.sort_by_key(|(_, entry)| entry.created);
        tickets
    }

    pub(crate) fn is_alive(&self, lease: usize) -> bool {
        self.alive >> lease & 1 == 1
    }

    pub(crate) fn grant(&mut self, lease: usize) {
        self.alive |= 1 << lease;
    }

    pub(crate) fn end_lease(&mut self, lease: usize) {
        self.alive &= !(1 << lease);
        self.entries.retain(|_, entry| entry.lease != Some(lease));
    }

    /// Whether it is refused now and ever after: revisions and leases never come back, blocks are
    /// never deleted.
    pub(crate) fn is_hopeless(&self, txn: &Txn) -> bool {
        let dead = |lease: Option<usize>| lease.is_some_and(|lease| !self.is_alive(lease));
        txn.writes
            .iter()
            .any(|write| write.1.is_some_and(|(_, lease)| dead(lease)))
            || txn.unchanged.iter().any(|&(key, revision)| {
                let comes_back = revision == 0 && !matches!(key, Key::Block(_));
                self.modified(key) != revision && !comes_back
            })
    }

    pub(crate) fn apply(&mut self, txn: &Txn) -> bool {
        let changed = txn
            .unchanged
            .iter()
            .any(|old| self.modified(old.0) != old.1);
        let mut others = members(txn.nobody_in).flat_map(|queue| self.queue(queue));
        if changed
            || others.any(|(key, _)| !txn.writes.contains(&(key, None)))
            || self.is_hopeless(txn)
        {
            return false;
        }
        if let Some((holder, queue)) = txn.holder {
            let oldest = self
                .queue(queue)
                .first()
                .and_then(|(_, ticket)| ticket.lease);
            self.unfenced |= oldest != Some(holder);
        }
        for &(key, value) in &txn.writes {
            let created = self.entries.remove(&key).map_or(NEWEST, |old| old.created);
            if let Some((value, lease)) = value {
                self.entries.insert(
                    key,
                    Entry {
                        value,
                        lease,
                        created,
                        modified: NEWEST,
                    },
                );
            }
        }
        true
    }

    pub(crate) fn revisions(&mut self) -> impl Iterator<Item = &mut Revision> {
        self.entries.values_mut().flat_map(|entry| {
            [&mut entry.created, &mut entry.modified]
                .into_iter()
                .chain(entry.value.revision())
        })
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = u8> {
        self.addresses_of(|key| matches!(key, Key::Claim(_)))
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = u8> {
        self.addresses_of(|key| matches!(key, Key::Block(_)))
    }

    fn addresses_of(&self, wanted: fn(&Key) -> bool) -> impl Iterator<Item = u8> {
        let keys = self.entries.keys().filter(move |key| wanted(key));
        keys.map(|key| self.addresses(*key))
    }
}

impl Txn {
    pub(crate) fn revisions(&mut self) -> impl Iterator<Item = &mut Revision> {
        let written = self
            .writes
            .iter_mut()
            .filter_map(|write| write.1.as_mut()?.0.revision());
        self.unchanged
            .iter_mut()
            .map(|old| &mut old.1)
            .chain(written)
    }
}

impl Value {
    pub(crate) fn revision(&mut self) -> Option<&mut Revision> {
        match self {
            Self::Release(revision, _) => Some(revision),
            Self::Addresses(_) | Self::Take(_) | Self::Refused => None,
        }
    }
}
