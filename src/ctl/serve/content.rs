//! The known content of the store, kept current by its changes. Pure: no I/O, and the time is
//! an argument.
//!
//! A claim is kept as it is stored, and read when it is shown: a million of them fit into memory.

mod by_address;
mod suspects;
mod tallies;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use whereabouts_audit::occupancy::Occupancy;
use whereabouts_core::address::{Address, Bitmap, Interval, Pool};
use whereabouts_core::claim::{Attachment, Claim, Held};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::limits;
use whereabouts_core::network::StatedRange;
use whereabouts_etcd::Change;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::record;
use whereabouts_store::{Entry, Revision};

pub(super) use self::by_address::{AddressInPool, Query};
use self::suspects::Suspects;
pub(super) use self::tallies::{Tallies, Tally};
use super::lines::Lines;
use crate::output::shown::Shown;

/// Bytes that a claim costs besides its key and its value, its places in the maps: measured with a
/// million claims of 263 bytes, which took 524 bytes each.
const CLAIM_BYTES: usize = 261;

/// Everything that is stored.
pub(super) struct Content {
    keys: Keys,
    /// The taken part of each range.
    pub(super) occupancy: Occupancy,
    claims: BTreeMap<Arc<[u8]>, Kept>,
    holders: BTreeMap<Pool, BTreeMap<Address, Arc<[u8]>>>,
    /// The number of claims of each node, network and namespace.
    pub(super) tallies: Tallies,
    /// What tells of claims that are perhaps leaked.
    pub(super) suspects: Suspects,
    owners: BTreeMap<Vec<u8>, OwnerState>,
    /// The statements of networks.
    networks: BTreeMap<Vec<u8>, Vec<StatedRange>>,
    /// The keys of the durable owners at rest, by the addresses that they keep.
    kept: BTreeMap<Pool, BTreeMap<Address, Vec<u8>>>,
    /// The holders of locks, and the tickets.
    pub(super) lines: Lines,
    unreadable: BTreeSet<Vec<u8>>,
    /// Objects of an API server that cannot be used. No entry is made of them.
    pub(super) unusable_objects: usize,
    bytes: usize,
    /// About how many claims there was no room for.
    pub(super) left_out: u64,
}

struct Kept {
    value: Box<[u8]>,
    created: Revision,
    modified: Revision,
}

impl Content {
    /// Nothing, below the prefix of `keys`.
    pub(super) fn nothing(keys: &Keys) -> Self {
        Self {
            keys: keys.clone(),
            occupancy: Occupancy::default(),
            claims: BTreeMap::new(),
            holders: BTreeMap::new(),
            tallies: Tallies::default(),
            suspects: Suspects::default(),
            owners: BTreeMap::new(),
            networks: BTreeMap::new(),
            kept: BTreeMap::new(),
            lines: Lines::default(),
            unreadable: BTreeSet::new(),
            unusable_objects: 0,
            bytes: 0,
            left_out: 0,
        }
    }

    /// Takes in the changes of a watch, which tells them in order. Those of one revision come in
    /// any, and a block that moves is deleted in one place and put in another.
    pub(super) fn apply(&mut self, mut changes: Vec<Change>, now: Instant) {
        changes.sort_by_key(|change| (change.revision, change.now.is_some()));
        for change in changes {
            match change.now {
                Some(entry) => self.enter(&entry, now),
                None => self.remove(&change.key),
            }
        }
    }

