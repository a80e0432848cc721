//! Names and labels of objects.
//!
//! | label | of | value |
//! | --- | --- | --- |
//! | `ipam.whereabouts.internal/network` | claim | the network |
//! | `ipam.whereabouts.internal/container` | claim | the container, unless the claim rests |
//! | `ipam.whereabouts.internal/node` | claim | the node, if it is known |
//! | `ipam.whereabouts.internal/pod-uid` | claim | the pod's UID, if it is known |
//! | `ipam.whereabouts.internal/durable` | durable claim | `true` |
//! | `current.ipam.whereabouts.internal/<block>` | claim | `round` of its block when the block became `current` |
//! | `ipam.whereabouts.internal/pool` | block | the pool's hash and the family |
//! | `ipam.whereabouts.internal/state` | block | `open` or `full` |
//! | `ipam.whereabouts.internal/p<length>` | block | the first `<length>` bits of its addresses, as hexadecimal digits |
//!
//! A text that cannot be a label's value, or begins as a hash does, is there as `h-` and its hash.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest, Sha256};
use whereabouts_core::address::{Address, BlockId, BlockKey, Family, Pool};
use whereabouts_core::claim::{Attachment, Owner};
use whereabouts_core::durable::DurableOwner;

use crate::GROUP;

/// Bytes of a label's value.
const LABEL_BYTES: usize = 63;

/// Lengths of prefixes in the labels of a block of IPv4.
const V4_LENGTHS: [u8; 5] = [8, 12, 16, 20, 24];

/// Lengths of prefixes in the labels of a block of IPv6.
const V6_LENGTHS: [u8; 9] = [32, 48, 64, 80, 96, 104, 112, 116, 120];

/// The label of a claim's network.
pub fn network() -> String {
    format!("{GROUP}/network")
}

/// The label of a claim's container.
pub fn container() -> String {
    format!("{GROUP}/container")
}

/// The label of a claim's node.
pub fn node() -> String {
    format!("{GROUP}/node")
}

/// The label of a claim's pod.
pub fn pod_uid() -> String {
    format!("{GROUP}/pod-uid")
}

/// The label of a durable claim.
pub fn durable() -> String {
    format!("{GROUP}/durable")
}

/// The label of a claim whose `current` holds this block.
pub fn current(block: &str) -> String {
    format!("current.{GROUP}/{block}")
}

/// The label of a block's pool and family.
pub fn pool() -> String {
    format!("{GROUP}/pool")
}

/// The label of a block's state.
pub fn state() -> String {
    format!("{GROUP}/state")
}

/// A block in which a search has to look, for a free address or for the next block.
pub const OPEN: &str = "open";

/// A block without a free address. The next block of a search exists.
pub const FULL: &str = "full";

/// The label of the first `length` bits of a block's addresses.
pub fn prefix(length: u8) -> String {
    format!("{GROUP}/p{length}")
}

/// `text` as the value of a label.
pub fn label_value(text: &str) -> String {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_value = bytes.len() <= LABEL_BYTES
        && bytes.iter().copied().all(is_inner)
        && is_end(bytes.first())
        && is_end(bytes.last())
        && !text.starts_with("h-");
    if is_value {
        text.to_owned()
    } else {
        format!("h-{}", hash(&[text], 16))
    }
}

/// The name of the claim of `attachment`, if no pod's name keeps its addresses.
pub fn claim(attachment: &Attachment) -> String {
    let Attachment {
        network,
        container,
        interface,
    } = attachment;
    let parts = [network.as_str(), container.as_str(), interface];
    format!("c-{}", hash(&parts, 16))
}

/// The name of the claim that keeps addresses for `owner`.
pub fn durable_claim(owner: &DurableOwner) -> String {
    let DurableOwner {
        network,
        namespace,
        pod,
        interface,
    } = owner;
    let parts = [network.as_str(), namespace, pod, interface];
    format!("d-{}", hash(&parts, 16))
}

/// The name of the claim of `attachment`, whose claim states `owner`.
pub fn stored_claim(attachment: &Attachment, owner: &Owner) -> String {
    let durable = DurableOwner::of(attachment, owner);
    durable.map_or_else(|| claim(attachment), |owner| durable_claim(&owner))
}

/// The name of a block.
pub fn block(key: &BlockKey) -> String {
    let family = key.block.family();
    let digits = usize::from(bits(family) / 4 - 2);
    let number = key.block.base().number() >> 8;
    format!(
        "v{}-{}-{number:0digits$x}",
        family.digit(),
        pool_hash(&key.pool)
    )
}

/// The value of the label of a pool and family.
pub fn pool_value(pool: &Pool, family: Family) -> String {
    format!("v{}-{}", family.digit(), pool_hash(pool))
}

