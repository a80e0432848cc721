//! What a block says, and how a write changes it. Pure.

use whereabouts_core::address::{Bitmap, BlockKey, Family, Window};

use crate::api::Write;
use crate::names;
use crate::object::{BitWindow, Block, BlockSpec, Claim, Metadata, Object, PoolSpec, TakenBit};

/// Bits that one write sets, and bits that one write clears. The admission policy of blocks has the same bound.
pub(crate) const BITS_PER_WRITE: usize = 64;

/// Hashes of intervals that a block keeps.
const REACHED_BY: usize = 8;

/// Rounds of a block in which claims are looked for that wait for bits. An older claim looks after itself.
const ROUNDS: u64 = 8;

/// A block that was never written.
pub(crate) fn absent(key: &BlockKey) -> Block {
    let family = key.block.family();
    let pool = names::pool_value(&key.pool, family);
    let labels = names::prefixes(key.block).chain([(names::pool(), pool)]);
    Block {
        metadata: Metadata {
            name: names::block(key),
            labels: labels.collect(),
            ..Metadata::default()
        },
        spec: BlockSpec {
            pool: PoolSpec::of(&key.pool),
            base: key.block.base().to_string(),
            round: 0,
            reached_by: Vec::new(),
            taken: Vec::new(),
        },
    }
}

/// The identity of the search for a want.
#[cfg(test)]
pub(crate) fn search_of(want: &whereabouts_core::claim::Want) -> String {
    super::wanted::search_id(&super::wanted::intervals(want))
}

/// A want of a claim, and the bits that it may get.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Contender {
    /// The creation of the claim, and its name: the order in which bits are given.
    pub(crate) order: (Option<String>, String),
    /// The index of the want in the claim.
    pub(crate) want: u8,
    pub(crate) uid: String,
    pub(crate) windows: Vec<BitWindow>,
}

/// The wants of `claim` whose current block is `block`.
pub(crate) fn contenders(claim: &Claim, block: &str) -> Vec<Contender> {
    let of_block = |(_, want): &(u8, &crate::object::ClaimWant)| want.current == block;
    let wants = (0..).zip(&claim.spec.wants).filter(of_block);
    let contender = |(index, want): (u8, &crate::object::ClaimWant)| Contender {
        order: (
            claim.metadata.creation_timestamp.clone(),
            claim.metadata.name.clone(),
        ),
        want: index,
        uid: claim.metadata.uid.clone(),
        windows: want.windows.clone(),
    };
    wants.map(contender).collect()
}

impl Block {
    /// Whether an earlier claim of the contender's name has a bit of its want. After a restore of claims the pod uses this very
    /// address, so no helper gives another one.
    pub(crate) fn has_earlier_bit(&self, contender: &Contender) -> bool {
        let Contender {
            order: (_, claim),
            want,
            uid,
            ..
        } = contender;
        let mut taken = self.spec.taken.iter();
        taken.any(|one| one.claim == *claim && one.want == *want && one.uid != *uid)
    }

    /// The taken bits.
    pub(crate) fn bitmap(&self) -> Bitmap {
        let mut bitmap = Bitmap::EMPTY;
        for taken in &self.spec.taken {
            bitmap.set(taken.bit);
        }
        bitmap
    }

    /// The lowest free bit of `windows`.
    pub(crate) fn lowest_free(&self, windows: &[BitWindow]) -> Option<u8> {
        let bitmap = self.bitmap();
        let mut windows = windows.iter();
        windows.find_map(|BitWindow { first, last }| {
            let (first, last) = (*first, *last);
            bitmap.lowest_free(Window { first, last })
        })
    }

    /// The bit that is taken for a want of a claim.
    pub(crate) fn bit_of(&self, uid: &str, want: u8) -> Option<u8> {
        let mut taken = self.spec.taken.iter();
        let is_it = |taken: &&TakenBit| taken.uid == uid && taken.want == want;
        taken.find(is_it).map(|taken| taken.bit)
    }

    /// Whether no bit is free for anybody.
    pub(crate) fn has_no_free_bit(&self) -> bool {
        let is_v6 = self.metadata.name.starts_with("v6");
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        self.bitmap().is_full(family)
    }

    /// Whether the block says that a search needs no look at it.
    pub(crate) fn is_marked_full(&self) -> bool {
        let state = self.metadata.labels.get(&names::state());
        state.is_some_and(|state| state == names::FULL)
    }

