//! Objects that the protocol cannot rely on: a block whose place is not that of its name, and an object that is to go.
//!
//! A write drops finalizers. So a write of a block that is being deleted ends the block, with all of its bits.

use whereabouts_core::address::BlockKey;
use whereabouts_core::failure::Corrupt;

use crate::convert;
use crate::names;
use crate::object::{Block, Metadata, Object};
use crate::protocol::{Answer, Purpose};

/// `answer`, as a machine may use it. A block that has a defect keeps its bits: for a machine that clears, it is absent.
pub(crate) fn checked(purpose: Purpose, answer: Answer) -> Result<Answer, Corrupt> {
    match (defect_of(&answer), purpose) {
        // Whatever is wrong with a claim, it exists, and its bits stay.
        (Some(_), Purpose::SweepClaim) | (None, _) => Ok(answer),
        (Some(_), Purpose::SweepRead | Purpose::ClearRead) => Ok(Answer::Got(None)),
        (Some(defect), _) => Err(defect),
    }
}

fn defect_of(answer: &Answer) -> Option<Corrupt> {
    match answer {
        Answer::Got(object) => object.as_ref().and_then(defect),
        Answer::Listed(page) => page.items.iter().find_map(|object| match object {
            Object::Block(_) => defect(object),
            // A list of claims is of other attachments, too.
            Object::Claim(_) => None,
        }),
        _ => None,
    }
}

/// The reason why `object` cannot be relied on.
pub(crate) fn defect(object: &Object) -> Option<Corrupt> {
    let metadata = object.metadata();
    if metadata.deletion_timestamp.is_some() {
        let reason = "it is being deleted, and a finalizer keeps it: remove the finalizer";
        return Some(corrupt(object, metadata, reason.to_owned()));
    }
    let Object::Block(block) = object else {
        return None;
    };
    if place_of(block).is_some() {
        return None;
    }
    let base = &block.spec.base;
    let reason = format!("its pool and its base {base:?} are not those of its name");
    Some(corrupt(object, metadata, reason))
}

/// The place of a block; `None` if its pool and its base are not those of its name.
pub(crate) fn place_of(block: &Block) -> Option<BlockKey> {
    let pool = convert::pool(&block.spec.pool).ok()?;
    let id = names::block_at(&block.spec.base)?;
    let key = BlockKey { pool, block: id };
    (names::block(&key) == block.metadata.name).then_some(key)
}

fn corrupt(object: &Object, metadata: &Metadata, reason: String) -> Corrupt {
    Corrupt {
        key: format!("{} {}", object.kind().name(), metadata.name),
        reason,
    }
}
