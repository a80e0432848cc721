//! The plan of repairs for the findings of an audit. Pure: it writes nothing.
//!
//! The claims are the record; a repair makes blocks agree with them. If the right state is not
//! known, there is no repair: a value of another version stays, and a person decides about an
//! address with two holders. While a claim cannot be read, no address becomes free.
//!
//! A person can declare a value damaged. Then a block is rebuilt whatever its version, and a claim
//! is removed.

use std::collections::BTreeSet;
use std::fmt;

use crate::invariants::{Auditor, Block, Damaged, Finding, Holder, Unpaired};
use whereabouts_core::address::{Bitmap, BlockKey};
use whereabouts_core::claim::{Attachment, Home};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::limits;
use whereabouts_store::Revision;
use whereabouts_store::keys::Key;
use whereabouts_store::record;
use whereabouts_store::txn_builder::TxnBuilder;

/// One repair in one transaction. etcd refuses the transaction if its conditions no longer hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A repair that makes a block agree with the claims.
    Block(BlockRepair),
    /// The removal of a claim or a durable owner that cannot be read. Its addresses become free.
    Claim(Removal),
    /// A repair that makes the entries by nodes agree with the claims.
    Pair(Pairing),
    /// A repair that makes durable owners agree with the claims.
    Bind(Binding),
}

/// A change that makes a block agree with the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRepair {
    slot: BlockKey,
    was: Block,
    /// The values of the block that cannot be read. The repair replaces them.
    damage: Vec<Damaged>,
    now: Bitmap,
    /// The holders of the addresses that the repair marks as taken.
    holders: Vec<Holder>,
}

/// The removal of a claim or a durable owner that a person has declared damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    name: String,
    claim: Damaged,
}

/// The missing half of a claim and its entry by its node is written, or an entry without its claim is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    attachment: Attachment,
    home: Home,
    half: Unpaired,
}

/// The missing owner of a durable claim is written, or an owner without its claim is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    attachment: Attachment,
    owner: DurableOwner,
    half: Unpaired,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(repair) => repair.fmt(f),
            Self::Pair(pairing) => pairing.fmt(f),
            Self::Bind(binding) => binding.fmt(f),
            Self::Claim(Removal { name, claim }) => write!(
                f,
                "remove {} {name} of revision {}, whose value is \"{}\": the addresses that it holds become free",
                if matches!(claim.key, Key::Claim(_)) {
                    "claim"
                } else {
                    "owner"
                },
                claim.modified,
                claim.value
            ),
        }
    }
}

impl fmt::Display for BlockRepair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.was.marks(self.slot.block.family());
        let count = |one: Bitmap, other: Bitmap| {
            let bits = one.bits().filter(|bit| !other.is_set(*bit));
            bits.count()
        };
        let place = if self.is_full() { "full" } else { "open" };
        let slot = &self.slot;
        if let Some(damaged) = self.damage.first() {
            return write!(
                f,
                "rebuild block {slot} as {place} from its claims, instead of the value \"{}\": {} addresses marked as taken",
                damaged.value,
                self.now.count()
            );
        }
        let (taken, freed) = (count(self.now, before), count(before, self.now));
        write!(
            f,
            "write block {slot} as {place}: {taken} more addresses marked as taken, {freed} freed"
        )
    }
}

