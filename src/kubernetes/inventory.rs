//! All claims and blocks at one revision, as what the core knows, and everything that is wrong with them. Pure.
//!
//! A tool shows an inventory, checks it, and writes it to a backup. No ADD and no DEL reads one.

mod finding;

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Address, Bitmap, BlockKey};
use whereabouts_core::allocator::{Revision, Stored};
use whereabouts_core::claim::{Attachment, Claim as CoreClaim};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::Corrupt;

use crate::convert;
use crate::names;
use crate::object::{Block, Claim, ClaimWant, Metadata, Object, TakenBit};
use crate::protocol::blocks;
use crate::rebind::Heir;
use crate::sound;

pub use finding::{Death, Finding};

/// All claims and blocks, at one revision.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The revision.
    pub revision: Revision,
    /// The claims, each with the addresses whose bits are set for it. A claim that waits has fewer than it wants, or none.
    pub claims: Vec<(Attachment, Stored<CoreClaim>)>,
    /// The durable owners, in no order. The claim of one perhaps waits, as a claim of `claims` does.
    pub owners: Vec<(DurableOwner, Stored<OwnerState>)>,
    /// The taken bits of the blocks.
    pub blocks: Vec<(BlockKey, Stored<Bitmap>)>,
    /// The attachments whose claims are being deleted, while a finalizer keeps them. Nobody can release such a claim.
    pub ending: BTreeSet<Attachment>,
    /// Everything that is wrong, or that a process has not ended yet.
    pub findings: Vec<Finding>,
}

impl Inventory {
    /// The durable owners that keep an address.
    pub fn keepers(&self) -> impl Iterator<Item = &(DurableOwner, Stored<OwnerState>)> {
        let claims = self.claims.iter();
        let bare = claims.filter(|(_, claim)| claim.value.held.is_empty());
        let bare: BTreeSet<&Attachment> = bare.map(|(attachment, _)| attachment).collect();
        self.owners
            .iter()
            .filter(move |(owner, state)| match &state.value {
                OwnerState::Resting { held, .. } => !held.is_empty(),
                OwnerState::Attached(container) => !bare.contains(&owner.attachment(container)),
            })
    }

    /// The objects that this version cannot use. The inventory has no claim and no block for them.
    pub fn unusable(&self) -> impl Iterator<Item = &Corrupt> {
        self.findings.iter().filter_map(|finding| match finding {
            Finding::Unusable(corrupt) => Some(corrupt),
            _ => None,
        })
    }
}

/// A taken bit, and the name of its block.
type Bit = (String, TakenBit);

/// An inventory under way: all blocks first, then one claim after the other.
pub(crate) struct Collector {
    blocks: BTreeMap<String, Block>,
    /// Blocks that have a finding and no entry.
    unusable: BTreeSet<String>,
    /// Wants, each by the UID of its claim, whose bits an earlier claim of the name has.
    heirs: BTreeSet<(String, u8)>,
    /// Bits of claims that were not entered yet, by the names of the claims.
    bits: BTreeMap<String, Vec<Bit>>,
    inventory: Inventory,
}

impl Collector {
    /// The inventory of `blocks`, without a claim.
    pub(crate) fn of(blocks: Vec<Block>) -> Self {
        let mut collector = Self {
            blocks: BTreeMap::new(),
            unusable: BTreeSet::new(),
            heirs: BTreeSet::new(),
            bits: BTreeMap::new(),
            inventory: Inventory::default(),
        };
        for block in blocks {
            collector.enter_block(block);
        }
        collector
    }

    fn enter_block(&mut self, block: Block) {
        let name = block.metadata.name.clone();
        let block = Block::from(self.noting_defect(Object::Block(block)));
        let Some(key) = sound::place_of(&block) else {
            self.unusable.insert(name);
            return;
        };
        self.find_block(&key, &block);
        for taken in &block.spec.taken {
            let of_claim = self.bits.entry(taken.claim.clone()).or_default();
            of_claim.push((name.clone(), taken.clone()));
        }
        let bitmap = convert::stored(block.bitmap(), &block.metadata);
        self.inventory.blocks.push((key, bitmap));
        self.blocks.insert(name, block);
    }

    /// Finds a block that no search can find, or in which no search looks.
    fn find_block(&mut self, key: &BlockKey, block: &Block) {
        let expected = blocks::absent(key).metadata.labels;
        let stored = &block.metadata.labels;
        if expected
            .iter()
            .any(|(key, value)| stored.get(key) != Some(value))
        {
            self.find_mislabelled("AddressBlock", &block.metadata);
        }
        if block.is_marked_full() && !block.has_no_free_bit() {
            self.find(Finding::Hidden(key.clone()));
        }
    }

    /// Adds a claim. Each claim is added once.
    pub(crate) fn enter(&mut self, claim: Claim) {
        let claim = &Claim::from(self.noting_defect(Object::Claim(claim)));
        let bits = self.bits.remove(&claim.metadata.name).unwrap_or_default();
        for (block, taken) in bits {
            self.find_bit(claim, &block, &taken);
        }
        if let Err(corrupt) = self.enter_usable(claim) {
            self.find(Finding::Unusable(corrupt));
        }
    }

