//! The present claims and bits, and the fate of a backup's claim among them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Bitmap, BlockKey};
use whereabouts_core::allocator::{Kept, Shortage, Stored};
use whereabouts_core::claim::{Ask, Attachment, Choice, Claim, Held};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::registry::Taken;
use whereabouts_kubernetes::inventory::{Finding, Inventory};

/// An inventory, as a claim of a backup meets it.
pub(super) struct Present<'i> {
    claims: BTreeMap<&'i Attachment, &'i Stored<Claim>>,
    /// Attachments whose claim has fewer addresses than it wants.
    waiting: BTreeSet<&'i Attachment>,
    owners: BTreeMap<&'i DurableOwner, &'i OwnerState>,
    blocks: BTreeMap<&'i BlockKey, Bitmap>,
}

impl<'i> Present<'i> {
    pub(super) fn of(inventory: &'i Inventory) -> Self {
        let waiting = inventory
            .findings
            .iter()
            .filter_map(|finding| match finding {
                Finding::Waiting { attachment, .. } => Some(attachment),
                _ => None,
            });
        let blocks = inventory.blocks.iter();
        let mut blocks: BTreeMap<&BlockKey, Bitmap> =
            blocks.map(|(key, stored)| (key, stored.value)).collect();
        // A dead bit is cleared for whoever states its address.
        for finding in &inventory.findings {
            if let Finding::Dead { key, address, .. } = finding
                && let Some(bitmap) = blocks.get_mut(key)
            {
                bitmap.clear(address.bit());
            }
        }
        Self {
            claims: inventory
                .claims
                .iter()
                .map(|(one, claim)| (one, claim))
                .collect(),
            waiting: waiting.collect(),
            owners: inventory
                .owners
                .iter()
                .map(|(owner, state)| (owner, &state.value))
                .collect(),
            blocks,
        }
    }

    /// The claim of `attachment`, if it waits for an address.
    pub(super) fn waiting(&self, attachment: &Attachment) -> Option<&'i Stored<Claim>> {
        let claim = self.claims.get(attachment).copied()?;
        self.waiting.contains(attachment).then_some(claim)
    }

    /// The outcome for a durable request whose pod's name keeps something, unless its attachment has it already.
    fn foresee_kept(&self, ask: &Ask, stated: &[Held]) -> Option<Taken> {
        let owner = ask.durable_owner()?;
        Some(match self.owners.get(&owner)? {
            OwnerState::Resting { held, .. } if held == stated => Taken::Revived(held.clone()),
            OwnerState::Resting { held, .. } => Taken::Kept(owner, Kept::Unwanted(held.clone())),
            OwnerState::Attached(container) if *container == ask.attachment.container => {
                return None;
            }
            OwnerState::Attached(container) => {
                let holder = owner.attachment(container);
                Taken::Kept(owner, Kept::InUse(holder, None))
            }
        })
    }

    /// The outcome that `ask` would have. It states its addresses.
    pub(super) fn foresee(&self, ask: &Ask) -> Taken {
        let stated = stated(ask);
        if let Some(kept) = self.foresee_kept(ask, &stated) {
            return kept;
        }
        let own = self.claims.get(&ask.attachment).map(|claim| &claim.value);
        let mut kept: &[Held] = &[];
        if let Some(claim) = own {
            let is_part = claim.held.iter().all(|held| stated.contains(held));
            if !(self.waiting.contains(&ask.attachment) && is_part) {
                let is_met = ask.is_met_by(claim);
                return if is_met {
                    Taken::Held(claim.clone())
                } else {
                    Taken::HoldsOther(claim.clone())
                };
            }
            kept = &claim.held;
        }
        let is_taken = |held: &&Held| {
            let block = self.blocks.get(&held.slot());
            let is_set = block.is_some_and(|bitmap| bitmap.is_set(held.address.bit()));
            is_set && !kept.contains(held)
        };
        match stated.iter().find(is_taken) {
            Some(held) => Taken::Short(Shortage::Taken(held.clone())),
            None => Taken::Granted(stated),
        }
    }
}