fn pool_hash(pool: &Pool) -> String {
    let only = pool.only.as_ref().map(IpNet::to_string);
    let mark = |is_there: bool| if is_there { "1" } else { "0" };
    let parts = [
        mark(pool.name.is_some()),
        pool.name.as_deref().unwrap_or(""),
        mark(only.is_some()),
        only.as_deref().unwrap_or(""),
    ];
    hash(&parts, 8)
}

/// The labels of the prefixes of a block.
pub fn prefixes(block: BlockId) -> impl Iterator<Item = (String, String)> {
    let lengths = lengths(block.family());
    lengths
        .iter()
        .map(move |length| (prefix(*length), prefix_value(block.base(), *length)))
}

/// The lengths of the prefixes in the labels of a block, shortest first.
pub fn lengths(family: Family) -> &'static [u8] {
    match family {
        Family::V4 => &V4_LENGTHS,
        Family::V6 => &V6_LENGTHS,
    }
}

/// The value of the label of the first `length` bits of `address`.
pub fn prefix_value(address: Address, length: u8) -> String {
    let digits = usize::from(length / 4);
    let shifted = address.number() >> (bits(address.family()) - length);
    format!("{shifted:0digits$x}")
}

/// Bits of an address.
pub fn bits(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

/// The hash of `parts`, as so many bytes in hexadecimal digits. A length stands before each part, so that no two lists
/// of parts have one hash for that reason.
pub fn hash(parts: &[&str], bytes: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    digest
        .iter()
        .take(bytes)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The block that `name` names, in some pool.
pub fn block_of(name: &str) -> Option<BlockId> {
    let family = match name.get(..3)? {
        "v4-" => Family::V4,
        "v6-" => Family::V6,
        _ => return None,
    };
    let (_, digits) = name.rsplit_once('-')?;
    let number = u128::from_str_radix(digits, 16).ok()?;
    Address::new(family, number.checked_mul(256)?).map(BlockId::of)
}

/// The block whose lowest address is `base`, if it is one.
pub fn block_at(base: &str) -> Option<BlockId> {
    let address: Address = base.parse::<IpAddr>().ok()?.into();
    let block = BlockId::of(address);
    (block.base() == address).then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use whereabouts_core::address::Name;

    fn key(pool: &Pool, address: &str) -> BlockKey {
        let address: IpAddr = address.parse().expect("an address");
        BlockKey::of(pool, address.into())
    }

    #[test]
    fn a_block_is_named_by_pool_family_and_number() {
        let shared = Pool::default();
        assert_eq!(
            block(&key(&shared, "10.0.3.7")),
            format!("{}-0a0003", pool_value(&shared, Family::V4))
        );
        let v6 = block(&key(&shared, "fd00::1:0"));
        let expected = "-fd0000000000000000000000000100";
        assert!(v6.starts_with("v6-") && v6.ends_with(expected), "{v6}");
        assert!(v6.len() <= LABEL_BYTES, "it is the name of a label");
        assert_eq!(block_of(&v6), Some(key(&shared, "fd00::1:0").block));
        let other = Pool {
            name: Some(String::new()),
            only: None,
        };
        let only = Pool {
            name: None,
            only: "10.0.0.0/8".parse().ok(),
        };
        let pools = [shared, other, only];
        let names: Vec<_> = pools
            .iter()
            .map(|one| block(&key(one, "10.0.3.7")))
            .collect();
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
    }

    #[test]
    fn each_attachment_has_a_name_of_its_own() {
        let attachment = |network: &str, container: &str, interface: &str| Attachment {
            network: Name::new(network).expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: interface.to_owned(),
        };
        let one = claim(&attachment("a", "bc", "eth0"));
        assert_ne!(one, claim(&attachment("ab", "c", "eth0")));
        assert_ne!(one, claim(&attachment("a", "bc", ":")));
        assert_eq!(one.len(), 34);
    }

    #[test]
    fn a_label_has_the_text_itself_if_it_can() {
        assert_eq!(label_value("node-1.example"), "node-1.example");
        let long = "a".repeat(64);
        for text in ["", "a/b", "-a", "a-", "h-a", &long] {
            let value = label_value(text);
            assert!(value.starts_with("h-") && value.len() == 34, "{text}");
        }
    }

    #[test]
    fn prefixes_are_those_of_the_address() {
        let shared = Pool::default();
        let found: Vec<_> = prefixes(key(&shared, "10.1.35.9").block).collect();
        let values: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["0a", "0a0", "0a01", "0a012", "0a0123"]);
    }

    #[test]
    fn a_base_is_the_lowest_address_of_a_block() {
        assert!(block_at("10.0.1.0").is_some());
        assert_eq!(block_at("10.0.1.1"), None);
        assert_eq!(block_at("10.0.1"), None);
    }
}
