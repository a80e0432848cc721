//! The findings about an inventory, in words.

use std::fmt;

use whereabouts_core::address::{Address, BlockKey, Pool, Refusal};
use whereabouts_core::claim::{Attachment, Held, RangeId};
use whereabouts_core::failure::Corrupt;

/// Something that is wrong, or that a process has not ended yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No process can rely on an object.
    Unusable(Corrupt),
    /// A taken bit whose claim does not hold it.
    Dead {
        /// The block.
        key: BlockKey,
        /// The address of the bit.
        address: Address,
        /// The name of the claim in the bit.
        claim: String,
        /// The UID of the claim in the bit.
        uid: String,
        /// The reason why it is dead.
        death: Death,
    },
    /// A second bit of one want. The claim holds the first one.
    Spare {
        /// The pool.
        pool: Pool,
        /// The address of the bit.
        address: Address,
        /// The name of the claim.
        claim: String,
    },
    /// A claim has no address of a range yet.
    Waiting {
        /// The attachment that has the claim.
        attachment: Attachment,
        /// The UID of the claim.
        uid: String,
        /// The range.
        range: RangeId,
    },
    /// A claim holds an address that no attachment can have.
    Impossible {
        /// The address and its range.
        held: Held,
        /// The holder.
        holder: Attachment,
        /// The reason why no attachment can have it.
        refusal: Refusal,
    },
    /// The labels of an object do not say what the object says, so lists by label miss it.
    Mislabelled {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A block with a free address is marked as full, so no search looks at it.
    Hidden(BlockKey),
}

/// The reason why a bit is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The claim does not exist.
    NoClaim,
    /// A later claim has its name, and an address of its own.
    OtherClaim,
    /// The claim was deleted and created anew, as by a restore, and waits for this bit.
    CreatedAnew,
    /// The same, but it may wait for another bit as well, so nobody gives it one.
    OneOfSeveral,
    /// The claim has another current block.
    Left,
}

impl Finding {
    /// Whether an ADD or a DEL makes this for a moment. Two inventories tell: a process needs seconds at most.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Dead { .. } | Self::Waiting { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(corrupt) => corrupt.fmt(f),
            Self::Dead {
                key,
                address,
                claim,
                death,
                ..
            } => {
                let pool = &key.pool;
                write!(
                    f,
                    "{address} of pool {pool} is marked as taken for AddressClaim {claim}, {death}"
                )
            }
            Self::Spare {
                pool,
                address,
                claim,
            } => write!(
                f,
                "{address} of pool {pool} is marked as taken for AddressClaim {claim}, which already has the address that it wants"
            ),
            Self::Waiting {
                attachment, range, ..
            } => write!(
                f,
                "the claim of {attachment} has no address of range {range}: its ADD goes on, or was killed"
            ),
            Self::Impossible {
                held,
                holder,
                refusal,
            } => {
                let Held { range, address } = held;
                write!(f, "{address} of range {range}, held by {holder}, {refusal}")
            }
            Self::Mislabelled { kind, name } => write!(
                f,
                "the labels of {kind} {name} are not those of its content: lists by label do not have it"
            ),
            Self::Hidden(key) => write!(
                f,
                "block {key} is marked as full and has a free address, which no ADD finds"
            ),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoClaim => "which does not exist",
            Self::OtherClaim => "but a later claim has this name",
            Self::CreatedAnew => "which was created anew, as by a restore, and waits for it",
            Self::OneOfSeveral => {
                "which was created anew, and may wait for another taken address as well"
            }
            Self::Left => "which has left this block",
        })
    }
}
