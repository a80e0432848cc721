//! The violations of invariants, in words.

use std::fmt;

use whereabouts_core::address::{Address, BlockKey, Pool, Refusal};
use whereabouts_core::claim::{Attachment, Held, Home};
use whereabouts_core::durable::DurableOwner;
use whereabouts_store::keys::Key;

/// A violation of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// This version cannot read a key or its value.
    Unreadable {
        /// The key.
        key: String,
        /// The reason.
        reason: String,
    },
    /// Two records hold one address of a pool.
    HeldTwice {
        /// The pool.
        pool: Pool,
        /// The address.
        address: Address,
        /// The first holder.
        one: Whose,
        /// The second holder.
        other: Whose,
    },
    /// A record holds an address that no attachment can have.
    Impossible {
        /// The address and its range.
        held: Held,
        /// The holder.
        holder: Whose,
        /// The reason why no attachment can have it.
        refusal: Refusal,
    },
    /// A held address is not marked as taken.
    NotMarked {
        /// The pool.
        pool: Pool,
        /// The address.
        address: Address,
        /// The holder.
        holder: Whose,
    },
    /// An address is marked as taken, but no attachment holds it.
    NotHeld {
        /// The pool.
        pool: Pool,
        /// The address.
        address: Address,
    },
    /// A block has both keys.
    OpenAndFull(BlockKey),
    /// A block under `open/` has no free bit.
    NoFreeBit(BlockKey),
    /// The last bit of a block is taken, but the next block does not exist.
    NoSuccessor(BlockKey),
    /// A claim has no entry by its node. Its node cannot collect it.
    NotOnNode {
        /// The home of the claim.
        home: Home,
        /// The attachment that has the claim.
        holder: Attachment,
    },
    /// An entry by a node has no claim.
    NoClaim {
        /// The home of the entry.
        home: Home,
        /// The attachment of the entry.
        attachment: Attachment,
    },
    /// The durable owner of a claim does not name its attachment. The end of the claim would free its addresses.
    NotOwned {
        /// The durable owner.
        owner: DurableOwner,
        /// The attachment that has the claim.
        holder: Attachment,
    },
    /// A durable owner names an attachment that has no claim of it. It keeps no address.
    KeepsNothing {
        /// The durable owner.
        owner: DurableOwner,
        /// The attachment that it names.
        attachment: Attachment,
    },
}

/// The record that holds an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The claim of an attachment.
    Attachment(Attachment),
    /// A durable owner at rest.
    Owner(DurableOwner),
}

impl Whose {
    /// The key of the record.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Attachment(attachment) => Key::Claim(attachment.clone()),
            Self::Owner(owner) => Key::Owner(owner.clone()),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attachment(attachment) => attachment.fmt(f),
            Self::Owner(owner) => write!(f, "the durable owner {owner}"),
        }
    }
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
            Self::Impossible {
                held,
                holder,
                refusal,
            } => {
                let Held { range, address } = held;
                write!(f, "{address} of range {range}, held by {holder}, {refusal}")
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
                    "{address} of pool {pool} is marked as taken, but no attachment holds it"
                )
            }
            Self::NotOnNode { home, holder } => {
                write!(
                    f,
                    "the claim of {holder} is missing among the claims of node {}",
                    home.node
                )
            }
            Self::NoClaim { home, attachment } => {
                write!(
                    f,
                    "node {} is said to have a claim of {attachment}, which does not exist there",
                    home.node
                )
            }
            Self::NotOwned { owner, holder } => {
                write!(
                    f,
                    "the durable owner {owner} does not name {holder}, whose addresses it keeps"
                )
            }
            Self::KeepsNothing { owner, attachment } => {
                write!(
                    f,
                    "the durable owner {owner} names {attachment}, which has no claim of it"
                )
            }
            Self::OpenAndFull(slot) => write!(f, "block {slot} is both open and full"),
            Self::NoFreeBit(slot) => write!(f, "block {slot} is open and has no free bit"),
            Self::NoSuccessor(slot) => {
                write!(
                    f,
                    "the last bit of block {slot} is taken, but the next block does not exist"
                )
            }
        }
    }
}
