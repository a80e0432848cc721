//! Wants as intervals, blocks and windows; claims as objects. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use whereabouts_core::address::{BlockId, BlockKey, Interval, Pool};
use whereabouts_core::claim::{Ask, Attachment, Choice, Owner, Want};
use whereabouts_core::limits;

use crate::convert;
use crate::names;
use crate::object::{
    BitWindow, Block, Claim, ClaimOwner, ClaimSpec, ClaimWant, Metadata, PoolSpec,
};

/// The intervals of a want.
pub(crate) fn intervals(want: &Want) -> Vec<Interval> {
    match want.choice {
        Choice::Lowest => want.usable.clone(),
        Choice::Exactly(address) => Interval::new(address, address).into_iter().collect(),
    }
}

/// The bits of `block` that may be given for a want of `intervals`.
pub(crate) fn windows(intervals: &[Interval], block: BlockId) -> Vec<BitWindow> {
    let window = |interval: &Interval| {
        let window = block.window(*interval)?;
        let (first, last) = (window.first, window.last);
        Some(BitWindow { first, last })
    };
    intervals.iter().filter_map(window).collect()
}

/// The first block with a bit that may be given, after `after` if there is one.
pub(crate) fn next_block(intervals: &[Interval], after: Option<BlockId>) -> Option<BlockId> {
    let in_interval = |interval: &Interval| {
        let (first, last) = interval.blocks();
        let mut block = match after {
            Some(after) if after >= first => after.successor()?,
            Some(_) | None => first,
        };
        // Only the first block of an interval may have no bit: one that ends in .0.
        while block <= last && block.window(*interval).is_none() {
            block = block.successor()?;
        }
        (block <= last).then_some(block)
    };
    intervals.iter().filter_map(in_interval).min()
}

/// The identity of a search.
pub(crate) fn search_id(intervals: &[Interval]) -> String {
    let texts: Vec<String> = intervals.iter().map(Interval::to_string).collect();
    let parts: Vec<&str> = texts.iter().map(String::as_str).collect();
    names::hash(&parts, 8)
}

/// The block that a claim waits for, and the block's round as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Placed {
    pub(crate) key: BlockKey,
    pub(crate) round: u64,
}

impl Block {
    /// Whether an address for `want` is free here.
    pub(crate) fn has_space_for(&self, want: &Want) -> bool {
        let block = names::block_at(&self.spec.base);
        let windows = block.map(|block| windows(&intervals(want), block));
        windows.is_some_and(|windows| self.lowest_free(&windows).is_some())
    }
}

impl PoolSpec {
    pub(crate) fn of(pool: &Pool) -> Self {
        Self {
            name: pool.name.clone(),
            only: pool.only.as_ref().map(ToString::to_string),
        }
    }
}

impl ClaimOwner {
    pub(crate) fn of(owner: &Owner) -> Self {
        Self {
            node: owner.node.clone(),
            pod_namespace: owner.pod_namespace.clone(),
            pod_name: owner.pod_name.clone(),
            pod_uid: owner.pod_uid.clone(),
            netns: owner.netns.clone(),
            boot: owner.boot.map(|boot| boot.to_string()),
        }
    }
}

/// The usable addresses of a range, as a claim states them. If the schema does not admit all intervals, a claim states none: a
/// part of them would be wrong.
fn usable(want: &Want) -> Vec<String> {
    if want.usable.len() > limits::USABLE_INTERVALS {
        return Vec::new();
    }
    want.usable.iter().map(Interval::to_string).collect()
}

/// The claim for `ask` that waits for bits of `placed`, one block a want.
pub(crate) fn claim(ask: &Ask, attempt: &str, now: Duration, placed: &[Placed]) -> Claim {
    let wants = ask
        .wants
        .iter()
        .zip(placed)
        .map(|(want, placed)| ClaimWant {
            pool: PoolSpec::of(&want.range.pool),
            cidr: want.range.cidr.to_string(),
            current: names::block(&placed.key),
            windows: windows(&intervals(want), placed.key.block),
            usable: usable(want),
            left: Vec::new(),
        });
    let mut claim = Claim {
        metadata: Metadata {
            name: names::stored_claim(&ask.attachment, &ask.owner),
            ..Metadata::default()
        },
        spec: ClaimSpec {
            network: ask.attachment.network.to_string(),
            container: ask.attachment.container.to_string(),
            interface: ask.attachment.interface.clone(),
            attempt: attempt.to_owned(),
            wants: wants.collect(),
            owner: ClaimOwner::of(&ask.owner),
            added_ms: convert::milliseconds(now),
            durable: ask.durable_owner().is_some(),
            resting_since_ms: None,
        },
    };
    claim.label_description();
    claim.label_currents(placed);
    claim
}

impl Claim {
    /// Whether no attachment has the addresses of this durable claim.
    pub(crate) fn is_resting(&self) -> bool {
        self.spec.resting_since_ms.is_some()
    }

    /// Whether this is the claim of `attachment` now.
    pub(crate) fn is_of(&self, attachment: &Attachment) -> bool {
        !self.is_resting() && self.is_last_of(attachment)
    }