    /// Gives each of `contenders` the lowest free bit in their order, but none to a want that has one.
    ///
    /// The write has inherited so many bits before, which count, too.
    pub(crate) fn give(&mut self, mut contenders: Vec<Contender>, inherited: usize) {
        contenders.sort();
        contenders.dedup();
        let until = self.spec.taken.len() + BITS_PER_WRITE.saturating_sub(inherited);
        for contender in contenders {
            let Contender {
                order: (_, claim),
                want,
                uid,
                windows,
            } = contender;
            if self.bit_of(&uid, want).is_some() || self.spec.taken.len() == until {
                continue;
            }
            if let Some(bit) = self.lowest_free(&windows) {
                let taken = TakenBit {
                    bit,
                    claim,
                    uid,
                    want,
                };
                let place = self.spec.taken.partition_point(|other| other.bit < bit);
                self.spec.taken.insert(place, taken);
            }
        }
        self.spec.round = self.spec.round.saturating_add(1);
        self.open();
    }

    /// Moves the bit of a claim that is gone to another claim; whether there was one.
    pub(crate) fn inherit(&mut self, old: &str, heir: &Contender) -> bool {
        let is_old = |taken: &&mut TakenBit| taken.uid == old && taken.want == heir.want;
        let Some(taken) = self.spec.taken.iter_mut().find(is_old) else {
            return false;
        };
        taken.uid.clone_from(&heir.uid);
        taken.claim.clone_from(&heir.order.1);
        true
    }

    /// The write that clears bits which `is_dead` tells, as many as one write may; `None` if there is no such bit.
    ///
    /// It does not depend on the version of the block: the claim of a dead bit never comes back, so the bit can be cleared at
    /// any later moment.
    pub(crate) fn clear(&self, is_dead: impl Fn(&TakenBit) -> bool) -> Option<Write> {
        let dead = self.spec.taken.iter().filter(|taken| is_dead(taken));
        let bits: Vec<TakenBit> = dead.take(BITS_PER_WRITE).cloned().collect();
        let block = self.metadata.name.clone();
        (!bits.is_empty()).then_some(Write::Clear { block, bits })
    }

    /// Notes that a search found each of its blocks before this one.
    pub(crate) fn reach(&mut self, search: &str) {
        let reached = &mut self.spec.reached_by;
        if !reached.iter().any(|other| other == search) {
            reached.truncate(REACHED_BY - 1);
            reached.insert(0, search.to_owned());
        }
    }

    /// Whether a search found each of its blocks before this one.
    pub(crate) fn is_reached_by(&self, search: &str) -> bool {
        self.spec.reached_by.iter().any(|other| other == search)
    }

    /// Marks the block as one that a search looks at.
    pub(crate) fn open(&mut self) {
        self.label(names::OPEN);
    }

    /// Marks the block as one that no search needs to look at.
    pub(crate) fn mark_full(&mut self) {
        self.label(names::FULL);
    }

    fn label(&mut self, state: &str) {
        let labels = &mut self.metadata.labels;
        labels.insert(names::state(), state.to_owned());
    }

    /// The rounds in which claims are looked for that wait for bits.
    pub(crate) fn rounds(&self) -> Vec<String> {
        let last = self.spec.round;
        let rounds = last.saturating_sub(ROUNDS - 1)..=last;
        rounds.map(|round| round.to_string()).collect()
    }

    /// The write of this block over the version that was read.
    pub(crate) fn write(&self) -> Write {
        let object = Object::Block(self.clone());
        if self.metadata.resource_version.is_empty() {
            Write::Create(object)
        } else {
            Write::Replace(object)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whereabouts_core::address::{Address, Pool};

    fn contender(uid: &str, want: u8) -> Contender {
        Contender {
            order: (None, uid.to_owned()),
            want,
            uid: uid.to_owned(),
            windows: vec![BitWindow {
                first: 0,
                last: 255,
            }],
        }
    }

    #[test]
    fn bits_of_an_old_container_count_among_those_of_one_write() {
        let address = Address::new(Family::V4, 10 << 24).expect("an address");
        let mut block = absent(&BlockKey::of(&Pool::default(), address));
        block.give(vec![contender("old", 0), contender("old", 1)], 0);
        let heirs = [contender("new", 0), contender("new", 1)];
        let inherited = heirs.iter().filter(|heir| block.inherit("old", heir));
        let inherited = inherited.count();
        let waiting = (0..100).map(|number| contender(&format!("{number}"), 0));
        block.give(waiting.chain(heirs.clone()).collect(), inherited);
        let new = block.spec.taken.iter().filter(|taken| taken.uid != "old");
        assert_eq!(new.count(), BITS_PER_WRITE);
        assert_eq!(
            (block.bit_of("new", 0), block.bit_of("new", 1)),
            (Some(0), Some(1))
        );
    }
}
