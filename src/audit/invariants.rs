//! The invariants of the store at every revision: the bits agree with the claims, and the search
//! finds every free address. Pure: it reads nothing and repairs nothing.

mod finding;

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{Address, Bitmap, BlockKey, Family, Pool};
use whereabouts_core::claim::{Attachment, Claim, Held, Home};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::escaped;
use whereabouts_core::limits;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::record::{self, RecordError};
use whereabouts_store::{Entry, Revision};

pub use finding::{Finding, Whose};

/// The result of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// The number of claims.
    pub claims: usize,
    /// The number of durable owners.
    pub owners: usize,
    /// The number of addresses that claims hold, and that durable owners keep at rest.
    pub addresses: usize,
    /// The number of blocks, open and full.
    pub blocks: usize,
    /// The number of bits set in the blocks.
    pub set_bits: usize,
    /// The number of locks, held or offered.
    pub locks: usize,
    /// The number of tickets in all queues.
    pub tickets: usize,
    /// The violations, in the order of keys.
    pub findings: Vec<Finding>,
}

/// Audits all entries below the prefix of `keys`, read at one revision.
pub fn audit<'e>(keys: &Keys, entries: impl IntoIterator<Item = &'e Entry>) -> Audit {
    let mut auditor = Auditor::default();
    for entry in entries {
        auditor.enter(keys, entry);
    }
    auditor.audit()
}

/// The entries that an audit needs, and the findings so far.
#[derive(Clone, Debug, Default)]
pub struct Auditor {
    /// The findings about single entries.
    found: Audit,
    /// Whether a claim or a durable owner, or a key that may be one's, cannot be read. Its addresses are then
    /// unknown.
    claim_unreadable: bool,
    /// Blocks and claims with a value that cannot be read, by their printed keys.
    damaged: BTreeMap<String, Damaged>,
    /// The blocks with an entry in `damaged`, and their printed keys.
    damaged_blocks: BTreeMap<BlockKey, BTreeSet<String>>,
    blocks: BTreeMap<BlockKey, Block>,
    holders: BTreeMap<(Pool, Address), Holder>,
    /// The attachments whose claim cannot be read.
    unread: BTreeSet<Attachment>,
    /// The claims without an entry by their node so far, and the entries without a claim.
    unpaired: BTreeMap<(Attachment, Home), Unpaired>,
    /// The durable claims whose owner does not name them so far, and the owners that name an attachment without a claim
    /// of theirs.
    unbound: BTreeMap<(Attachment, DurableOwner), Unpaired>,
    /// The durable owners, also those that cannot be read.
    owners: BTreeSet<DurableOwner>,
    /// The durable owners that cannot be read.
    unread_owners: BTreeSet<DurableOwner>,
}

/// Half of a pair, and the revision of its last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpaired {
    /// A claim.
    Claim(Revision),
    /// An entry by a node, or a durable owner.
    Other(Revision),
}

/// A block or a claim with a value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    /// The meaning of the key.
    pub(crate) key: Key,
    /// The revision of the last write.
    pub(crate) modified: Revision,
    /// The beginning of the value, as printed.
    pub(crate) value: String,
    /// Whether another version may have written the value and can read it.
    pub(crate) may_be_of_other_version: bool,
}

/// The state of a block under each of its two keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// The bitmap under `open/`, and the revision of its last write.
    pub(crate) open: Option<(Bitmap, Revision)>,
    /// The revision of the last write of the mark under `full/`.
    pub(crate) full: Option<Revision>,
}

/// The holder of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Whose record it is.
    pub(crate) whose: Whose,
    /// The revision of the record's last write.
    pub(crate) modified: Revision,
}

impl Block {
    /// The bits that either key marks as taken.
    pub(crate) fn marks(&self, family: Family) -> Bitmap {
        match (self.full, self.open) {
            (Some(_), _) => Bitmap::full(family),
            (None, Some((bitmap, _))) => bitmap,
            (None, None) => Bitmap::EMPTY,
        }
    }
}

/// Enters half of a pair. The second half takes the first one out.
fn pair<P: Ord>(halves: &mut BTreeMap<P, Unpaired>, place: P, half: Unpaired) {
    if halves.remove(&place).is_none() {
        halves.insert(place, half);
    }
}

