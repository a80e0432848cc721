//! Bits of claims that were created anew, as by a restore of objects, are given to them again.
//!
//! The server gives a created object a UID of its own. So after a restore of claims all bits are dead, and each claim waits for one.
//!
//! A rebound bit is one that a helper gives: its write depends on the version of the block, and the claim waits for a bit of this
//! block. The earlier claim is gone, as its name has another UID. So its bit counts for nobody, and any process may clear it.
//!
//! Once that bit is cleared, nothing tells the address any more. A restore then releases the claim, and claims what its backup states.

use std::collections::BTreeSet;

use whereabouts_clock::Clock;
use whereabouts_core::address::BlockKey;
use whereabouts_core::allocator::Stored;
use whereabouts_core::claim::{Ask, Attachment, Claim as CoreClaim};
use whereabouts_core::failure::{Corrupt, Failure};
use whereabouts_core::registry::{Registry, Released, Taken};

use crate::KubernetesRegistry;
use crate::api::{ApiServer, Write};
use crate::names;
use crate::object::{Block, Claim, Kind, Object, TakenBit};
use crate::protocol::blocks::{self, BITS_PER_WRITE, Contender};
use crate::protocol::{Answer, Request};

/// Writes of one block that were refused, or whose outcome is unknown, before the rest is left to the next run.
const TRIES: u32 = 8;

/// The relation of a claim that waits to a bit of an earlier claim of its name.
pub(crate) enum Heir {
    /// The bit is this want's, as no other one can be.
    Of(Contender),
    /// Another bit can as well be the want's, so it gets none.
    OfOneOfSeveral,
}

/// The end of a rebinding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebound {
    /// The number of bits that claims got.
    pub bits: usize,
    /// Objects that nobody can rely on. Their bits stay as they are.
    pub skipped: Vec<Corrupt>,
}

impl Claim {
    /// The relation of this claim to `taken`, a bit of `block`. `None`: no earlier claim of this name held it, or this one does not
    /// wait for it.
    pub(crate) fn heir_of(&self, taken: &TakenBit, block: &Block) -> Option<Heir> {
        let mut contenders = blocks::contenders(self, &block.metadata.name).into_iter();
        let want = contenders.find(|want| want.want == taken.want)?;
        let (name, uid) = (&self.metadata.name, &self.metadata.uid);
        let is_wanted = |bit| {
            let mut windows = want.windows.iter();
            windows.any(|window| (window.first..=window.last).contains(&bit))
        };
        let can_be_its = |one: &TakenBit| {
            one.claim == *name && one.uid != *uid && one.want == want.want && is_wanted(one.bit)
        };
        if block.bit_of(uid, want.want).is_some() || !can_be_its(taken) {
            return None;
        }
        let possible = block.spec.taken.iter().filter(|one| can_be_its(one));
        Some(match possible.count() {
            1 => Heir::Of(want),
            _ => Heir::OfOneOfSeveral,
        })
    }
}

impl<A: ApiServer, C: Clock> KubernetesRegistry<'_, A, C> {
    /// Gives the bits of `blocks` to the claims that have the names of the earlier ones, and wait.
    pub async fn rebind(&self, blocks: &BTreeSet<BlockKey>) -> Result<Rebound, Failure> {
        let mut rebound = Rebound::default();
        for block in blocks {
            self.rebind_block(&names::block(block), &mut rebound)
                .await?;
        }
        Ok(rebound)
    }

    async fn rebind_block(&self, name: &str, rebound: &mut Rebound) -> Result<(), Failure> {
        let mut tries = 0;
        while tries < TRIES {
            let read = self.get_usable(Kind::Block, name, rebound).await?;
            let Some(Object::Block(mut block)) = read else {
                break;
            };
            let moved = self.move_bits(&mut block, rebound).await?;
            if moved == 0 {
                break;
            }
            let write = Request::Write(Write::Replace(Object::Block(block)));
            match self.driver.answer(&write).await? {
                Answer::Done(_) => rebound.bits += moved,
                // The next read tells what was written.
                _ => tries += 1,
            }
        }
        Ok(())
    }

    /// The object. One that nobody can rely on is noted, and as good as absent.
    async fn get_usable(
        &self,
        kind: Kind,
        name: &str,
        rebound: &mut Rebound,
    ) -> Result<Option<Object>, Failure> {
        match self.get(kind, name).await {
            Err(Failure::Corrupt(corrupt)) => {
                if !rebound.skipped.contains(&corrupt) {
                    rebound.skipped.push(corrupt);
                }
                Ok(None)
            }
            read => read,
        }
    }

    /// Releases the claim of `attachment`, which waits for an address and holds `stored`, no more.
    ///
    /// Its own process perhaps still runs. It finds another attempt at its last look, and answers nothing. So a bit that is set later
    /// is in use by nobody.
    pub async fn release_waiting(
        &self,
        attachment: &Attachment,
        stored: &Stored<CoreClaim>,
    ) -> Result<Released, Failure> {
        let Some(mut claim) = self.claim(attachment).await? else {
            return Ok(Released::Done);
        };
        let read = self.stored(&claim).await?;
        if read != *stored {
            return Ok(Released::Changed(read));
        }
        claim.spec.attempt.clone_from(&self.attempt);
        let write = Request::Write(Write::Replace(Object::Claim(claim)));
        let own = match self.driver.settle(&write).await? {
            Answer::Done(Some(Object::Claim(claim))) => self.stored(&claim).await?,
            _ => return self.still_there(attachment).await,
        };
        if own.value.held != stored.value.held {
            return Ok(Released::Changed(own));
        }
        self.release(attachment, &own).await
    }

    /// Takes what the durable `ask` states, and lets it rest: a restored owner has no attachment.
    pub async fn keep(&self, ask: &Ask) -> Result<Taken, Failure> {
        let taken = self.take(ask).await?;
        if let Taken::Granted(_) | Taken::Revived(_) | Taken::Held(_) = taken
            && let Some(claim) = self.claim(&ask.attachment).await?
        {
            let stored = self.stored(&claim).await?;
            self.release(&ask.attachment, &stored).await?;
        }
        Ok(taken)
    }

    async fn still_there(&self, attachment: &Attachment) -> Result<Released, Failure> {
        match self.claim(attachment).await? {
            Some(claim) => self.stored(&claim).await.map(Released::Changed),
            None => Ok(Released::Done),
        }
    }

    /// Moves as many bits of `block` as one write may. Each claim is read after the block.
    async fn move_bits(&self, block: &mut Block, rebound: &mut Rebound) -> Result<usize, Failure> {
        let mut moved = 0;
        for taken in block.spec.taken.clone() {
            if moved == BITS_PER_WRITE {
                break;
            }
            let read = self.get_usable(Kind::Claim, &taken.claim, rebound).await?;
            let Some(Object::Claim(claim)) = read else {
                continue;
            };
            if let Some(Heir::Of(heir)) = claim.heir_of(&taken, block) {
                moved += usize::from(block.inherit(&taken.uid, &heir));
            }
        }
        Ok(moved)
    }
}