    /// Takes an entry in, in place of what was known of its key. A lock that stays its holder's, and a
    /// ticket that is only rewritten, keep their age.
    pub(super) fn enter(&mut self, entry: &Entry, now: Instant) {
        self.unreadable.remove(&entry.key);
        let is_read = match self.keys.decode(&entry.key) {
            Ok(Key::Claim(attachment)) => record::decode_claim(&entry.value)
                .map(|claim| self.enter_claim(entry, &attachment, &claim))
                .is_ok(),
            Ok(Key::Open(slot)) => record::decode_block(&entry.value)
                .map(|bitmap| self.occupancy.enter_block(slot, bitmap))
                .is_ok(),
            Ok(Key::Full(slot)) => record::decode_full(&entry.value)
                .map(|()| {
                    let full = Bitmap::full(slot.block.family());
                    self.occupancy.enter_block(slot, full);
                })
                .is_ok(),
            Ok(Key::Ticket(seat)) => self.lines.enter_ticket(seat, entry, now),
            Ok(Key::Lock(queue)) => self.lines.enter_lock(queue, entry, now),
            Ok(Key::Owner(_)) => record::decode_owner(&entry.value)
                .map(|state| self.enter_owner(&entry.key, state))
                .is_ok(),
            Ok(Key::Network(_)) => {
                self.remove_network(&entry.key);
                record::decode_network(&entry.value)
                    .map(|stated| self.enter_network(&entry.key, stated))
                    .is_ok()
            }
            Ok(Key::OnNode(..)) => record::decode_on_node(&entry.value).is_ok(),
            Ok(Key::Cluster) => record::decode_cluster(&entry.value).is_ok(),
            Err(_) => false,
        };
        if !is_read {
            self.unreadable.insert(entry.key.clone());
        }
    }

    fn remove(&mut self, key: &[u8]) {
        self.unreadable.remove(key);
        match self.keys.decode(key) {
            Ok(Key::Claim(_)) if self.claims.contains_key(key) => self.remove_claim(key),
            Ok(Key::Claim(_)) => self.left_out = self.left_out.saturating_sub(1),
            Ok(Key::Open(slot) | Key::Full(slot)) => self.occupancy.leave_block(&slot),
            Ok(Key::Ticket(seat)) => self.lines.remove_ticket(&seat),
            Ok(Key::Lock(queue)) => self.lines.remove_lock(&queue),
            Ok(Key::Owner(_)) => self.remove_owner(key),
            Ok(Key::Network(_)) => self.remove_network(key),
            Ok(Key::OnNode(..) | Key::Cluster) | Err(_) => {}
        }
    }

    /// Takes over since when each lock and each ticket is seen that was there before.
    pub(super) fn inherit(&mut self, before: &Self) {
        self.lines.inherit(&before.lines);
    }

    fn enter_claim(&mut self, entry: &Entry, attachment: &Attachment, claim: &Claim) {
        self.remove_claim(&entry.key);
        let bytes = CLAIM_BYTES + entry.key.len() + entry.value.len();
        if self.bytes + bytes > limits::PAGE_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += bytes;
        self.occupancy.enter_claim(claim);
        self.tallies.enter(attachment, claim);
        self.suspects.enter(attachment, claim);
        let key: Arc<[u8]> = entry.key.as_slice().into();
        for held in &claim.held {
            let holders = self.holders.entry(held.range.pool.clone()).or_default();
            holders.insert(held.address, key.clone());
        }
        let kept = Kept {
            value: entry.value.as_slice().into(),
            created: entry.created,
            modified: entry.modified,
        };
        self.claims.insert(key, kept);
    }

    fn remove_claim(&mut self, key: &[u8]) {
        let Some(kept) = self.claims.remove(key) else {
            return;
        };
        self.bytes -= CLAIM_BYTES + key.len() + kept.value.len();
        let Ok(Key::Claim(attachment)) = self.keys.decode(key) else {
            unreachable!("it was read when it came");
        };
        let claim = record::decode_claim(&kept.value).expect("it was read when it came");
        self.occupancy.leave_claim(&claim);
        self.tallies.leave(&attachment, &claim);
        self.suspects.leave(&attachment, &claim);
        for held in &claim.held {
            let Some(holders) = self.holders.get_mut(&held.range.pool) else {
                continue;
            };
            if holders
                .get(&held.address)
                .is_some_and(|holder| **holder == *key)
            {
                holders.remove(&held.address);
            }
            if holders.is_empty() {
                self.holders.remove(&held.range.pool);
            }
        }
    }

