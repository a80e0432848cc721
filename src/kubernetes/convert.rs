//! Objects as what the core knows: attachments, claims and addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use whereabouts_core::address::{BlockKey, Interval, Name, Pool};
use whereabouts_core::allocator::{Revision, Stored};
use whereabouts_core::claim::{Attachment, Claim as CoreClaim, Held, Owner, RangeId};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::Corrupt;

use crate::names;
use crate::object::{Block, Claim, ClaimWant, Metadata, PoolSpec};

/// A claim as the core knows it.
pub(crate) struct Read {
    pub(crate) claim: CoreClaim,
    /// Whether each want has its address.
    pub(crate) is_complete: bool,
}

/// The attachment of a claim.
pub(crate) fn attachment(claim: &Claim) -> Result<Attachment, Corrupt> {
    let spec = &claim.spec;
    let name = |text: &str| {
        Name::new(text).map_err(|error| corrupt(claim, format!("the name {text:?} {error}")))
    };
    Ok(Attachment {
        network: name(&spec.network)?,
        container: name(&spec.container)?,
        interface: spec.interface.clone(),
    })
}

/// The pod's name that keeps the addresses of a durable claim.
pub(crate) fn durable_owner(claim: &Claim) -> Result<DurableOwner, Corrupt> {
    let last = attachment(claim)?;
    let owner = owner(claim).map_err(|reason| corrupt(claim, reason))?;
    let named = DurableOwner::of(&last, &owner);
    named.ok_or_else(|| corrupt(claim, "a durable claim names no pod".to_owned()))
}

/// The state of a durable owner whose claim was read as `read`.
pub(crate) fn owner_state(claim: &Claim, read: CoreClaim) -> Result<OwnerState, Corrupt> {
    Ok(match claim.spec.resting_since_ms {
        Some(since) => OwnerState::Resting {
            held: read.held,
            since: Duration::from_millis(since),
        },
        None => OwnerState::Attached(attachment(claim)?.container),
    })
}

/// The claim with the addresses whose bits are in `blocks`.
pub(crate) fn claim(claim: &Claim, blocks: &BTreeMap<String, Block>) -> Result<Read, Corrupt> {
    let (mut held, mut usable) = (Vec::new(), Vec::new());
    for (index, want) in (0..).zip(&claim.spec.wants) {
        let range = range(want).map_err(|reason| corrupt(claim, reason))?;
        // No address depends on it, so a wrong text is no reason to keep a claim from its DEL.
        let known = intervals(want, &range).unwrap_or_default();
        let block = blocks.get(&want.current);
        let bit = block.and_then(|block| block.bit_of(&claim.metadata.uid, index));
        if let Some((block, bit)) = block.zip(bit) {
            let base = names::block_at(&block.spec.base).ok_or_else(|| Corrupt {
                key: block.metadata.name.clone(),
                reason: format!("{:?} is not the lowest address of a block", block.spec.base),
            })?;
            let address = base.address(bit);
            held.push(Held { range, address });
            usable.push(known);
        }
    }
    let is_complete = held.len() == claim.spec.wants.len();
    let owner = owner(claim).map_err(|reason| corrupt(claim, reason))?;
    let created = Duration::from_millis(claim.spec.added_ms);
    let claim = CoreClaim {
        held,
        usable,
        owner,
        created,
    };
    Ok(Read { claim, is_complete })
}

/// A value, with its version as a revision. Only the equality of two revisions has a meaning.
pub(crate) fn stored<T>(value: T, metadata: &Metadata) -> Stored<T> {
    let modified = revision(&metadata.resource_version);
    Stored {
        value,
        created: modified,
        modified,
    }
}

/// A version as a number. Servers give decimal numbers, and need not.
pub(crate) fn revision(version: &str) -> Revision {
    version.parse().unwrap_or_else(|_| {
        let digits = names::hash(&[version], 7);
        Revision::from_str_radix(&digits, 16).expect("14 hexadecimal digits have 56 bits")
    })
}

/// A time as the milliseconds of a claim.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The block of a want, by its name.
pub(crate) fn key_of(want: &ClaimWant) -> Option<BlockKey> {
    let pool = pool(&want.pool).ok()?;
    let block = names::block_of(&want.current)?;
    Some(BlockKey { pool, block })
}

pub(crate) fn range(want: &ClaimWant) -> Result<RangeId, String> {
    let cidr = want.cidr.parse();
    Ok(RangeId {
        pool: pool(&want.pool)?,
        cidr: cidr.map_err(|_| format!("{:?} is not a CIDR", want.cidr))?,
    })
}

/// The usable addresses of a range, as a want states them.
fn intervals(want: &ClaimWant, range: &RangeId) -> Result<Vec<Interval>, String> {
    let parsed = want.usable.iter().map(|text| text.parse());
    let usable = parsed.collect::<Result<Vec<Interval>, String>>()?;
    let whole = Interval::of(range.cidr);
    let is_inside = |one: &Interval| whole.contains(one.first()) && whole.contains(one.last());
    let mut pairs = usable.windows(2);
    let are_apart = pairs.all(|pair| pair[0].last() < pair[1].first());
    if are_apart && usable.iter().all(is_inside) {
        Ok(usable)
    } else {
        let reason = "the usable intervals are not in order, or leave the range";
        Err(format!("{reason} {}", range.cidr))
    }
}

pub(crate) fn pool(pool: &PoolSpec) -> Result<Pool, String> {
    let only = pool.only.as_ref().map(|cidr| {
        let parsed = cidr.parse();
        parsed.map_err(|_| format!("{cidr:?} is not a CIDR"))
    });
    Ok(Pool {
        name: pool.name.clone(),
        only: only.transpose()?,
    })
}

fn owner(claim: &Claim) -> Result<Owner, String> {
    let owner = &claim.spec.owner;
    let boot = owner.boot.as_ref().map(|boot| {
        let parsed = boot.parse();
        parsed.map_err(|reason: &str| format!("the id of the boot {boot:?} {reason}"))
    });
    Ok(Owner {
        node: owner.node.clone(),
        pod_namespace: owner.pod_namespace.clone(),
        pod_name: owner.pod_name.clone(),
        pod_uid: owner.pod_uid.clone(),
        netns: owner.netns.clone(),
        boot: boot.transpose()?,
        is_durable: claim.spec.durable,
    })
}

/// The failure for a current block whose name says nothing.
pub(crate) fn no_block(claim: &Claim, name: &str) -> Corrupt {
    corrupt(claim, format!("{name:?} is not the name of a block"))
}

fn corrupt(claim: &Claim, reason: String) -> Corrupt {
    Corrupt {
        key: format!("AddressClaim {}", claim.metadata.name),
        reason,
    }
}
