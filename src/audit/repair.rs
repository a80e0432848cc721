//! What can be done about the findings of an audit. Pure: it writes nothing.
//!
//! Claims are what counts; blocks are made to agree with them. Where it cannot be told what is right, nothing is
//! repaired. A value of another version stays. An address that is held twice is for a person to decide. While a
//! claim cannot be read, no address becomes free. A person can name a value as damaged: a block is then rebuilt
//! whatever version it has, and a claim is removed.

use std::collections::BTreeSet;
use std::fmt;

use crate::invariants::{Auditor, Block, Damaged, Finding, Holder};
use whereabouts_core::address::{Bitmap, Slot};
use whereabouts_core::limits;
use whereabouts_store::Revision;
use whereabouts_store::draft::Draft;
use whereabouts_store::keys::Key;
use whereabouts_store::record;

/// One repair, in one transaction, which is refused if what it rests on has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A block is made to agree with the claims.
    Block(BlockRepair),
    /// A claim that cannot be read is removed: what it holds becomes free.
    Claim(Removal),
}

/// How a block is made to agree with the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRepair {
    slot: Slot,
    was: Block,
    /// The values that cannot be read, in the place of which it is built anew from the claims.
    damage: Vec<Damaged>,
    now: Bitmap,
    /// The claims whose addresses are marked by it.
    holders: Vec<Holder>,
}

/// A claim that a person has named as damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    name: String,
    claim: Damaged,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(repair) => repair.fmt(f),
            Self::Claim(Removal { name, claim }) => write!(
                f,
                "remove claim {name} of revision {}, whose value is \"{}\": what it holds becomes free",
                claim.modified, claim.value
            ),
        }
    }
}

impl fmt::Display for BlockRepair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.was.marks(self.slot.block.family());
        let count = |one: Bitmap, other: Bitmap| {
            let bits = one.bits().filter(|bit| !other.is_set(*bit));
            bits.count()
        };
        let place = if self.is_full() { "full" } else { "open" };
        let slot = &self.slot;
        if let Some(damaged) = self.damage.first() {
            return write!(
                f,
                "rebuild block {slot} as {place} from its claims, in place of \"{}\": {} marked as taken",
                damaged.value,
                self.now.count()
            );
        }
        let (taken, freed) = (count(self.now, before), count(before, self.now));
        write!(
            f,
            "write block {slot} as {place}: {taken} more marked as taken, {freed} freed"
        )
    }
}

/// The repairs for the `findings` of `auditor`. The values at the keys `named` are damaged, as a
/// person says.
pub fn plan(auditor: &Auditor, findings: &[Finding], named: &BTreeSet<String>) -> Vec<Repair> {
    let mut slots: BTreeSet<Slot> = auditor.damaged_blocks().cloned().collect();
    for finding in findings {
        match finding {
            Finding::Unreadable { .. } | Finding::HeldTwice { .. } | Finding::Impossible { .. } => {
            }
            Finding::NotMarked { pool, address, .. } | Finding::NotHeld { pool, address } => {
                slots.insert(Slot::of(pool, *address));
            }
            Finding::OpenAndFull(slot) | Finding::NoFreeBit(slot) => {
                slots.insert(slot.clone());
            }
            Finding::NoSuccessor(slot) => slots.extend(slot.successor()),
        }
    }
    let removals = named.iter().filter_map(|name| Removal::of(auditor, name));
    let blocks = slots
        .into_iter()
        .filter_map(|slot| BlockRepair::of(auditor, slot, named));
    removals
        .map(Repair::Claim)
        .chain(blocks.map(Repair::Block))
        .collect()
}

impl Repair {
    /// Whether nothing that cannot be read is lost by it.
    pub fn keeps_everything(&self) -> bool {
        match self {
            Self::Block(repair) => repair.damage.is_empty(),
            Self::Claim(_) => false,
        }
    }

    /// Adds conditions and writes to a transaction.
    pub(crate) fn write(&self, draft: &mut Draft<'_>) {
        match self {
            Self::Block(repair) => repair.write(draft),
            Self::Claim(Removal { claim, .. }) => {
                draft
                    .modified(&claim.key, claim.modified)
                    .delete(&claim.key);
            }
        }
    }
}

