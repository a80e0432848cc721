//! What must be true of the store at rest, at every revision: bits are claims, and the invariants
//! on which the search rests. Pure; it reads nothing and repairs nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::address::{Address, Bitmap, Pool, Slot};
use crate::claim::{Attachment, Claim};
use crate::store::Entry;
use crate::store::keys::{Key, Keys};
use crate::store::record;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Claims.
    pub claims: usize,
    /// Addresses that they hold.
    pub addresses: usize,
    /// Blocks, open and full.
    pub blocks: usize,
    /// Bits set in them.
    pub set_bits: usize,
    /// Tickets in all queues.
    pub tickets: usize,
    /// What is not as it must be, in the order of keys.
    pub findings: Vec<Finding>,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A key or its value cannot be read by this version.
    Unreadable {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// An address of a pool is held twice.
    HeldTwice {
        /// The pool.
        pool: Pool,
        /// The address.
        address: Address,
        /// One holder.
        one: Attachment,
        /// The other.
        other: Attachment,
    },
    /// A held address is not marked as taken.
    NotMarked {
        /// The pool.
        pool: Pool,
        /// The address.
        address: Address,
        /// The holder.
        holder: Attachment,
    },
    /// An address is marked as taken and nobody holds it.
    NotHeld {
        /// The pool.
        pool: Pool,
        /// The address.
        address: Address,
    },
    /// A block has both keys.
    OpenAndFull(Slot),
    /// A block stands under `open/` without a free bit.
    NoFreeBit(Slot),
    /// The last bit of a block is taken and the next block does not exist.
    NoSuccessor(Slot),
    /// A ticket has no lease, so that it would stay for ever.
    NoLease(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { key, reason } => write!(f, "{key} cannot be read: {reason}"),
            Self::HeldTwice {
                pool,
                address,
                one,
                other,
            } => {
                write!(
                    f,
                    "{address} of pool {pool} is held by {one} and by {other}"
                )
            }
            Self::NotMarked {
                pool,
                address,
                holder,
            } => {
                write!(
                    f,
                    "{address} of pool {pool}, held by {holder}, is not marked as taken"
                )
            }
            Self::NotHeld { pool, address } => {
                write!(
                    f,
                    "{address} of pool {pool} is marked as taken and nobody holds it"
                )
            }
            Self::OpenAndFull(slot) => write!(f, "block {slot} is both open and full"),
            Self::NoFreeBit(slot) => write!(f, "block {slot} is open and has no free bit"),
            Self::NoSuccessor(slot) => {
                write!(
                    f,
                    "the last bit of block {slot} is taken and the next block does not exist"
                )
            }
            Self::NoLease(key) => write!(f, "the ticket {key} has no lease"),
        }
    }
}

/// Goes through all entries below the prefix of `keys`, as they are at one revision.
pub fn audit<'e>(keys: &Keys, entries: impl IntoIterator<Item = &'e Entry>) -> Audit {
    let mut auditor = Auditor::default();
    for entry in entries {
        auditor.enter(keys, entry);
    }
    auditor.finish()
}

#[derive(Default)]
struct Auditor {
    audit: Audit,
    blocks: BTreeMap<Slot, Bitmap>,
    holders: BTreeMap<(Pool, Address), Attachment>,
}

impl Auditor {
    fn enter(&mut self, keys: &Keys, entry: &Entry) {
        let text = || String::from_utf8_lossy(&entry.key).into_owned();
        let result = match keys.decode(&entry.key) {
            Ok(Key::Open(slot)) => record::decode_block(&entry.value).map(|bitmap| {
                if bitmap.is_full(slot.block.family()) {
                    self.audit.findings.push(Finding::NoFreeBit(slot.clone()));
                }
                self.enter_block(slot, bitmap);
            }),
            Ok(Key::Full(slot)) => record::decode_full(&entry.value).map(|()| {
                let bitmap = Bitmap::full(slot.block.family());
                self.enter_block(slot, bitmap);
            }),
            Ok(Key::Claim(attachment)) => record::decode_claim(&entry.value)
                .map(|claim| self.enter_claim(&attachment, &claim)),
            Ok(Key::Ticket(_)) => {
                self.audit.tickets += 1;
                if entry.lease == 0 {
                    self.audit.findings.push(Finding::NoLease(text()));
                }
                record::decode_ticket(&entry.value).map(drop)
            }
            Err(error) => {
                let finding = Finding::Unreadable {
                    key: text(),
                    reason: error.reason.to_owned(),
                };
                self.audit.findings.push(finding);
                return;
            }
        };
        if let Err(error) = result {
            let finding = Finding::Unreadable {
                key: text(),
                reason: error.to_string(),
            };
            self.audit.findings.push(finding);
        }
    }

    fn enter_block(&mut self, slot: Slot, bitmap: Bitmap) {
        self.audit.blocks += 1;
        self.audit.set_bits += bitmap.bits().count();
        if self.blocks.insert(slot.clone(), bitmap).is_some() {
            self.audit.findings.push(Finding::OpenAndFull(slot));
        }
    }

    fn enter_claim(&mut self, attachment: &Attachment, claim: &Claim) {
        self.audit.claims += 1;
        for held in &claim.held {
            self.audit.addresses += 1;
            let place = (held.range.pool.clone(), held.address);
            if let Some(other) = self.holders.insert(place, attachment.clone()) {
                self.audit.findings.push(Finding::HeldTwice {
                    pool: held.range.pool.clone(),
                    address: held.address,
                    one: other,
                    other: attachment.clone(),
                });
            }
        }
    }

    fn finish(self) -> Audit {
        let Self {
            mut audit,
            blocks,
            holders,
        } = self;
        let is_marked = |pool: &Pool, address: Address| {
            blocks
                .get(&Slot::of(pool, address))
                .is_some_and(|bitmap| bitmap.is_set(address.bit()))
        };
        for ((pool, address), holder) in &holders {
            if !is_marked(pool, *address) {
                let (pool, holder) = (pool.clone(), holder.clone());
                audit.findings.push(Finding::NotMarked {
                    pool,
                    address: *address,
                    holder,
                });
            }
        }
        for (slot, bitmap) in &blocks {
            for address in bitmap.bits().map(|bit| slot.block.address(bit)) {
                if !holders.contains_key(&(slot.pool.clone(), address)) {
                    audit.findings.push(Finding::NotHeld {
                        pool: slot.pool.clone(),
                        address,
                    });
                }
            }
        }
        for (slot, _) in blocks.iter().filter(|(_, bits)| bits.reaches_the_end()) {
            let missing = |next| !blocks.contains_key(&next);
            if slot.successor().is_some_and(missing) {
                audit.findings.push(Finding::NoSuccessor(slot.clone()));
            }
        }
        audit
    }
}
