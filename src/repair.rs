//! What can be done about the findings of an audit. Pure: it writes nothing.
//!
//! Claims are what counts; blocks are made to agree with them. Where it cannot be told what is
//! right, nothing is repaired: a value that this version cannot read stays, an address that is held
//! twice is for a person to decide, and while a claim cannot be read no address becomes free.

use std::collections::BTreeSet;
use std::fmt;

use crate::address::{Bitmap, Slot};
use crate::audit::{Auditor, Block, Finding, Holder};
use crate::draft::Draft;
use crate::limits;
use crate::store::Revision;
use crate::store::keys::Key;
use crate::store::record;

/// One repair: a block is made to agree with the claims, in one transaction, which is refused if what it
/// rests on has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    slot: Slot,
    was: Block,
    now: Bitmap,
    /// The claims whose addresses are marked by it.
    holders: Vec<Holder>,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.was.marks(self.slot.block.family());
        let count = |one: Bitmap, other: Bitmap| {
            let bits = one.bits().filter(|bit| !other.is_set(*bit));
            bits.count()
        };
        let place = if self.is_full() { "full" } else { "open" };
        let (taken, freed) = (count(self.now, before), count(before, self.now));
        let slot = &self.slot;
        write!(
            f,
            "write block {slot} as {place}: {taken} more marked as taken, {freed} freed"
        )
    }
}

/// What to do about the `findings` on what `auditor` has seen.
pub fn plan(auditor: &Auditor, findings: &[Finding]) -> Vec<Repair> {
    let mut slots = BTreeSet::new();
    for finding in findings {
        match finding {
            Finding::Unreadable { .. } | Finding::HeldTwice { .. } => {}
            Finding::NotMarked { pool, address, .. } | Finding::NotHeld { pool, address } => {
                slots.insert(Slot::of(pool, *address));
            }
            Finding::OpenAndFull(slot) | Finding::NoFreeBit(slot) => {
                slots.insert(slot.clone());
            }
            Finding::NoSuccessor(slot) => slots.extend(slot.successor()),
        }
    }
    let repairs = slots.into_iter().map(|slot| Repair::of(auditor, slot));
    repairs.flatten().collect()
}

impl Repair {
    /// `None` when the block is to be left as it is.
    fn of(auditor: &Auditor, slot: Slot) -> Option<Self> {
        if auditor.is_unreadable(&slot) {
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
            let is_new = !before.is_set(address.bit());
            if is_new && holders.len() >= limits::CLAIMS_PER_REPAIR {
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
            (Some(bitmap), None) => !self.is_full() && bitmap == self.now,
            (None, Some(_)) => self.is_full(),
            (None, None) | (Some(_), Some(_)) => false,
        }
    }

    /// Adds conditions and writes to a transaction. Whoever gives or frees an address of the block
    /// writes the block, so its revision stands for all claims but those whose address it does not
    /// mark yet.
    pub(crate) fn write(&self, draft: &mut Draft<'_>) {
        let (open, full) = (Key::Open(self.slot.clone()), Key::Full(self.slot.clone()));
        let opened = self.was.open.map(|(_, modified)| modified);
        for (key, modified) in [(&open, opened), (&full, self.was.full)] {
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
            if self.was.full.is_some() {
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
