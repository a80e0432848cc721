//! The books: what the store holds at each revision, decoded, with what it held before.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Address, Bitmap, BlockKey, Interval, Pool};
use whereabouts_core::claim::{Attachment, Claim, Held, Home, RangeId};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::identity::Identity;
use whereabouts_store::keys::Keys;
use whereabouts_store::{Event, Revision};

use super::change::{Change, LockAt, TicketAt};
use super::since::Since;

/// The states that something had, each from a revision on.
type Past<T> = Vec<(Revision, T)>;

/// The store's content, now and before.
#[derive(Debug)]
pub struct Ledger {
    pub(super) keys: Keys,
    pub(super) revision: Revision,
    pub(super) cluster: Option<Identity>,
    /// Whether there were claims while the store was nobody's.
    pub(super) was_nobodys: bool,
    pub(super) claims: BTreeMap<Attachment, Claim>,
    pub(super) owners: BTreeMap<DurableOwner, OwnerState>,
    /// The homes by which the claim of each attachment is found.
    pub(super) homes: BTreeMap<Attachment, BTreeSet<Home>>,
    pub(super) open: BTreeMap<BlockKey, Bitmap>,
    pub(super) full: BTreeMap<BlockKey, Bitmap>,
    pub(super) queues: BTreeMap<RangeId, Vec<TicketAt>>,
    pub(super) locks: BTreeMap<RangeId, LockAt>,
    /// The addresses of all claims and of all durable owners at rest, as blocks would have them.
    pub(super) held: BTreeMap<BlockKey, Bitmap>,
    /// The states that each durable owner had, by revision.
    pub(super) past_owners: BTreeMap<DurableOwner, Past<Option<OwnerState>>>,
    /// The bitmaps that each block had, by revision.
    pub(super) past: BTreeMap<BlockKey, Past<Bitmap>>,
    /// The addresses of each attachment, by revision.
    pub(super) past_claims: BTreeMap<Attachment, Past<Option<Vec<Held>>>>,
}

