//! The two kinds of objects, as they are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `AddressClaim`.
    Claim,
    /// `AddressBlock`.
    Block,
}

impl Kind {
    /// The kind, as `kind` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claim => "AddressClaim",
            Self::Block => "AddressBlock",
        }
    }

    /// The plural, as a path has it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Claim => "addressclaims",
            Self::Block => "addressblocks",
        }
    }
}

/// The metadata that the protocol uses. A write drops all other metadata, as annotations and finalizers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The identity of this object; another object of the same name has another one. The server gives it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The version. The server gives it, and only equality has a meaning.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// The time of the creation in whole seconds (RFC 3339, UTC). The server gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// The time from which the object is to go: it stays for the sake of a finalizer alone. The server gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// The labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// An object of either kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A claim.
    Claim(Claim),
    /// A block.
    Block(Block),
}

impl Object {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Claim(_) => Kind::Claim,
            Self::Block(_) => Kind::Block,
        }
    }

    /// The metadata.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Claim(claim) => &claim.metadata,
            Self::Block(block) => &block.metadata,
        }
    }

    /// The metadata, for the server that gives it.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::Claim(claim) => &mut claim.metadata,
            Self::Block(block) => &mut block.metadata,
        }
    }
}

/// `AddressClaim`: an attachment wants or holds addresses. The addresses themselves are bits of blocks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The metadata.
    pub metadata: Metadata,
    /// The content.
    pub spec: ClaimSpec,
}

/// The content of a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimSpec {
    /// `name` of the network configuration.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// The random number of the process that owns the claim now.
    pub attempt: String,
    /// The wanted addresses, in the order of the request; at least one.
    pub wants: Vec<ClaimWant>,
    /// The pod and the node of the attachment.
    #[serde(default)]
    pub owner: ClaimOwner,
    /// The time of the ADD by the clock of the node, in milliseconds since the Unix epoch. It is for people only.
    pub added_ms: u64,
    /// Whether the pod's name keeps the addresses after the end of the attachment. Its name is made of the pod's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub durable: bool,
    /// The time of the DEL, since which no attachment has the addresses, by the clock of the node. It is for people only.
    /// Absent while an attachment has them. `container` is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting_since_ms: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// One wanted address. A block is named by its object's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimWant {
    /// The pool.
    #[serde(default)]
    pub pool: PoolSpec,
    /// The canonical CIDR of the range.
    pub cidr: String,
    /// The block in which the address is or will be. A bit counts only there.
    pub current: String,
    /// The bits of `current` that may be given: intervals, both ends included, in the order of preference.
    pub windows: Vec<BitWindow>,
    /// The addresses that the range can give, as the ADD knew them: intervals in order, as `FIRST-LAST`. Absent if they are
    /// not known. No address depends on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usable: Vec<String>,
    /// The blocks that were given up. None of them comes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// Bits of a block, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BitWindow {
    /// The lowest bit.
    pub first: u8,
    /// The highest bit.
    pub last: u8,
}

/// An address space.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// `network_name`; absent for the shared pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The one CIDR of the pool, if ranges may not overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

/// The pod and the node of a claim; what is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimOwner {
    /// The node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The pod's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
    /// The pod's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The pod's UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The path of the network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// The id of the node's boot, a UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

/// `AddressBlock`: 256 aligned addresses of one pool and family, and the claims that hold them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// The metadata.
    pub metadata: Metadata,
    /// The content.
    pub spec: BlockSpec,
}

/// The content of a block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlockSpec {
    /// The pool.
    #[serde(default)]
    pub pool: PoolSpec,
    /// The lowest address.
    pub base: String,
    /// The number of writes that gave addresses. A claim tells it of its block in a label.
    pub round: u64,
    /// Hashes of intervals. A search of these intervals found that each of their blocks before this one exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached_by: Vec<String>,
    /// The taken addresses, lowest first. They are stored by their bits: so a policy finds one without a look at all others.
    #[serde(default, with = "by_bit")]
    pub taken: Vec<TakenBit>,
}

/// A taken address of a block, and the claim for which it was taken.
///
/// It is stored as one text below its bit: `CLAIM/UID`, and `/WANT` if the want is not the first one. Most of the
/// server's time for an ADD goes into the entries of a block. An object costs it about twice as much as a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TakenBit {
    /// The bit.
    pub bit: u8,
    /// The name of the claim.
    pub claim: String,
    /// The UID of the claim.
    pub uid: String,
    /// The index of the want in the claim.
    pub want: u8,
}

impl TakenBit {
    /// The stored text.
    pub fn stored(&self) -> String {
        let Self {
            claim, uid, want, ..
        } = self;
        match want {
            0 => format!("{claim}/{uid}"),
            want => format!("{claim}/{uid}/{want}"),
        }
    }

    /// The bit of a stored text.
    fn read(bit: u8, stored: &str) -> Option<Self> {
        let mut parts = stored.split('/');
        let (claim, uid) = (parts.next()?, parts.next()?);
        let want = parts.next().map_or(Some(0), |want| want.parse().ok())?;
        let taken = Self {
            bit,
            claim: claim.to_owned(),
            uid: uid.to_owned(),
            want,
        };
        let is_whole = !claim.is_empty() && !uid.is_empty();
        (is_whole && taken.stored() == stored).then_some(taken)
    }
}

/// Taken addresses as texts below their bits.
mod by_bit {
    use std::collections::BTreeMap;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use whereabouts_core::limits::SHOWN_CHARACTERS;

    use super::TakenBit;

    pub(super) fn serialize<S: Serializer>(
        taken: &[TakenBit],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(taken.iter().map(|taken| (taken.bit, taken.stored())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<TakenBit>, D::Error> {
        let by_bit = BTreeMap::<u8, String>::deserialize(deserializer)?;
        let read = |(bit, stored): (u8, String)| {
            TakenBit::read(bit, &stored).ok_or_else(|| {
                let shown: String = stored.chars().take(SHOWN_CHARACTERS).collect();
                D::Error::custom(format!(
                    "taken {bit} is not CLAIM/UID or CLAIM/UID/WANT: {shown}"
                ))
            })
        };
        by_bit.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_as_it_was_written_and_other_fields_are_refused() {
        let text = r#"{"metadata":{"name":"b","uid":"u","resourceVersion":"7"},"spec":{"pool":{},"base":"10.0.0.0","round":3,"taken":{"2":"c/v","10":"d/w/1"}}}"#;
        let block: Block = serde_json::from_str(text).expect("a block");
        assert_eq!(serde_json::to_string(&block).expect("JSON"), text);
        let newer = text.replace("\"round\"", "\"colour\":1,\"round\"");
        assert!(serde_json::from_str::<Block>(&newer).is_err());
        for wrong in ["", "d", "/w", "d/", "d/w/0", "d/w/01", "d/w/256", "d/w/1/1"] {
            let other = text.replace("d/w/1", wrong);
            assert!(serde_json::from_str::<Block>(&other).is_err(), "{wrong}");
        }
    }
}
