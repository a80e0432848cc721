//! The working sheet of one decision: the facts, and the changes of the decision so far.
//!
//! The sheet keeps the invariant of the search: when the last bit of a block is taken, the next
//! block of its family exists.

use std::collections::{BTreeMap, BTreeSet};

use super::questions::search_questions;
use super::{BlockState, Budget, Change, Facts, NotRead, Question};
use crate::address::{Address, Bitmap, BlockId, BlockKey, Interval, Pool};
use crate::limits;

/// The questions to ask before the sheet can decide.
#[derive(Debug)]
pub(super) struct Unknown(pub(super) Vec<Question>);

#[derive(Clone)]
pub(super) struct Sheet<'s> {
    facts: &'s Facts,
    blocks: BTreeMap<BlockKey, Change>,
    /// Blocks that must exist after the commit. It is not known whether they exist now.
    ensured: BTreeSet<BlockKey>,
}

impl<'s> Sheet<'s> {
    pub(super) fn new(facts: &'s Facts) -> Self {
        Self {
            facts,
            blocks: BTreeMap::new(),
            ensured: BTreeSet::new(),
        }
    }

    pub(super) fn facts(&self) -> &'s Facts {
        self.facts
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn into_changes(self) -> (BTreeMap<BlockKey, Change>, BTreeSet<BlockKey>) {
        (self.blocks, self.ensured)
    }

    /// The share of a transaction that the changes and `demands` demands use. Each demand has a
    /// claim, an entry by its node, and a ticket, and `owners` of them have a durable owner. An ensured block is a nested
    /// transaction with two compares of its own.
    pub(super) fn cost(&self, demands: usize, owners: usize) -> Budget {
        let compares = |change: &Change| match change.was {
            BlockState::Absent => 2,
            BlockState::Open(..) | BlockState::Full(..) => 1,
        };
        let nested = if self.ensured.is_empty() { 0 } else { 2 };
        Budget {
            compares: 2 * demands
                + owners
                + nested
                + self.blocks.values().map(compares).sum::<usize>(),
            operations: 3 * demands + owners + nested + 2 * self.blocks.len() + self.ensured.len(),
        }
    }

    /// Whether `bit` of `slot` is taken.
    pub(super) fn is_taken(&self, slot: &BlockKey, bit: u8) -> Result<bool, Unknown> {
        Ok(self
            .bitmap(slot)
            .map_err(|NotRead| ask_for(slot))?
            .is_set(bit))
    }

    /// Takes a free bit.
    pub(super) fn take(&mut self, slot: &BlockKey, bit: u8) -> Result<(), Unknown> {
        let change = self.change(slot)?;
        assert!(
            !change.now.is_set(bit),
            "bit {bit} of {slot} is taken twice"
        );
        change.now.set(bit);
        if bit == u8::MAX {
            self.ensure_successor(slot);
        }
        Ok(())
    }

    /// Frees a bit. A bit that is already free stays free, because the claim is the record.
    pub(super) fn free(&mut self, slot: &BlockKey, bit: u8) -> Result<(), Unknown> {
        self.change(slot)?.now.clear(bit);
        Ok(())
    }

    /// The lowest free address of `intervals`, searched in order.
    pub(super) fn lowest_free(
        &self,
        pool: &Pool,
        intervals: &[Interval],
    ) -> Result<Option<Address>, Unknown> {
        for (index, interval) in intervals.iter().enumerate() {
            match self.lowest_free_in(pool, *interval) {
                Ok(Some(address)) => {
                    assert!(
                        interval.contains(address),
                        "{address} is outside {interval}"
                    );
                    return Ok(Some(address));
                }
                Ok(None) => {}
                Err(block) => {
                    let rest = (block, interval.blocks().1);
                    let further = intervals[index + 1..]
                        .iter()
                        .map(|interval| interval.blocks());
                    let wanted = [rest]
                        .into_iter()
                        .chain(further)
                        .take(limits::INTERVALS_PER_READ);
                    let queries: BTreeSet<Question> = wanted
                        .flat_map(|(from, through)| {
                            search_questions(
                                &BlockKey {
                                    pool: pool.clone(),
                                    block: from,
                                },
                                through,
                            )
                        })
                        .collect();
                    return Err(Unknown(queries.into_iter().collect()));
                }
            }
        }
        Ok(None)
    }

    /// The lowest free address of `interval`, or the first block with missing facts.
    ///
    /// An absent block is free. If no bit of a block is usable, either its last bit is taken or the
    /// interval ends in it. If its last bit is taken, the next block exists, by the invariant. The
    /// same holds for that block, so all blocks before the next open one are full. A block that was
    /// filled on this sheet is the exception: its successor must still be looked up.
    fn lowest_free_in(&self, pool: &Pool, interval: Interval) -> Result<Option<Address>, BlockId> {
        let (first, last) = interval.blocks();
        let mut slot = BlockKey {
            pool: pool.clone(),
            block: first,
        };
        loop {
            let bitmap = self.bitmap(&slot).map_err(|NotRead| slot.block)?;
            let window = slot.block.window(interval);
            if let Some(bit) = window.and_then(|window| bitmap.lowest_free(window)) {
                return Ok(Some(slot.block.address(bit)));
            }
            let Some(next) = slot.successor().filter(|next| next.block <= last) else {
                return Ok(None);
            };
            slot = if self.blocks.contains_key(&slot) {
                next
            } else {
                let end = BlockKey {
                    pool: pool.clone(),
                    block: last,
                };
                let open = self
                    .facts
                    .first_open(&next, last)
                    .map_err(|NotRead| next.block)?;
                let changed = self
                    .blocks
                    .range(next..=end)
                    .next()
                    .map(|(slot, _)| slot.block);
                let Some(block) = [open, changed].into_iter().flatten().min() else {
                    return Ok(None);
                };
                BlockKey {
                    pool: pool.clone(),
                    block,
                }
            };
        }
    }

    fn bitmap(&self, slot: &BlockKey) -> Result<Bitmap, NotRead> {
        if let Some(change) = self.blocks.get(slot) {
            return Ok(change.now);
        }
        self.facts.block(slot).map(bitmap_of)
    }

    fn change(&mut self, slot: &BlockKey) -> Result<&mut Change, Unknown> {
        if !self.blocks.contains_key(slot) {
            let was = self.facts.block(slot).map_err(|NotRead| ask_for(slot))?;
            self.blocks.insert(
                slot.clone(),
                Change {
                    was,
                    now: bitmap_of(was),
                },
            );
        }
        Ok(self.blocks.get_mut(slot).expect("just inserted"))
    }

    fn ensure_successor(&mut self, slot: &BlockKey) {
        let Some(next) = slot.successor() else { return };
        if self.blocks.contains_key(&next) {
            return;
        }
        match self.facts.block(&next) {
            Ok(BlockState::Open(..) | BlockState::Full(..)) => {}
            Ok(BlockState::Absent) => {
                let change = Change {
                    was: BlockState::Absent,
                    now: Bitmap::EMPTY,
                };
                self.blocks.insert(next, change);
            }
            Err(NotRead) => {
                self.ensured.insert(next);
            }
        }
    }
}

fn bitmap_of(state: BlockState) -> Bitmap {
    match state {
        BlockState::Absent => Bitmap::EMPTY,
        BlockState::Open(bitmap, _) | BlockState::Full(bitmap, _) => bitmap,
    }
}

fn ask_for(slot: &BlockKey) -> Unknown {
    Unknown(Question::block(slot).to_vec())
}