impl Ledger {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            revision: 1,
            cluster: None,
            was_nobodys: false,
            claims: BTreeMap::new(),
            owners: BTreeMap::new(),
            homes: BTreeMap::new(),
            open: BTreeMap::new(),
            full: BTreeMap::new(),
            queues: BTreeMap::new(),
            locks: BTreeMap::new(),
            held: BTreeMap::new(),
            past_owners: BTreeMap::new(),
            past: BTreeMap::new(),
            past_claims: BTreeMap::new(),
        }
    }

    /// The last revision that was taken in.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whose the store is.
    pub fn cluster(&self) -> Option<&Identity> {
        self.cluster.as_ref()
    }

    /// Whether there ever were claims while the store was nobody's.
    pub fn was_nobodys(&self) -> bool {
        self.was_nobodys
    }

    /// The claims.
    pub fn claims(&self) -> &BTreeMap<Attachment, Claim> {
        &self.claims
    }

    /// The durable owners.
    pub fn owners(&self) -> &BTreeMap<DurableOwner, OwnerState> {
        &self.owners
    }

    /// The claim of an attachment.
    pub fn claim(&self, attachment: &Attachment) -> Option<&Claim> {
        self.claims.get(attachment)
    }

    /// All tickets.
    pub fn tickets(&self) -> impl Iterator<Item = &TicketAt> {
        self.queues.values().flatten()
    }

    /// All locks that are not free.
    pub fn locks(&self) -> &BTreeMap<RangeId, LockAt> {
        &self.locks
    }

    /// The lock of a queue before `change`.
    pub(super) fn lock_before<'l>(
        &'l self,
        queue: &RangeId,
        change: &'l Change,
    ) -> Option<&'l LockAt> {
        match change.locks_before.get(queue) {
            Some(before) => before.as_ref(),
            None => self.locks.get(queue),
        }
    }

    /// The tickets of a queue, oldest first.
    pub fn queue(&self, queue: &RangeId) -> &[TicketAt] {
        self.queues.get(queue).map_or(&[][..], Vec::as_slice)
    }

    /// Bits set in all blocks.
    pub fn set_bits(&self) -> u32 {
        self.open
            .values()
            .chain(self.full.values())
            .map(Bitmap::count)
            .sum()
    }

    /// The bitmaps under the two keys of a block.
    pub(super) fn block(&self, slot: &BlockKey) -> (Option<&Bitmap>, Option<&Bitmap>) {
        (self.open.get(slot), self.full.get(slot))
    }

    /// The bitmap of a block that the claims imply.
    pub(super) fn held(&self, slot: &BlockKey) -> Bitmap {
        self.held.get(slot).copied().unwrap_or_default()
    }

    /// A block's bitmap at a past revision.
    pub(super) fn bitmap_at(&self, slot: &BlockKey, revision: Revision) -> Bitmap {
        let past = self.past.get(slot).map_or(&[][..], Vec::as_slice);
        let count = past.partition_point(|(at, _)| *at <= revision);
        count
            .checked_sub(1)
            .map_or(Bitmap::EMPTY, |last| past[last].1)
    }

    /// Each list of addresses that an attachment held from `from` through `until`.
    pub(super) fn held_between(
        &self,
        attachment: &Attachment,
        from: Revision,
        until: Revision,
    ) -> impl Iterator<Item = Option<&Vec<Held>>> {
        let past = self
            .past_claims
            .get(attachment)
            .map_or(&[][..], Vec::as_slice);
        let before = past.partition_point(|(at, _)| *at <= from).checked_sub(1);
        let first = before.map_or(Some(None), |index| Some(past[index].1.as_ref()));
        let later = past
            .iter()
            .filter(move |(at, _)| *at > from && *at <= until);
        first
            .into_iter()
            .chain(later.map(|(_, held)| held.as_ref()))
    }

    /// Each state of a durable owner at `from` and since.
    pub(super) fn owner_since(
        &self,
        owner: &DurableOwner,
        from: Revision,
    ) -> impl Iterator<Item = Option<&OwnerState>> {
        let past = self.past_owners.get(owner).map_or(&[][..], Vec::as_slice);
        let before = past
            .partition_point(|(at, _)| *at <= from)
            .saturating_sub(1);
        past[before..].iter().map(|(_, state)| state.as_ref())
    }

    /// Whether an attachment has had a claim at each revision since `from`.
    pub(super) fn holds_since(&self, attachment: &Attachment, from: Revision) -> bool {
        let mut states = self.held_between(attachment, from, self.revision);
        states.all(|held| held.is_some())
    }

    /// The lowest address of `intervals` that was free at `revision`, `taken` and `freed` being
    /// what changed since.
    pub(super) fn lowest_free_at(
        &self,
        pool: &Pool,
        intervals: &[Interval],
        revision: Revision,
        since: &Since,
    ) -> Option<Address> {
        intervals.iter().find_map(|interval| {
            let (mut block, last) = interval.blocks();
            loop {
                let slot = BlockKey {
                    pool: pool.clone(),
                    block,
                };
                let mut bitmap = self.bitmap_at(&slot, revision);
                since.apply(&slot, &mut bitmap);
                let free = block
                    .window(*interval)
                    .and_then(|window| bitmap.lowest_free(window));
                if let Some(bit) = free {
                    return Some(block.address(bit));
                }
                block = block.successor().filter(|next| *next <= last)?;
            }
        })
    }

    /// Takes in the events of one revision.
    pub(super) fn apply(&mut self, events: &[&Event]) -> Result<Change, String> {
        let mut change = Change::default();
        for event in events {
            self.enter(event, &mut change)?;
        }
        for (attachment, claim) in &change.taken {
            self.let_go(&claim.held);
            self.remember_claim(attachment, None);
        }
        for (owner, _, now) in &change.owners {
            let past = self.past_owners.entry(owner.clone()).or_default();
            past.push((self.revision, now.clone()));
        }
        for (_, before, _) in &change.owners {
            if let Some(OwnerState::Resting { held, .. }) = before {
                self.let_go(held);
            }
        }
        for (_, _, now) in &change.owners {
            if let Some(OwnerState::Resting { held, .. }) = now {
                self.hold(held, &mut change.given_twice);
            }
        }
        for (attachment, before, after) in &change.rewritten {
            self.let_go(&before.held);
            self.hold(&after.held, &mut change.given_twice);
            self.remember_claim(attachment, Some(after));
        }
        for (attachment, claim) in &change.given {
            self.hold(&claim.held, &mut change.given_twice);
            self.remember_claim(attachment, Some(claim));
        }
        for slot in &change.slots {
            let now = self.open.get(slot).or_else(|| self.full.get(slot)).copied();
            let past = self.past.entry(slot.clone()).or_default();
            past.push((self.revision, now.unwrap_or_default()));
        }
        change.left.sort_by_key(|ticket| ticket.created);
        self.was_nobodys |= self.cluster.is_none() && !change.given.is_empty();
        Ok(change)
    }

    fn hold(&mut self, held: &[Held], given_twice: &mut Vec<(Pool, Address)>) {
        for held in held {
            let bitmap = self.held.entry(held.slot()).or_default();
            if bitmap.is_set(held.address.bit()) {
                given_twice.push((held.range.pool.clone(), held.address));
            }
            bitmap.set(held.address.bit());
        }
    }

    fn let_go(&mut self, held: &[Held]) {
        for held in held {
            self.held
                .entry(held.slot())
                .or_default()
                .clear(held.address.bit());
        }
    }

    fn remember_claim(&mut self, attachment: &Attachment, claim: Option<&Claim>) {
        let held = claim.map(|claim| claim.held.clone());
        self.past_claims
            .entry(attachment.clone())
            .or_default()
            .push((self.revision, held));
    }
}
