//! Bits that were cleared while their claims lived. No ADD and no DEL does this, but a node's token can.
//!
//! A claim that nobody has written since has the same current blocks. So a bit that it had before is its own, and it waits for this bit.

use std::collections::BTreeMap;

use whereabouts_clock::Clock;
use whereabouts_core::claim::{Attachment, Held};
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
    /// The attachment that has the claim.
    pub attachment: Attachment,
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

impl Inventory {
    /// The addresses that claims have lost since an earlier inventory, although nobody has written the claims. Those of
    /// `earlier_lost` were lost at the earlier inventory already, and count while they are lost.
    pub fn lost_since(&self, before: &Self, earlier_lost: &[Lost]) -> Vec<Lost> {
        let earlier: BTreeMap<_, _> = before
            .claims
            .iter()
            .map(|(one, claim)| (one, claim))
            .collect();
        let mut missed: BTreeMap<&Attachment, Vec<&Held>> = BTreeMap::new();
        for lost in earlier_lost {
            missed.entry(&lost.attachment).or_default().push(&lost.held);
        }
        let claims = self.claims.iter().filter_map(|(attachment, now)| {
            let before = earlier.get(attachment)?;
            (before.modified == now.modified).then_some((attachment, now, before))
        });
        let lost = claims.flat_map(|(attachment, now, before)| {
            let missed = missed.get(attachment).into_iter().flatten().copied();
            let held = before.value.held.iter().chain(missed);
            let held = held.filter(|held| !now.value.held.contains(held));
            held.map(|held| Lost {
                attachment: attachment.clone(),
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
            let claim = self
                .get(Kind::Claim, &names::claim(&lost.attachment))
                .await?;
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