/// The repairs for the `findings` of `auditor`. A person has declared the values at the keys
/// `named` damaged.
pub fn plan(auditor: &Auditor, findings: &[Finding], named: &BTreeSet<String>) -> Vec<Repair> {
    let mut slots: BTreeSet<BlockKey> = auditor.damaged_blocks().cloned().collect();
    for finding in findings {
        match finding {
            // A person decides, or the auditor knows both halves.
            Finding::Unreadable { .. }
            | Finding::HeldTwice { .. }
            | Finding::Impossible { .. }
            | Finding::NotOnNode { .. }
            | Finding::NoClaim { .. }
            | Finding::NotOwned { .. }
            | Finding::KeepsNothing { .. } => {}
            Finding::NotMarked { pool, address, .. } | Finding::NotHeld { pool, address } => {
                slots.insert(BlockKey::of(pool, *address));
            }
            Finding::OpenAndFull(slot) | Finding::NoFreeBit(slot) => {
                slots.insert(slot.clone());
            }
            Finding::NoSuccessor(slot) => slots.extend(slot.successor()),
        }
    }
    let removals = named.iter().filter_map(|name| Removal::of(auditor, name));
    let blocks = slots
        .into_iter()
        .filter_map(|slot| BlockRepair::of(auditor, slot, named));
    let pairs = auditor.unpaired().map(|(attachment, home, half)| Pairing {
        attachment: attachment.clone(),
        home: home.clone(),
        half,
    });
    // An owner that exists and does not name the claim keeps something else: a person decides.
    let bindings = auditor
        .unbound()
        .filter(|(_, owner, half)| matches!(half, Unpaired::Other(_)) || !auditor.has_owner(owner))
        .map(|(attachment, owner, half)| Binding {
            attachment: attachment.clone(),
            owner: owner.clone(),
            half,
        });
    removals
        .map(Repair::Claim)
        .chain(blocks.map(Repair::Block))
        .chain(pairs.map(Repair::Pair))
        .chain(bindings.map(Repair::Bind))
        .collect()
}

impl Repair {
    /// Whether the repair loses no unreadable value.
    pub fn keeps_everything(&self) -> bool {
        match self {
            Self::Block(repair) => repair.damage.is_empty(),
            Self::Pair(_) | Self::Bind(_) => true,
            Self::Claim(_) => false,
        }
    }

    /// Adds the conditions and the writes of the repair to a transaction.
    pub(crate) fn write(&self, draft: &mut TxnBuilder<'_>) {
        match self {
            Self::Block(repair) => repair.write(draft),
            Self::Pair(pairing) => pairing.write(draft),
            Self::Bind(binding) => binding.write(draft),
            Self::Claim(Removal { claim, .. }) => {
                draft
                    .modified(&claim.key, claim.modified)
                    .delete(&claim.key);
            }
        }
    }
}

impl Pairing {
    /// Every transaction that puts or deletes a claim does the same to its entry. So the revision of the half that
    /// exists covers the other half.
    fn write(&self, draft: &mut TxnBuilder<'_>) {
        let claim = Key::Claim(self.attachment.clone());
        let entry = Key::OnNode(self.home.clone(), self.attachment.clone());
        match self.half {
            Unpaired::Claim(modified) => draft
                .modified(&claim, modified)
                .absent(&entry)
                .put(&entry, record::encode_on_node()),
            Unpaired::Other(modified) => draft.modified(&entry, modified).delete(&entry),
        };
    }
}

impl Binding {
    /// Every transaction that puts or deletes a durable claim writes its owner. Every transaction that writes an owner
    /// with an attachment deletes or puts its claim. So the revision of the half that exists covers the other half.
    fn write(&self, draft: &mut TxnBuilder<'_>) {
        let claim = Key::Claim(self.attachment.clone());
        let owner = Key::Owner(self.owner.clone());
        let state = OwnerState::Attached(self.attachment.container.clone());
        match self.half {
            Unpaired::Claim(modified) => draft
                .modified(&claim, modified)
                .absent(&owner)
                .put(&owner, record::encode_owner(&state)),
            Unpaired::Other(modified) => draft.modified(&owner, modified).delete(&owner),
        };
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            attachment,
            owner,
            half,
        } = self;
        match half {
            Unpaired::Claim(_) => write!(
                f,
                "write the durable owner {owner}, which names {attachment}"
            ),
            Unpaired::Other(_) => write!(
                f,
                "delete the durable owner {owner}, which names {attachment} and keeps nothing"
            ),
        }
    }
}

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            attachment,
            home: Home { node, .. },
            half,
        } = self;
        match half {
            Unpaired::Claim(_) => {
                write!(
                    f,
                    "enter the claim of {attachment} among those of node {node}"
                )
            }
            Unpaired::Other(_) => {
                write!(
                    f,
                    "delete the entry of node {node} for {attachment}, which has no claim there"
                )
            }
        }
    }
}

