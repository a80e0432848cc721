//! Bits of an API server's blocks that no claim holds any more. The controller and `check --repair` clear those that two listings
//! show, unless so much is lost that the addresses may be in use. Pure.

use std::collections::BTreeSet;

use whereabouts_core::address::BlockKey;
use whereabouts_kubernetes::inventory::{Death, Finding, Inventory};

/// Dead bits that are cleared, however many bits there are.
const FEW: usize = 50;

/// One dead bit in so many is too much: claims may have been deleted by mistake.
const PART: usize = 10;

/// The dead bits of one listing.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeadBits {
    found: Vec<Finding>,
    /// Those that the listing before has shown, too, by their blocks.
    lasting: BTreeSet<BlockKey>,
    /// All taken bits.
    bits: usize,
}

/// The treatment of dead bits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Those of these blocks may be cleared.
    Clear(BTreeSet<BlockKey>),
    /// None may be, for this reason.
    Keep(String),
}

impl DeadBits {
    /// The dead bits of an inventory, after those of the one before.
    pub(crate) fn of(inventory: &Inventory, before: Option<&Self>) -> Self {
        let dead = |finding: &&Finding| matches!(finding, Finding::Dead { .. });
        let found: Vec<Finding> = inventory.findings.iter().filter(dead).cloned().collect();
        let was_there = |finding: &&Finding| before.is_some_and(|one| one.found.contains(finding));
        let lasting = found
            .iter()
            .filter(was_there)
            .filter_map(|finding| match finding {
                Finding::Dead { key, .. } => Some(key.clone()),
                _ => None,
            });
        let blocks = inventory.blocks.iter();
        Self {
            lasting: lasting.collect(),
            bits: blocks.map(|(_, bitmap)| bitmap.value.bits().count()).sum(),
            found,
        }
    }

    /// The number of dead bits.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// The number of claims that were created anew, and wait for their bits.
    pub(crate) fn created_anew(&self) -> usize {
        self.count_of(Death::CreatedAnew)
    }

    fn count_of(&self, death: Death) -> usize {
        let is_it = |finding: &&Finding| matches!(finding, Finding::Dead { death: one, .. } if *one == death);
        self.found.iter().filter(is_it).count()
    }

    /// The treatment of these bits. After a restore, or a deletion by mistake, bits are dead whose addresses are in use.
    pub(crate) fn verdict(&self) -> Verdict {
        let (count, anew) = (self.count(), self.created_anew());
        let several = self.count_of(Death::OneOfSeveral);
        if anew > 0 {
            return Verdict::Keep(format!(
                "{anew} claims were created anew, as by a restore: `whereaboutsctl check --repair` gives them their addresses again"
            ));
        }
        if several > 0 {
            return Verdict::Keep(format!(
                "{several} taken addresses may be of claims that were created anew, each with a choice of several: \
                 `whereaboutsctl restore` claims what a backup has, and `check --repair --force` clears the rest"
            ));
        }
        if count > FEW && count * PART > self.bits {
            return Verdict::Keep(format!(
                "{count} of {} taken addresses have no claim: claims may have been deleted by mistake. \
                 `whereaboutsctl restore` claims what a backup has, and `check --repair --force` clears the rest",
                self.bits
            ));
        }
        Verdict::Clear(self.lasting.clone())
    }
}

#[cfg(test)]
mod tests {
    use whereabouts_core::address::{Address, Bitmap, Family, Pool};
    use whereabouts_core::allocator::Stored;

    use super::*;

    fn address(bit: u8) -> Address {
        Address::new(Family::V4, (10 << 24) + u128::from(bit)).expect("an address")
    }

    fn block() -> BlockKey {
        BlockKey::of(&Pool::default(), address(0))
    }

    /// An inventory with so many taken bits, of which the first ones are dead.
    fn inventory(bits: u8, dead: u8, death: Death) -> Inventory {
        let mut bitmap = Bitmap::EMPTY;
        (0..bits).for_each(|bit| bitmap.set(bit));
        let findings = (0..dead).map(|bit| Finding::Dead {
            key: block(),
            address: address(bit),
            claim: format!("c-{bit}"),
            uid: format!("u-{bit}"),
            death,
        });
        let bitmap = Stored {
            value: bitmap,
            created: 1,
            modified: 1,
        };
        Inventory {
            revision: 1,
            blocks: vec![(block(), bitmap)],
            findings: findings.collect(),
            ..Inventory::default()
        }
    }

    #[test]
    fn a_bit_is_cleared_that_two_listings_show() {
        let inventory = inventory(10, 2, Death::NoClaim);
        let first = DeadBits::of(&inventory, None);
        assert_eq!(first.verdict(), Verdict::Clear(BTreeSet::new()));
        let second = DeadBits::of(&inventory, Some(&first));
        assert_eq!(second.verdict(), Verdict::Clear([block()].into()));
        assert_eq!(second.count(), 2);
    }

    #[test]
    fn nothing_is_cleared_after_a_restore_or_a_great_loss() {
        let keeps = |bits, dead, death| {
            let inventory = inventory(bits, dead, death);
            let first = DeadBits::of(&inventory, None);
            let second = DeadBits::of(&inventory, Some(&first));
            matches!(second.verdict(), Verdict::Keep(_))
        };
        assert!(keeps(10, 1, Death::CreatedAnew));
        assert!(keeps(10, 2, Death::OneOfSeveral));
        assert!(keeps(255, 51, Death::NoClaim));
        assert!(!keeps(255, 50, Death::NoClaim));
        assert!(!keeps(10, 10, Death::Left));
    }
}