impl Auditor {
    /// Adds one entry to the audit.
    pub fn enter(&mut self, keys: &Keys, entry: &Entry) {
        let text = || escaped::line(&String::from_utf8_lossy(&entry.key)).into_owned();
        let key = keys.decode(&entry.key);
        let result = match key.as_ref().map(Key::clone) {
            Ok(Key::Open(slot)) => record::decode_block(&entry.value).map(|bitmap| {
                if bitmap.is_full(slot.block.family()) {
                    self.found.findings.push(Finding::NoFreeBit(slot.clone()));
                }
                self.enter_block(&slot, bitmap);
                self.blocks.entry(slot).or_default().open = Some((bitmap, entry.modified));
            }),
            Ok(Key::Full(slot)) => record::decode_full(&entry.value).map(|()| {
                self.enter_block(&slot, Bitmap::full(slot.block.family()));
                self.blocks.entry(slot).or_default().full = Some(entry.modified);
            }),
            Ok(Key::Claim(attachment)) => {
                let claim = record::decode_claim(&entry.value);
                if claim.is_err() {
                    self.claim_unreadable = true;
                    self.unread.insert(attachment.clone());
                }
                claim.map(|claim| self.enter_claim(&attachment, entry.modified, &claim))
            }
            Ok(Key::OnNode(home, attachment)) => record::decode_on_node(&entry.value).map(|()| {
                pair(
                    &mut self.unpaired,
                    (attachment, home),
                    Unpaired::Other(entry.modified),
                );
            }),
            Ok(Key::Owner(owner)) => {
                self.owners.insert(owner.clone());
                self.found.owners += 1;
                let state = record::decode_owner(&entry.value);
                if state.is_err() {
                    self.claim_unreadable = true;
                    self.unread_owners.insert(owner.clone());
                }
                state.map(|state| self.enter_owner(owner, entry.modified, &state))
            }
            Ok(Key::Lock(_)) => {
                self.found.locks += 1;
                record::decode_lock(&entry.value).map(drop)
            }
            Ok(Key::Ticket(seat)) => {
                self.found.tickets += 1;
                record::decode_ticket(&seat, &entry.value).map(drop)
            }
            Ok(Key::Cluster) => record::decode_cluster(&entry.value).map(drop),
            Ok(Key::Network(_)) => record::decode_network(&entry.value).map(drop),
            Err(error) => {
                let mut records = [keys.claims(None), keys.owners(None)].into_iter();
                self.claim_unreadable |=
                    records.any(|(from, until)| (from..until).contains(&entry.key));
                let finding = Finding::Unreadable {
                    key: text(),
                    reason: error.reason.to_owned(),
                };
                self.found.findings.push(finding);
                return;
            }
        };
        if let (Err(error), Ok(key)) = (result, key) {
            self.enter_damaged(text(), key, entry, &error);
            let finding = Finding::Unreadable {
                key: text(),
                reason: error.to_string(),
            };
            self.found.findings.push(finding);
        }
    }

    fn enter_damaged(&mut self, text: String, key: Key, entry: &Entry, error: &RecordError) {
        match &key {
            Key::Open(slot) | Key::Full(slot) => {
                let keys = self.damaged_blocks.entry(slot.clone()).or_default();
                keys.insert(text.clone());
            }
            Key::Claim(_) | Key::Owner(_) => {}
            // Locks and tickets disappear once nobody waits. The entry by a node disappears with its claim. Only a
            // person decides about the identity of the cluster. The controller writes the statement of a network anew.
            Key::OnNode(..) | Key::Lock(_) | Key::Ticket(_) | Key::Cluster | Key::Network(_) => {
                return;
            }
        }
        let length = entry.value.len().min(limits::SHOWN_BYTES);
        let more = if entry.value.len() > length {
            "..."
        } else {
            ""
        };
        let damaged = Damaged {
            key,
            modified: entry.modified,
            value: format!("{}{more}", entry.value[..length].escape_ascii()),
            may_be_of_other_version: matches!(error, RecordError::Version(_)),
        };
        self.damaged.insert(text, damaged);
    }

    fn enter_block(&mut self, slot: &BlockKey, bitmap: Bitmap) {
        self.found.blocks += 1;
        self.found.set_bits += bitmap.bits().count();
        if self.blocks.contains_key(slot) {
            let finding = Finding::OpenAndFull(slot.clone());
            self.found.findings.push(finding);
        }
    }

    fn enter_claim(&mut self, attachment: &Attachment, modified: Revision, claim: &Claim) {
        self.found.claims += 1;
        if let Some(home) = claim.owner.home() {
            let place = (attachment.clone(), home);
            pair(&mut self.unpaired, place, Unpaired::Claim(modified));
        }
        if let Some(owner) = DurableOwner::of(attachment, &claim.owner) {
            let place = (attachment.clone(), owner);
            pair(&mut self.unbound, place, Unpaired::Claim(modified));
        }
        let whose = Whose::Attachment(attachment.clone());
        self.enter_held(&whose, modified, &claim.held);
    }

    fn enter_owner(&mut self, owner: DurableOwner, modified: Revision, state: &OwnerState) {
        match state {
            OwnerState::Attached(container) => {
                let place = (owner.attachment(container), owner);
                pair(&mut self.unbound, place, Unpaired::Other(modified));
            }
            OwnerState::Resting { held, .. } => {
                self.enter_held(&Whose::Owner(owner), modified, held);
            }
        }
    }

    fn enter_held(&mut self, whose: &Whose, modified: Revision, held: &[Held]) {
        for held in held {
            self.found.addresses += 1;
            if let Some(refusal) = held.refusal() {
                self.found.findings.push(Finding::Impossible {
                    held: held.clone(),
                    holder: whose.clone(),
                    refusal,
                });
            }
            let place = (held.range.pool.clone(), held.address);
            let holder = Holder {
                whose: whose.clone(),
                modified,
            };
            if let Some(other) = self.holders.insert(place, holder) {
                self.found.findings.push(Finding::HeldTwice {
                    pool: held.range.pool.clone(),
                    address: held.address,
                    one: other.whose,
                    other: whose.clone(),
                });
            }
        }
    }