impl Removal {
    /// `None` when `name` is no claim that cannot be read.
    fn of(auditor: &Auditor, name: &str) -> Option<Self> {
        let claim = auditor.damaged(name)?;
        matches!(claim.key, Key::Claim(_)).then(|| Self {
            name: name.to_owned(),
            claim: claim.clone(),
        })
    }
}

impl BlockRepair {
    /// `None` when the block is to be left as it is.
    fn of(auditor: &Auditor, slot: Slot, named: &BTreeSet<String>) -> Option<Self> {
        let damage = auditor.damage(&slot);
        let is_kept = |(key, damaged): (&&str, &&Damaged)| {
            damaged.may_be_of_other_version && !named.contains(*key)
        };
        // The claims that can be read do not tell the addresses of one that cannot.
        let is_unknown = !damage.is_empty() && auditor.has_unreadable_claim();
        if is_unknown || damage.iter().any(is_kept) {
            return None;
        }
        let was = auditor.block(&slot);
        let before = was.marks(slot.block.family());
        let mut now = if auditor.has_unreadable_claim() {
            before
        } else {
            Bitmap::EMPTY
        };
        let mut holders = Vec::new();
        for (address, holder) in auditor.holders(&slot) {
            // A block that cannot be read nobody else writes: its revision stands for all of its claims.
            let is_new = damage.is_empty() && !before.is_set(address.bit());
            if address.ends_in_zero() || is_new && holders.len() >= limits::CLAIMS_PER_REPAIR {
                continue;
            }
            now.set(address.bit());
            if is_new {
                holders.push(holder.clone());
            }
        }
        let repair = Self {
            slot,
            was,
            damage: damage.into_values().cloned().collect(),
            now,
            holders,
        };
        (!repair.changes_nothing()).then_some(repair)
    }

    fn is_full(&self) -> bool {
        self.now.is_full(self.slot.block.family())
    }

    fn changes_nothing(&self) -> bool {
        let open = self.was.open.map(|(bitmap, _)| bitmap);
        match (open, self.was.full) {
            _ if !self.damage.is_empty() => false,
            (Some(bitmap), None) => !self.is_full() && bitmap == self.now,
            (None, Some(_)) => self.is_full(),
            (None, None) | (Some(_), Some(_)) => false,
        }
    }

    /// The revision of `key`, whether its value can be read or not.
    fn revision(&self, key: &Key, readable: Option<Revision>) -> Option<Revision> {
        let damaged = self.damage.iter().find(|damaged| damaged.key == *key);
        readable.or(damaged.map(|damaged| damaged.modified))
    }

    /// Adds conditions and writes to a transaction. Whoever gives or frees an address of the block
    /// writes the block, so its revision stands for all claims but those whose address it does not
    /// mark yet.
    fn write(&self, draft: &mut Draft<'_>) {
        let (open, full) = (Key::Open(self.slot.clone()), Key::Full(self.slot.clone()));
        let opened = self.revision(&open, self.was.open.map(|(_, modified)| modified));
        let filled = self.revision(&full, self.was.full);
        for (key, modified) in [(&open, opened), (&full, filled)] {
            match modified {
                Some(modified) => draft.modified(key, modified),
                None => draft.absent(key),
            };
        }
        let claims: BTreeSet<(Key, Revision)> = self
            .holders
            .iter()
            .map(|holder| (Key::Claim(holder.attachment.clone()), holder.modified))
            .collect();
        for (claim, modified) in claims {
            draft.modified(&claim, modified);
        }
        if self.is_full() {
            draft.put(&full, record::encode_full());
            if opened.is_some() {
                draft.delete(&open);
            }
        } else {
            draft.put(&open, record::encode_block(&self.now));
            if filled.is_some() {
                draft.delete(&full);
            }
        }
        if let Some(next) = self.slot.successor().filter(|_| self.now.reaches_the_end()) {
            let (open, full) = (Key::Open(next.clone()), Key::Full(next));
            draft.ensure(&open, &full, record::encode_block(&Bitmap::EMPTY));
        }
    }
}

#[cfg(test)]
mod tests;
