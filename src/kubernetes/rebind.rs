//! Bits of claims that were created anew, as by a restore of objects, are given to them again.
//!
//! The server gives a created object a UID of its own. So after a restore of claims all bits are dead, and each claim waits for one.
//!
//! A rebound bit is one that a helper gives: its write depends on the version of the block, and the claim waits for a bit of this
//! block. The earlier claim is gone, as its name has another UID. So its bit counts for nobody, and any process may clear it.

use std::collections::BTreeSet;

use whereabouts_clock::Clock;
use whereabouts_core::address::BlockKey;
use whereabouts_core::failure::Failure;

use crate::KubernetesRegistry;
use crate::api::{ApiServer, Write};
use crate::names;
use crate::object::{Block, Claim, Kind, Object, TakenBit};
use crate::protocol::blocks::{self, BITS_PER_WRITE, Contender};
use crate::protocol::{Answer, Request};

/// Writes of one block that were refused, or whose outcome is unknown, before the rest is left to the next run.
const TRIES: u32 = 8;

impl Claim {
    /// The want that waits for exactly `taken`, a bit of `block` that an earlier claim of this name held.
    pub(crate) fn heir_of(&self, taken: &TakenBit, block: &Block) -> Option<Contender> {
        let is_earlier = taken.claim == self.metadata.name && taken.uid != self.metadata.uid;
        let waits = block.bit_of(&self.metadata.uid, taken.want).is_none();
        let mut contenders = blocks::contenders(self, &block.metadata.name).into_iter();
        let want = contenders.find(|want| want.want == taken.want)?;
        let mut windows = want.windows.iter();
        let is_wanted = windows.any(|window| (window.first..=window.last).contains(&taken.bit));
        (is_earlier && waits && is_wanted).then_some(want)
    }
}

impl<A: ApiServer, C: Clock> KubernetesRegistry<'_, A, C> {
    /// Gives the bits of `blocks` to the claims that have the names of the earlier ones, and wait. The answer is their number.
    pub async fn rebind(&self, blocks: &BTreeSet<BlockKey>) -> Result<usize, Failure> {
        let mut rebound = 0;
        for block in blocks {
            rebound += self.rebind_block(&names::block(block)).await?;
        }
        Ok(rebound)
    }

    async fn rebind_block(&self, name: &str) -> Result<usize, Failure> {
        let (mut rebound, mut tries) = (0, 0);
        while tries < TRIES {
            let Some(Object::Block(mut block)) = self.get(Kind::Block, name).await? else {
                break;
            };
            let moved = self.move_bits(&mut block).await?;
            if moved == 0 {
                break;
            }
            let write = Request::Write(Write::Replace(Object::Block(block)));
            match self.driver.answer(&write).await? {
                Answer::Done(_) => rebound += moved,
                // The next read tells what was written.
                _ => tries += 1,
            }
        }
        Ok(rebound)
    }

    /// Moves as many bits of `block` as one write may. Each claim is read after the block.
    async fn move_bits(&self, block: &mut Block) -> Result<usize, Failure> {
        let mut moved = 0;
        for taken in block.spec.taken.clone() {
            if moved == BITS_PER_WRITE {
                break;
            }
            let claim = self.get(Kind::Claim, &taken.claim).await?;
            let Some(Object::Claim(claim)) = claim else {
                continue;
            };
            if let Some(heir) = claim.heir_of(&taken, block) {
                moved += usize::from(block.inherit(&taken.uid, &heir));
            }
        }
        Ok(moved)
    }
}