    /// The claims without an entry by their node, and the entries without a claim. An entry stays while its claim cannot
    /// be read.
    pub(crate) fn unpaired(&self) -> impl Iterator<Item = (&Attachment, &Home, Unpaired)> {
        let halves = self.unpaired.iter();
        let halves = halves.filter(|((attachment, _), half)| {
            matches!(half, Unpaired::Claim(_)) || !self.unread.contains(attachment)
        });
        halves.map(|((attachment, home), half)| (attachment, home, *half))
    }

    /// The durable claims whose owner does not name them, and the owners whose attachment has no claim of theirs. A half
    /// stays while the other one cannot be read.
    pub(crate) fn unbound(&self) -> impl Iterator<Item = (&Attachment, &DurableOwner, Unpaired)> {
        let halves = self.unbound.iter();
        let halves = halves.filter(|((attachment, owner), half)| match half {
            Unpaired::Claim(_) => !self.unread_owners.contains(owner),
            Unpaired::Other(_) => !self.unread.contains(attachment),
        });
        halves.map(|((attachment, owner), half)| (attachment, owner, *half))
    }

    /// Whether there is a key of the durable owner.
    pub(crate) fn has_owner(&self, owner: &DurableOwner) -> bool {
        self.owners.contains(owner)
    }

    /// The result of the audit of all added entries.
    pub fn audit(&self) -> Audit {
        let mut audit = self.found.clone();
        for ((pool, address), holder) in &self.holders {
            let marks = self
                .block(&BlockKey::of(pool, *address))
                .marks(address.family());
            // The bit of an address that ends in .0 has no meaning.
            if !marks.is_set(address.bit()) && !address.ends_in_zero() {
                audit.findings.push(Finding::NotMarked {
                    pool: pool.clone(),
                    address: *address,
                    holder: holder.whose.clone(),
                });
            }
        }
        for (slot, block) in &self.blocks {
            let marks = block.marks(slot.block.family());
            for address in marks.bits().map(|bit| slot.block.address(bit)) {
                if !self.holders.contains_key(&(slot.pool.clone(), address)) {
                    audit.findings.push(Finding::NotHeld {
                        pool: slot.pool.clone(),
                        address,
                    });
                }
            }
        }
        let last_taken =
            |slot: &BlockKey, block: &Block| block.marks(slot.block.family()).reaches_the_end();
        for (slot, _) in self
            .blocks
            .iter()
            .filter(|(slot, block)| last_taken(slot, block))
        {
            let missing = |next| !self.blocks.contains_key(&next);
            if slot.successor().is_some_and(missing) {
                audit.findings.push(Finding::NoSuccessor(slot.clone()));
            }
        }
        for (attachment, home, half) in self.unpaired() {
            let (home, attachment) = (home.clone(), attachment.clone());
            audit.findings.push(match half {
                Unpaired::Claim(_) => Finding::NotOnNode {
                    home,
                    holder: attachment,
                },
                Unpaired::Other(_) => Finding::NoClaim { home, attachment },
            });
        }
        for (attachment, owner, half) in self.unbound() {
            let (owner, attachment) = (owner.clone(), attachment.clone());
            audit.findings.push(match half {
                Unpaired::Claim(_) => Finding::NotOwned {
                    owner,
                    holder: attachment,
                },
                Unpaired::Other(_) => Finding::KeepsNothing { owner, attachment },
            });
        }
        audit
    }

    /// The state of a block.
    pub(crate) fn block(&self, slot: &BlockKey) -> Block {
        self.blocks.get(slot).copied().unwrap_or_default()
    }

    /// The holders of the addresses of a block.
    pub(crate) fn holders(&self, slot: &BlockKey) -> impl Iterator<Item = (Address, &Holder)> {
        let first = (slot.pool.clone(), slot.block.address(0));
        let last = (slot.pool.clone(), slot.block.address(u8::MAX));
        let holders = self.holders.range(first..=last);
        holders.map(|((_, address), holder)| (*address, holder))
    }

    /// The values of the block that cannot be read, by their printed keys.
    pub(crate) fn damage(&self, slot: &BlockKey) -> BTreeMap<&str, &Damaged> {
        let keys = self.damaged_blocks.get(slot).into_iter().flatten();
        let damaged = keys.filter_map(|key| Some((key.as_str(), self.damaged.get(key)?)));
        damaged.collect()
    }

    /// The blocks with a value that cannot be read.
    pub(crate) fn damaged_blocks(&self) -> impl Iterator<Item = &BlockKey> {
        self.damaged_blocks.keys()
    }

    /// The block or the claim at the printed key, if its value cannot be read.
    pub(crate) fn damaged(&self, key: &str) -> Option<&Damaged> {
        self.damaged.get(key)
    }

    /// Whether a claim or a durable owner cannot be read. It may hold any address without another holder.
    pub(crate) fn has_unreadable_claim(&self) -> bool {
        self.claim_unreadable
    }
}