    fn enter_usable(&mut self, claim: &Claim) -> Result<(), Corrupt> {
        let attachment = convert::attachment(claim)?;
        let read = convert::claim(claim, &self.blocks)?;
        if names::stored_claim(&attachment, &read.claim.owner) != claim.metadata.name {
            return Err(Corrupt {
                key: format!("AddressClaim {}", claim.metadata.name),
                reason: "its name is not that of its attachment or pod".to_owned(),
            });
        }
        if claim.metadata.deletion_timestamp.is_some() {
            self.inventory.ending.insert(attachment.clone());
        }
        let mut described = claim.clone();
        described.label_description();
        if described.metadata.labels != claim.metadata.labels {
            self.find_mislabelled("AddressClaim", &claim.metadata);
        }
        for held in &read.claim.held {
            if let Some(refusal) = held.refusal() {
                self.find(Finding::Impossible {
                    held: held.clone(),
                    holder: attachment.clone(),
                    refusal,
                });
            }
        }
        for (index, want) in (0..).zip(&claim.spec.wants) {
            if self.waits(claim, index, want) {
                self.find(Finding::Waiting {
                    attachment: attachment.clone(),
                    uid: claim.metadata.uid.clone(),
                    range: convert::range(want).expect("the claim was converted"),
                });
            }
        }
        if claim.spec.durable {
            let owner = convert::durable_owner(claim)?;
            let state = convert::owner_state(claim, read.claim.clone())?;
            let state = convert::stored(state, &claim.metadata);
            self.inventory.owners.push((owner, state));
        }
        if !claim.is_resting() {
            let stored = convert::stored(read.claim, &claim.metadata);
            self.inventory.claims.push((attachment, stored));
        }
        Ok(())
    }

    /// Whether a want has no bit, not even that of an earlier claim, and its block is known.
    fn waits(&self, claim: &Claim, index: u8, want: &ClaimWant) -> bool {
        let block = self.blocks.get(&want.current);
        let bit = block.and_then(|block| block.bit_of(&claim.metadata.uid, index));
        let is_heir = self.heirs.contains(&(claim.metadata.uid.clone(), index));
        bit.is_none() && !is_heir && !self.unusable.contains(&want.current)
    }

    /// Finds a bit for the name of `claim` that is not its own, or not the only one of its want.
    fn find_bit(&mut self, claim: &Claim, block: &str, taken: &TakenBit) {
        let want = claim.spec.wants.get(usize::from(taken.want));
        let heir = claim.heir_of(taken, &self.blocks[block]);
        if let Some(Heir::Of(_)) = heir {
            self.heirs.insert((claim.metadata.uid.clone(), taken.want));
            self.find_dead(block, taken, Death::CreatedAnew);
        } else if let Some(Heir::OfOneOfSeveral) = heir {
            self.find_dead(block, taken, Death::OneOfSeveral);
        } else if claim.metadata.uid != taken.uid {
            self.find_dead(block, taken, Death::OtherClaim);
        } else if want.is_none_or(|want| want.current != block) {
            self.find_dead(block, taken, Death::Left);
        } else if self.blocks[block].bit_of(&taken.uid, taken.want) != Some(taken.bit) {
            let (key, address) = self.place(block, taken);
            self.find(Finding::Spare {
                pool: key.pool,
                address,
                claim: taken.claim.clone(),
            });
        }
    }

    fn find_dead(&mut self, block: &str, taken: &TakenBit, death: Death) {
        let (key, address) = self.place(block, taken);
        self.find(Finding::Dead {
            key,
            address,
            claim: taken.claim.clone(),
            uid: taken.uid.clone(),
            death,
        });
    }

    fn place(&self, block: &str, taken: &TakenBit) -> (BlockKey, Address) {
        let key = sound::place_of(&self.blocks[block]).expect("it was entered with one");
        let address = key.block.address(taken.bit);
        (key, address)
    }

    fn find_mislabelled(&mut self, kind: &'static str, metadata: &Metadata) {
        let name = metadata.name.clone();
        self.find(Finding::Mislabelled { kind, name });
    }

    /// The object itself. Its defect becomes a finding.
    fn noting_defect(&mut self, object: Object) -> Object {
        if let Some(corrupt) = sound::defect(&object) {
            self.find(Finding::Unusable(corrupt));
        }
        object
    }

    fn find(&mut self, finding: Finding) {
        self.inventory.findings.push(finding);
    }

    /// The inventory at `revision`, once all claims are entered.
    pub(crate) fn end(mut self, revision: &str) -> Inventory {
        for (block, taken) in std::mem::take(&mut self.bits).into_values().flatten() {
            self.find_dead(&block, &taken, Death::NoClaim);
        }
        self.inventory.revision = convert::revision(revision);
        self.inventory
    }
}