fn stated(ask: &Ask) -> Vec<Held> {
    let held = ask.wants.iter().filter_map(|want| match want.choice {
        Choice::Exactly(address) => Some(Held {
            range: want.range.clone(),
            address,
        }),
        Choice::Lowest => None,
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use whereabouts_core::address::{Address, Family, Name, Pool};
    use whereabouts_core::claim::{Owner, RangeId, Want};
    use whereabouts_kubernetes::inventory::Death;

    use super::*;

    fn address(bit: u8) -> Address {
        Address::new(Family::V4, (10 << 24) + u128::from(bit)).expect("an address")
    }

    fn range() -> RangeId {
        RangeId {
            pool: Pool::default(),
            cidr: "10.0.0.0/24".parse().expect("a CIDR"),
        }
    }

    fn held(bit: u8) -> Held {
        Held {
            range: range(),
            address: address(bit),
        }
    }

    fn attachment(container: &str) -> Attachment {
        Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        }
    }

    fn stored<T>(value: T) -> Stored<T> {
        Stored {
            value,
            created: 1,
            modified: 1,
        }
    }

    fn claim(bits: &[u8]) -> Claim {
        Claim {
            held: bits.iter().copied().map(held).collect(),
            usable: Vec::new(),
            owner: Owner::default(),
            created: std::time::Duration::ZERO,
        }
    }

    fn ask(container: &str, bits: &[u8]) -> Ask {
        let want = |bit: &u8| Want {
            range: range(),
            usable: Vec::new(),
            choice: Choice::Exactly(address(*bit)),
        };
        Ask {
            attachment: attachment(container),
            wants: bits.iter().map(want).collect(),
            owner: Owner::default(),
            may_take_over: false,
        }
    }

    /// A claim that is whole, two that wait, and a dead bit.
    fn inventory() -> Inventory {
        let key = BlockKey::of(&Pool::default(), address(0));
        let mut bitmap = Bitmap::EMPTY;
        for bit in [1, 3, 9] {
            bitmap.set(bit);
        }
        let claims = [("whole", &[1][..]), ("empty", &[]), ("half", &[3])];
        let claims = claims.map(|(one, bits)| (attachment(one), stored(claim(bits))));
        let waits = |container| Finding::Waiting {
            attachment: attachment(container),
            uid: container.to_owned(),
            range: range(),
        };
        let dead = Finding::Dead {
            key: key.clone(),
            address: address(9),
            claim: "c".to_owned(),
            uid: "u".to_owned(),
            death: Death::NoClaim,
        };
        Inventory {
            revision: 1,
            claims: claims.into(),
            blocks: vec![(key, stored(bitmap))],
            findings: vec![waits("empty"), waits("half"), dead],
            ..Inventory::default()
        }
    }

    #[test]
    fn what_is_foreseen_is_what_a_claim_gets() {
        let inventory = inventory();
        let present = Present::of(&inventory);
        let foreseen = |container, bits: &[u8]| present.foresee(&ask(container, bits));
        let granted = |bits: &[u8]| Taken::Granted(claim(bits).held);
        let taken = |bit| Taken::Short(Shortage::Taken(held(bit)));
        assert_eq!(foreseen("whole", &[1]), Taken::Held(claim(&[1])));
        assert_eq!(foreseen("whole", &[2]), Taken::HoldsOther(claim(&[1])));
        assert_eq!(foreseen("new", &[2, 9]), granted(&[2, 9]));
        assert_eq!(foreseen("new", &[2, 1]), taken(1));
        assert_eq!(foreseen("empty", &[9]), granted(&[9]));
        assert_eq!(foreseen("empty", &[3]), taken(3));
        assert_eq!(foreseen("half", &[3, 9]), granted(&[3, 9]));
        assert_eq!(foreseen("half", &[4, 9]), Taken::HoldsOther(claim(&[3])));
    }

    #[test]
    fn what_an_owner_keeps_is_the_request_of_its_pod_alone() {
        let owner = DurableOwner {
            network: Name::new("net").expect("a name"),
            namespace: "ns".to_owned(),
            pod: "web-0".to_owned(),
            interface: "eth0".to_owned(),
        };
        let foreseen = |state: &OwnerState, container, bits: &[u8]| {
            let inventory = Inventory {
                owners: vec![(owner.clone(), stored(state.clone()))],
                ..inventory()
            };
            let mut ask = ask(container, bits);
            ask.owner = Owner {
                pod_namespace: Some("ns".to_owned()),
                pod_name: Some("web-0".to_owned()),
                is_durable: true,
                ..Owner::default()
            };
            Present::of(&inventory).foresee(&ask)
        };
        let since = std::time::Duration::ZERO;
        let resting = OwnerState::Resting {
            held: vec![held(3)],
            since,
        };
        let kept = |kept| Taken::Kept(owner.clone(), kept);
        assert_eq!(
            foreseen(&resting, "new", &[3]),
            Taken::Revived(vec![held(3)])
        );
        let unwanted = kept(Kept::Unwanted(vec![held(3)]));
        assert_eq!(foreseen(&resting, "new", &[4]), unwanted);
        let attached = OwnerState::Attached(attachment("whole").container);
        let in_use = kept(Kept::InUse(attachment("whole"), None));
        assert_eq!(foreseen(&attached, "new", &[1]), in_use);
        assert_eq!(foreseen(&attached, "whole", &[1]), Taken::Held(claim(&[1])));
    }

    #[test]
    fn a_claim_that_waits_is_released_and_no_other_one() {
        let inventory = inventory();
        let present = Present::of(&inventory);
        let waits = |container| present.waiting(&attachment(container)).is_some();
        let names = ["whole", "empty", "half", "new"];
        assert_eq!(names.map(waits), [false, true, true, false]);
    }
}