    /// Whether `attachment` has the claim, or had it last.
    pub(crate) fn is_last_of(&self, attachment: &Attachment) -> bool {
        self.spec.network == attachment.network.as_str()
            && self.spec.container == attachment.container.as_str()
            && self.spec.interface == attachment.interface
    }

    /// Labels the claim with what it says of its attachment.
    pub(crate) fn label_description(&mut self) {
        let spec = &self.spec;
        let container = Some(&spec.container).filter(|_| !self.is_resting());
        let durable = spec.durable.then(|| "true".to_owned());
        let described = [
            (names::network(), Some(&spec.network)),
            (names::container(), container),
            (names::node(), spec.owner.node.as_ref()),
            (names::pod_uid(), spec.owner.pod_uid.as_ref()),
            (names::durable(), durable.as_ref()),
        ];
        let labels = &mut self.metadata.labels;
        for (key, text) in described {
            match text {
                Some(text) => labels.insert(key, names::label_value(text)),
                None => labels.remove(&key),
            };
        }
    }

    /// Labels the claim with its current blocks. `placed` has the rounds of those that are new.
    pub(crate) fn label_currents(&mut self, placed: &[Placed]) {
        let rounds: BTreeMap<String, u64> = placed
            .iter()
            .map(|placed| (names::current(&names::block(&placed.key)), placed.round))
            .collect();
        let wants = self.spec.wants.iter();
        let currents: Vec<String> = wants.map(|want| names::current(&want.current)).collect();
        let labels = &mut self.metadata.labels;
        let prefix = names::current("");
        labels.retain(|key, _| !key.starts_with(&prefix) || currents.contains(key));
        for key in currents {
            match rounds.get(&key) {
                Some(round) => labels.insert(key, round.to_string()),
                None => continue,
            };
        }
    }

    /// Ends the attachment of a durable claim. Its addresses stay. The own attempt tells an ADD that still runs.
    pub(crate) fn rest(&mut self, attempt: &str, now: Duration) {
        attempt.clone_into(&mut self.spec.attempt);
        let ClaimOwner {
            pod_namespace,
            pod_name,
            ..
        } = std::mem::take(&mut self.spec.owner);
        self.spec.owner = ClaimOwner {
            pod_namespace,
            pod_name,
            ..ClaimOwner::default()
        };
        self.spec.resting_since_ms = Some(convert::milliseconds(now));
        self.label_description();
    }

    /// Gives the addresses of a durable claim to the attachment of `ask`.
    pub(crate) fn attach(&mut self, ask: &Ask, attempt: &str, now: Duration) {
        ask.attachment
            .container
            .as_str()
            .clone_into(&mut self.spec.container);
        attempt.clone_into(&mut self.spec.attempt);
        self.spec.owner = ClaimOwner::of(&ask.owner);
        self.spec.added_ms = convert::milliseconds(now);
        self.spec.resting_since_ms = None;
        self.renew_usable(ask);
        self.label_description();
    }

    /// Says what the ranges can give as `ask`, which has the same ranges, knows it.
    pub(crate) fn renew_usable(&mut self, ask: &Ask) {
        for (stored, want) in self.spec.wants.iter_mut().zip(&ask.wants) {
            stored.usable = usable(want);
        }
    }

    /// Gives up the current block of a want, and waits for bits of another block.
    pub(crate) fn move_want(&mut self, index: usize, want: &Want, placed: &Placed) {
        let moved = &mut self.spec.wants[index];
        let left = std::mem::replace(&mut moved.current, names::block(&placed.key));
        moved.left.push(left);
        moved.windows = windows(&intervals(want), placed.key.block);
        self.label_currents(std::slice::from_ref(placed));
    }

    /// The blocks that have or may have bits of this claim.
    pub(crate) fn all_blocks(&self) -> Vec<String> {
        let of_want = |want: &ClaimWant| {
            let left = want.left.iter().cloned();
            [want.current.clone()]
                .into_iter()
                .chain(left)
                .collect::<Vec<_>>()
        };
        let mut blocks: Vec<String> = self.spec.wants.iter().flat_map(of_want).collect();
        blocks.sort();
        blocks.dedup();
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whereabouts_core::address::{Address, Family};

    fn block(number: u128) -> BlockId {
        BlockId::of(Address::new(Family::V4, number << 8).expect("an address"))
    }

    fn interval(first: u128, last: u128) -> Interval {
        let end = |number| Address::new(Family::V4, number).expect("an address");
        Interval::new(end(first), end(last)).expect("in order")
    }

    #[test]
    fn blocks_of_intervals_come_in_order_and_each_has_a_bit() {
        let intervals = [
            interval(0x101, 0x1ff),
            interval(0x300, 0x300),
            interval(0x500, 0x6ff),
        ];
        let mut found = Vec::new();
        let mut after = None;
        while let Some(next) = next_block(&intervals, after) {
            found.push(next);
            after = Some(next);
        }
        assert_eq!(found, [1, 5, 6].map(block));
        assert_eq!(
            windows(&intervals, block(1)),
            [BitWindow {
                first: 1,
                last: 255
            }]
        );
        assert_eq!(windows(&intervals, block(2)), []);
    }
}
