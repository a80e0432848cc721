//! Bits that were cleared while their claims lived. No ADD and no DEL does this, but a node's token can.
//!
//! A claim that nobody has written since has the same current blocks. So a bit that it had before is its own, and it waits for this bit.

use std::collections::BTreeMap;

use whereabouts_clock::Clock;
use whereabouts_core::allocator::Revision;
use whereabouts_core::claim::Held;
use whereabouts_core::durable::OwnerState;
use whereabouts_core::failure::Failure;

use crate::KubernetesRegistry;
use crate::api::{ApiServer, Write};
use crate::convert;
use crate::inventory::Inventory;
use crate::names;
use crate::object::{BitWindow, Block, Claim, Kind, Object};
use crate::protocol::blocks;
use crate::protocol::{Answer, Request};

/// Writes of one block that were refused, or whose outcome is unknown.
const TRIES: u32 = 8;

/// An address that a claim held, and holds no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The name of the claim.
    pub claim: String,
    /// The attachment that has the claim, or the pod that keeps it, in words.
    pub holder: String,
    /// The address.
    pub held: Held,
}

/// The end of an attempt to give a lost address back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// The claim holds the address again.
    Done,
    /// The claim is gone, or has another address or block now.
    Changed,
    /// Another claim has the address: two pods may use it.
    Taken,
}

/// A claim with its addresses, at one revision of it.
struct Holding<'i> {
    holder: String,
    modified: Revision,
    held: &'i [Held],
}

impl Inventory {
    /// The claims and their addresses, by their names.
    fn holdings(&self) -> BTreeMap<String, Holding<'_>> {
        let claims = self.claims.iter().map(|(attachment, claim)| {
            let holding = Holding {
                holder: attachment.to_string(),
                modified: claim.modified,
                held: &claim.value.held,
            };
            let name = names::stored_claim(attachment, &claim.value.owner);
            (name, holding)
        });
        let resting = self.owners.iter().filter_map(|(owner, state)| {
            let OwnerState::Resting { held, .. } = &state.value else {
                return None;
            };
            let holding = Holding {
                holder: owner.to_string(),
                modified: state.modified,
                held,
            };
            Some((names::durable_claim(owner), holding))
        });
        claims.chain(resting).collect()
    }

    /// The addresses that claims have lost since an earlier inventory, although nobody has written the claims. Those of
    /// `earlier_lost` were lost at the earlier inventory already, and count while they are lost.
    pub fn lost_since(&self, before: &Self, earlier_lost: &[Lost]) -> Vec<Lost> {
        let (earlier, holdings) = (before.holdings(), self.holdings());
        let mut missed: BTreeMap<&String, Vec<&Held>> = BTreeMap::new();
        for lost in earlier_lost {
            missed.entry(&lost.claim).or_default().push(&lost.held);
        }
        let unchanged = holdings.iter().filter_map(|(name, now)| {
            let before = earlier.get(name)?;
            (before.modified == now.modified).then_some((name, now, before))
        });
        let lost = unchanged.flat_map(|(name, now, before)| {
            let missed = missed.get(name).into_iter().flatten().copied();
            let held = before.held.iter().chain(missed);
            let held = held.filter(|held| !now.held.contains(held));
            held.map(|held| Lost {
                claim: name.clone(),
                holder: now.holder.clone(),
                held: held.clone(),
            })
        });
        lost.collect()
    }
}

impl<A: ApiServer, C: Clock> KubernetesRegistry<'_, A, C> {
    /// Sets the bit of a lost address again, if its claim still waits for it.
    pub async fn give_back(&self, lost: &Lost) -> Result<GivenBack, Failure> {
        let name = names::block(&lost.held.slot());
        for _ in 0..TRIES {
            let Some(Object::Block(block)) = self.get(Kind::Block, &name).await? else {
                return Ok(GivenBack::Changed);
            };
            let claim = self.get(Kind::Claim, &lost.claim).await?;
            let Some(Object::Claim(claim)) = claim else {
                return Ok(GivenBack::Changed);
            };
            let block = match given_back(&claim, block, lost) {
                Ok(block) => block,
                Err(end) => return Ok(end),
            };
            let write = Request::Write(Write::Replace(Object::Block(block)));
            if let Answer::Done(_) = self.driver.answer(&write).await? {
                return Ok(GivenBack::Done);
            }
        }
        Ok(GivenBack::Changed)
    }
}

/// `block` with the bit of the lost address, or the end without a write.
fn given_back(claim: &Claim, mut block: Block, lost: &Lost) -> Result<Block, GivenBack> {
    let bit = lost.held.address.bit();
    let is_range = |index: u8| {
        let want = claim.spec.wants.get(usize::from(index));
        want.is_some_and(|want| convert::range(want).as_ref() == Ok(&lost.held.range))
    };
    let contenders = blocks::contenders(claim, &block.metadata.name).into_iter();
    let mut contenders = contenders.filter(|one| is_range(one.want));
    let Some(mut contender) = contenders.next() else {
        return Err(GivenBack::Changed);
    };
    match block.bit_of(&contender.uid, contender.want) {
        Some(own) if own == bit => return Err(GivenBack::Done),
        Some(_) => return Err(GivenBack::Changed),
        None => {}
    }
    if block.bitmap().is_set(bit) {
        return Err(GivenBack::Taken);
    }
    contender.windows = vec![BitWindow {
        first: bit,
        last: bit,
    }];
    block.give(vec![contender], 0);
    Ok(block)
}