    fn enter_owner(&mut self, key: &[u8], state: OwnerState) {
        self.remove_owner(key);
        let bytes = CLAIM_BYTES + key.len();
        if self.bytes + bytes > limits::PAGE_BYTES {
            return;
        }
        self.bytes += bytes;
        self.occupancy.enter_owner(&state);
        for held in at_rest(&state) {
            let kept = self.kept.entry(held.range.pool.clone()).or_default();
            kept.insert(held.address, key.to_vec());
        }
        self.owners.insert(key.to_vec(), state);
    }

    fn remove_owner(&mut self, key: &[u8]) {
        if let Some(state) = self.owners.remove(key) {
            self.bytes -= CLAIM_BYTES + key.len();
            self.occupancy.leave_owner(&state);
            for held in at_rest(&state) {
                if let Some(kept) = self.kept.get_mut(&held.range.pool) {
                    kept.remove(&held.address);
                }
            }
            self.kept.retain(|_, kept| !kept.is_empty());
        }
    }

    /// The controller bounds all statements together, so there is room for them.
    fn enter_network(&mut self, key: &[u8], stated: Vec<StatedRange>) {
        self.occupancy.enter_network(&stated);
        self.networks.insert(key.to_vec(), stated);
    }

    fn remove_network(&mut self, key: &[u8]) {
        if let Some(stated) = self.networks.remove(key) {
            self.occupancy.leave_network(&stated);
        }
    }

    /// How many claims are kept.
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    /// How many keys or objects cannot be read.
    pub(super) fn unreadable(&self) -> usize {
        self.unreadable.len() + self.unusable_objects
    }

    /// How many bytes the claims are taken to cost.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The claim at this key.
    pub(super) fn claim(&self, key: &[u8]) -> Option<Shown> {
        let (key, _) = self.claims.get_key_value(key)?;
        self.shown(key)
    }

    /// The reason to suspect that a claim is leaked.
    pub(super) fn suspicion(&self, shown: &Shown) -> Option<&'static str> {
        self.suspects
            .suspicion(&shown.attachment, &shown.claim.value)
    }

    /// The number of addresses that are marked as taken, and that neither a known claim nor a durable owner holds. The
    /// number is not known while claims are left out.
    pub(super) fn marked_alone(&self) -> Option<u64> {
        let held: usize = self.holders.values().map(BTreeMap::len).sum();
        let kept: usize = self.kept.values().map(BTreeMap::len).sum();
        let held = held + kept;
        let unread = self.left_out > 0 || self.unreadable() > 0;
        (!unread).then(|| self.occupancy.marked().saturating_sub(held as u64))
    }

    /// The holder of this address of a pool.
    pub(super) fn holder(&self, pool: &Pool, address: Address) -> Option<Shown> {
        self.shown(self.holders.get(pool)?.get(&address)?)
    }

    /// The durable owner at rest that keeps this address of a pool.
    pub(super) fn keeper(&self, pool: &Pool, address: Address) -> Option<DurableOwner> {
        let key = self.kept.get(pool)?.get(&address)?;
        match self.keys.decode(key) {
            Ok(Key::Owner(owner)) => Some(owner),
            Ok(_) | Err(_) => None,
        }
    }

    /// The holders of the addresses of `interval` in a pool, lowest first.
    pub(super) fn holders(
        &self,
        pool: &Pool,
        interval: Interval,
    ) -> impl Iterator<Item = (Address, Shown)> {
        let holders = self.holders.get(pool).into_iter();
        let inside = holders.flat_map(move |all| all.range(interval.first()..=interval.last()));
        inside.filter_map(|(address, key)| Some((*address, self.shown(key)?)))
    }

    fn shown(&self, key: &Arc<[u8]>) -> Option<Shown> {
        let kept = self.claims.get(key)?;
        let entry = Entry {
            key: key.to_vec(),
            value: kept.value.to_vec(),
            created: kept.created,
            modified: kept.modified,
            lease: 0,
        };
        Shown::of(&self.keys, &entry).ok()
    }
}

/// The addresses that an owner keeps.
fn at_rest(state: &OwnerState) -> &[Held] {
    match state {
        OwnerState::Attached(_) => &[],
        OwnerState::Resting { held, .. } => held,
    }
}