impl Removal {
    /// The removal of the claim or the owner `name`; `None` unless it cannot be read.
    fn of(auditor: &Auditor, name: &str) -> Option<Self> {
        let claim = auditor.damaged(name)?;
        matches!(claim.key, Key::Claim(_) | Key::Owner(_)).then(|| Self {
            name: name.to_owned(),
            claim: claim.clone(),
        })
    }
}

impl BlockRepair {
    /// The repair of the block; `None` if the block must stay as it is.
    fn of(auditor: &Auditor, slot: BlockKey, named: &BTreeSet<String>) -> Option<Self> {
        let damage = auditor.damage(&slot);
        let is_kept = |(key, damaged): (&&str, &&Damaged)| {
            damaged.may_be_of_other_version && !named.contains(*key)
        };
        // The readable claims do not tell the addresses of an unreadable claim.
        let is_unknown = !damage.is_empty() && auditor.has_unreadable_claim();
        if is_unknown || damage.iter().any(is_kept) {
            return None;
        }
        let was = auditor.block(&slot);
        let before = was.marks(slot.block.family());
        let mut now = if auditor.has_unreadable_claim() {
            before
        } else {
            Bitmap::EMPTY
        };
        let mut holders = Vec::new();
        for (address, holder) in auditor.holders(&slot) {
            // A process cannot write a block that it cannot read. So the block's revision covers
            // all of its claims.
            let is_new = damage.is_empty() && !before.is_set(address.bit());
            if address.ends_in_zero() || is_new && holders.len() >= limits::CLAIMS_PER_REPAIR {
                continue;
            }
            now.set(address.bit());
            if is_new {
                holders.push(holder.clone());
            }
        }
        let repair = Self {
            slot,
            was,
            damage: damage.into_values().cloned().collect(),
            now,
            holders,
        };
        (!repair.changes_nothing()).then_some(repair)
    }

    fn is_full(&self) -> bool {
        self.now.is_full(self.slot.block.family())
    }

    fn changes_nothing(&self) -> bool {
        let open = self.was.open.map(|(bitmap, _)| bitmap);
        match (open, self.was.full) {
            _ if !self.damage.is_empty() => false,
            (Some(bitmap), None) => !self.is_full() && bitmap == self.now,
            (None, Some(_)) => self.is_full(),
            (None, None) | (Some(_), Some(_)) => false,
        }
    }

    /// The revision of `key`, even if its value cannot be read.
    fn revision(&self, key: &Key, readable: Option<Revision>) -> Option<Revision> {
        let damaged = self.damage.iter().find(|damaged| damaged.key == *key);
        readable.or(damaged.map(|damaged| damaged.modified))
    }

    /// Adds the conditions and the writes of the repair to a transaction. A process that takes or
    /// frees an address also writes its block. So the block's revision covers all claims except
    /// those whose address the block does not mark yet.
    fn write(&self, draft: &mut TxnBuilder<'_>) {
        let (open, full) = (Key::Open(self.slot.clone()), Key::Full(self.slot.clone()));
        let opened = self.revision(&open, self.was.open.map(|(_, modified)| modified));
        let filled = self.revision(&full, self.was.full);
        for (key, modified) in [(&open, opened), (&full, filled)] {
            match modified {
                Some(modified) => draft.modified(key, modified),
                None => draft.absent(key),
            };
        }
        let claims: BTreeSet<(Key, Revision)> = self
            .holders
            .iter()
            .map(|holder| (holder.whose.key(), holder.modified))
            .collect();
        for (claim, modified) in claims {
            draft.modified(&claim, modified);
        }
        if self.is_full() {
            draft.put(&full, record::encode_full());
            if opened.is_some() {
                draft.delete(&open);
            }
        } else {
            draft.put(&open, record::encode_block(&self.now));
            if filled.is_some() {
                draft.delete(&full);
            }
        }
        if let Some(next) = self.slot.successor().filter(|_| self.now.reaches_the_end()) {
            let (open, full) = (Key::Open(next.clone()), Key::Full(next));
            draft.ensure(&open, &full, record::encode_block(&Bitmap::EMPTY));
        }
    }
}

#[cfg(test)]
mod tests;
