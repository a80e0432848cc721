//! The facts of a decision: claims and blocks, read at one revision.
//!
//! The facts distinguish three cases: something exists, something does not exist, and something was
//! not read.

use std::collections::BTreeMap;

use crate::address::{Bitmap, BlockId, BlockKey};
use crate::claim::{Attachment, Claim, Held};
use crate::durable::{DurableOwner, OwnerState};

/// The number of a write. A datastore numbers its writes in order.
pub type Revision = i64;

/// A stored value, with the revisions of its writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// The revision of the write that created the value.
    pub created: Revision,
    /// The revision of the last write of the value.
    pub modified: Revision,
}

/// A question about blocks. Its order and equality allow sets of questions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Whether a block is full.
    Full(BlockKey),
    /// The first open blocks from `from` to `through`, both included.
    Open {
        /// The first block.
        from: BlockKey,
        /// The last block.
        through: BlockId,
        /// The largest number of blocks.
        limit: u32,
    },
}

impl Question {
    /// The questions that together tell everything about one block.
    pub fn block(slot: &BlockKey) -> [Self; 2] {
        let open = Self::Open {
            from: slot.clone(),
            through: slot.block,
            limit: 1,
        };
        [open, Self::Full(slot.clone())]
    }
}

/// The state of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// The block does not exist: none of its addresses was ever given.
    Absent,
    /// Some range could still give an address of the block.
    Open(Bitmap, Revision),
    /// Every address of the block is taken.
    Full(Bitmap, Revision),
}

/// Nothing is known, because the question was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRead;

/// A block that is both open and full. No write leaves such a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAndFull(pub BlockKey);

/// Claims and blocks, read at one revision.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    claims: BTreeMap<Attachment, Option<Stored<Claim>>>,
    owners: BTreeMap<DurableOwner, Option<Stored<OwnerState>>>,
    full: BTreeMap<BlockKey, Option<Stored<Bitmap>>>,
    open: BTreeMap<BlockKey, Stored<Bitmap>>,
    /// The spans in which every open block is known. A span reaches from a slot through a block of
    /// the same pool and family.
    spans: BTreeMap<BlockKey, BlockId>,
}

impl Facts {
    /// Notes the claim of `attachment`, or its absence.
    pub fn note_claim(&mut self, attachment: &Attachment, claim: Option<Stored<Claim>>) {
        self.claims.insert(attachment.clone(), claim);
    }

    /// Notes the state of a durable owner, or its absence.
    pub fn note_owner(&mut self, owner: &DurableOwner, state: Option<Stored<OwnerState>>) {
        self.owners.insert(owner.clone(), state);
    }

    /// Notes that a block is full, or that it is not full.
    pub fn note_full(&mut self, slot: &BlockKey, full: Option<Stored<Bitmap>>) {
        self.full.insert(slot.clone(), full);
    }

    /// Notes the open blocks from `from` to `through`. If the answer is cut, it has only the first
    /// of these blocks.
    pub fn note_open(
        &mut self,
        from: &BlockKey,
        through: BlockId,
        blocks: Vec<(BlockKey, Stored<Bitmap>)>,
        is_cut: bool,
    ) {
        let known_through = match blocks.last() {
            Some((last, _)) if is_cut => last.block,
            Some(_) | None => through,
        };
        self.open.extend(blocks);
        let span = self.spans.entry(from.clone()).or_insert(known_through);
        *span = (*span).max(known_through);
    }

    /// Refuses facts with a block that is both open and full.
    pub fn check(&self) -> Result<(), OpenAndFull> {
        let is_full = |slot: &&BlockKey| matches!(self.full.get(*slot), Some(Some(_)));
        match self.open.keys().find(is_full) {
            Some(slot) => Err(OpenAndFull(slot.clone())),
            None => Ok(()),
        }
    }

    /// The claim of `attachment`.
    pub fn claim(&self, attachment: &Attachment) -> Result<Option<&Stored<Claim>>, NotRead> {
        let claim = self.claims.get(attachment);
        claim.map(Option::as_ref).ok_or(NotRead)
    }

    /// The state of a durable owner.
    pub fn owner(&self, owner: &DurableOwner) -> Result<Option<&Stored<OwnerState>>, NotRead> {
        let state = self.owners.get(owner);
        state.map(Option::as_ref).ok_or(NotRead)
    }

    /// The state of a block.
    pub fn block(&self, slot: &BlockKey) -> Result<BlockState, NotRead> {
        if let Some(open) = self.open.get(slot) {
            return Ok(BlockState::Open(open.value, open.modified));
        }
        match (self.full.get(slot), self.known_open_through(slot)) {
            (Some(Some(full)), _) => Ok(BlockState::Full(full.value, full.modified)),
            (Some(None), Some(_)) => Ok(BlockState::Absent),
            (Some(None) | None, _) => Err(NotRead),
        }
    }

    /// The first open block from `from` to `through`, both included.
    pub(crate) fn first_open(
        &self,
        from: &BlockKey,
        through: BlockId,
    ) -> Result<Option<BlockId>, NotRead> {
        let mut at = from.clone();
        loop {
            let known = self.known_open_through(&at).ok_or(NotRead)?.min(through);
            let end = BlockKey {
                pool: at.pool.clone(),
                block: known,
            };
            if let Some((found, _)) = self.open.range(at.clone()..=end).next() {
                return Ok(Some(found.block));
            }
            match known.successor() {
                Some(next) if next <= through => at.block = next,
                Some(_) | None => return Ok(None),
            }
        }
    }

    /// The first of `held` whose bit is not set. The caller has read their blocks.
    pub fn first_unmarked<'h>(&self, held: &'h [Held]) -> Option<&'h Held> {
        let is_marked = |held: &&Held| match self.block(&held.slot()) {
            Ok(BlockState::Open(bitmap, _) | BlockState::Full(bitmap, _)) => {
                bitmap.is_set(held.address.bit())
            }
            Ok(BlockState::Absent) | Err(NotRead) => false,
        };
        held.iter().find(|held| !is_marked(held))
    }

    /// The last block of the span that begins at `slot` or before it, and in which every open block
    /// is known.
    fn known_open_through(&self, slot: &BlockKey) -> Option<BlockId> {
        let of_family = BlockKey {
            pool: slot.pool.clone(),
            block: slot.block.first_of_family(),
        };
        let begun = self.spans.range(of_family..=slot.clone());
        begun
            .map(|(_, through)| *through)
            .filter(|through| *through >= slot.block)
            .max()
    }
}
