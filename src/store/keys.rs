//! The keys of the store: what each means, how long it lives, and how it is written.
//!
//! Every part of a key is percent-encoded (RFC 3986, section 2.1), so that none contains `/`.
//! Addresses are lower-case hexadecimal of fixed width, so that the order of keys is the order of
//! addresses. A decoded key encodes to the same bytes.

mod seat;

use std::borrow::Cow;

use ipnet::IpNet;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode, percent_encode};

pub use self::seat::{QueuedVerb, Seat, Spot, TicketId};
use super::{Order, Read};
use whereabouts_core::address::{Address, BlockId, BlockKey, Family, Name, Pool};
use whereabouts_core::claim::{Attachment, Home, RangeId};
use whereabouts_core::durable::DurableOwner;
use whereabouts_core::limits;
use whereabouts_core::network::DefinitionName;

/// The unreserved characters of RFC 3986, section 2.3 stay as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A key, by meaning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `open/<pool>/<family>/<block base>`: the bitmap of a block in which some range could still
    /// be given a bit. Moves to `full/` when none is left, and is never deleted otherwise.
    Open(BlockKey),
    /// `full/<pool>/<family>/<block base>`: the bitmap of a block in which none is left. Moves to
    /// `open/` when a bit is freed.
    Full(BlockKey),
    /// `claim/<network>/<container id>/<ifname>`: a [`whereabouts_core::claim::Claim`]. Lives until DEL, GC or
    /// release.
    Claim(Attachment),
    /// `node/<node>/<network>/<pod UID>/<container id>/<ifname>`: says that the attachment has a claim whose home this
    /// is. Lives as long as the claim. A claim without a known node has none.
    OnNode(Home, Attachment),
    /// `owner/<network>/<namespace>/<pod>/<ifname>`: an [`OwnerState`](whereabouts_core::durable::OwnerState). Lives until
    /// the controller or a person ends it.
    Owner(DurableOwner),
    /// `network/<namespace>/<name>`: what a NetworkAttachmentDefinition states of its ranges, as
    /// [`StatedRange`](whereabouts_core::network::StatedRange)s. The controller writes it for readers. Lives as long as that
    /// object.
    Network(DefinitionName),
    /// `lock/<pool>/<range id>`: a [`super::record::Lock`]. Lives as long as
    /// somebody holds it, and as the holder's lease at most; or is offered to who waits.
    Lock(RangeId),
    /// `queue/<pool>/<range id>/<seat>/<verb>`, or `queue/<pool>/<range id>/<network>/<container
    /// id>/<ifname>/<verb>`: a [`super::record::Ticket`]. Lives until the request is decided.
    Ticket(Seat),
    /// `cluster`: the [`Identity`](whereabouts_core::identity::Identity) of the cluster that the store belongs to. Stays for
    /// good.
    Cluster,
}

/// Why some bytes are not a key of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is not a key of this version: {reason}")]
pub struct KeyError {
    /// The bytes, as text.
    pub key: String,
    /// The reason.
    pub reason: &'static str,
}

/// Writes and reads keys below one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Keys below `prefix` (`etcd_prefix`), to which a `/` is added where it does not end in one.
    pub fn new(prefix: &str) -> Self {
        let slash = if prefix.ends_with('/') { "" } else { "/" };
        Self {
            prefix: format!("{prefix}{slash}"),
        }
    }

    /// The bytes of `key`.
    pub fn encode(&self, key: &Key) -> Vec<u8> {
        let text = match key {
            Key::Open(slot) => self.block("open", slot),
            Key::Full(slot) => self.block("full", slot),
            Key::Claim(attachment) => {
                format!("{}claim/{}", self.prefix, encode_attachment(attachment))
            }
            Key::OnNode(home, attachment) => self.on_node(home, attachment),
            Key::Owner(owner) => self.owner(owner),
            Key::Network(DefinitionName { namespace, name }) => {
                format!(
                    "{}network/{}/{}",
                    self.prefix,
                    encode(namespace),
                    encode(name)
                )
            }
            Key::Lock(queue) => self.of_range("lock", queue),
            Key::Ticket(Seat { queue, spot, verb }) => {
                let (queue, verb) = (self.of_range("queue", queue), verb.as_str());
                match spot {
                    Spot::Shared(number) => format!("{queue}/{number:03x}/{verb}"),
                    Spot::Own(attachment) => {
                        format!("{queue}/{}/{verb}", encode_attachment(attachment))
                    }
                }
            }
            Key::Cluster => format!("{}cluster", self.prefix),
        };
        text.into_bytes()
    }

    /// The meaning of `bytes`.
    pub fn decode(&self, bytes: &[u8]) -> Result<Key, KeyError> {
        let fail = |reason| KeyError {
            key: String::from_utf8_lossy(bytes).into_owned(),
            reason,
        };
        let text = std::str::from_utf8(bytes).map_err(|_| fail("it is not UTF-8"))?;
        let rest = text
            .strip_prefix(&self.prefix)
            .ok_or_else(|| fail("it has another prefix"))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let key = match parts.as_slice() {
            ["open", pool, family, base] => {
                Key::Open(decode_slot(pool, family, base).map_err(fail)?)
            }
            ["full", pool, family, base] => {
                Key::Full(decode_slot(pool, family, base).map_err(fail)?)
            }
            ["claim", network, container, interface] => {
                Key::Claim(decode_attachment(network, container, interface).map_err(fail)?)
            }
            ["node", node, network, pod, container, interface] => Key::OnNode(
                decode_home(node, pod).map_err(fail)?,
                decode_attachment(network, container, interface).map_err(fail)?,
            ),
            ["owner", network, namespace, pod, interface] => {
                Key::Owner(decode_owner(network, namespace, pod, interface).map_err(fail)?)
            }
            ["network", namespace, name] => Key::Network(DefinitionName {
                namespace: decode_part(namespace, "its namespace is empty").map_err(fail)?,
                name: decode_part(name, "its name is empty").map_err(fail)?,
            }),
            ["lock", pool, range] => Key::Lock(decode_queue(pool, range).map_err(fail)?),
            ["queue", pool, range, spot @ .., verb] => Key::Ticket(Seat {
                queue: decode_queue(pool, range).map_err(fail)?,
                spot: match spot {
                    [number] => Spot::Shared(decode_seat(number).map_err(fail)?),
                    [network, container, interface] => {
                        Spot::Own(decode_attachment(network, container, interface).map_err(fail)?)
                    }
                    _ => return Err(fail("it has an unknown shape")),
                },
                verb: match *verb {
                    "ADD" => QueuedVerb::Add,
                    "DEL" => QueuedVerb::Del,
                    _ => return Err(fail("it has an unknown verb")),
                },
            }),
            ["cluster"] => Key::Cluster,
            _ => return Err(fail("it has an unknown shape")),
        };
        if self.encode(&key) == bytes {
            Ok(key)
        } else {
            Err(fail("it is not in canonical form"))
        }
    }

    /// All keys of ours: from the first (included) until the second (excluded).
    pub fn everything(&self) -> (Vec<u8>, Vec<u8>) {
        below(self.prefix.clone())
    }

    /// All claims, or those of one network.
    pub fn claims(&self, network: Option<&Name>) -> (Vec<u8>, Vec<u8>) {
        below(match network {
            Some(network) => format!("{}claim/{}/", self.prefix, encode(network.as_str())),
            None => format!("{}claim/", self.prefix),
        })
    }

    /// The claims of one container, whatever its interface.
    pub fn claims_of(&self, network: &Name, container: &Name) -> (Vec<u8>, Vec<u8>) {
        let (network, container) = (encode(network.as_str()), encode(container.as_str()));
        below(format!("{}claim/{network}/{container}/", self.prefix))
    }

    /// The entries of all claims by their nodes.
    pub fn all_on_nodes(&self) -> (Vec<u8>, Vec<u8>) {
        below(format!("{}node/", self.prefix))
    }

    /// The entries of the claims of one node: in all networks; or in one, of all pods or of one.
    pub fn claims_on_node(
        &self,
        node: &str,
        network: Option<&Name>,
        pod_uid: Option<&str>,
    ) -> (Vec<u8>, Vec<u8>) {
        let (prefix, node) = (&self.prefix, encode(node));
        let network = network.map(|network| encode(network.as_str()));
        below(match (network, pod_uid.map(encode)) {
            (None, _) => format!("{prefix}node/{node}/"),
            (Some(network), None) => format!("{prefix}node/{node}/{network}/"),
            (Some(network), Some(uid)) => format!("{prefix}node/{node}/{network}/{uid}/"),
        })
    }

    /// All durable owners, or those of one network.
    pub fn owners(&self, network: Option<&Name>) -> (Vec<u8>, Vec<u8>) {
        below(match network {
            Some(network) => format!("{}owner/{}/", self.prefix, encode(network.as_str())),
            None => format!("{}owner/", self.prefix),
        })
    }

    /// All statements of networks.
    pub fn networks(&self) -> (Vec<u8>, Vec<u8>) {
        below(format!("{}network/", self.prefix))
    }

    /// All locks.
    pub fn locks(&self) -> (Vec<u8>, Vec<u8>) {
        below(format!("{}lock/", self.prefix))
    }

    /// All tickets of all queues.
    pub fn queues(&self) -> (Vec<u8>, Vec<u8>) {
        below(format!("{}queue/", self.prefix))
    }

    /// All open blocks, and all full ones.
    pub fn blocks(&self) -> [(Vec<u8>, Vec<u8>); 2] {
        ["open", "full"].map(|state| below(format!("{}{state}/", self.prefix)))
    }

    /// The open blocks of a pool from `from` to `through`, both included, and the full ones.
    pub fn blocks_between(&self, from: &BlockKey, through: BlockId) -> [(Vec<u8>, Vec<u8>); 2] {
        let last = BlockKey {
            pool: from.pool.clone(),
            block: through,
        };
        [Key::Open as fn(BlockKey) -> Key, Key::Full].map(|key| {
            let mut until = self.encode(&key(last.clone()));
            until.push(0);
            (self.encode(&key(from.clone())), until)
        })
    }

    /// The key `rest` below the prefix, as [`Keys::below_prefix`] gave it.
    pub fn with_prefix(&self, rest: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), rest].concat()
    }

    /// The part of `key` after the prefix, if the key begins with the prefix.
    pub fn below_prefix<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        key.strip_prefix(self.prefix.as_bytes())
    }

    /// All tickets of a queue.
    pub fn tickets(&self, queue: &RangeId) -> (Vec<u8>, Vec<u8>) {
        below(format!("{}/", self.of_range("queue", queue)))
    }

    /// The open blocks of a pool from `from` to `through`, both included.
    pub fn open_blocks(&self, from: &BlockKey, through: BlockId, limit: u32) -> Read {
        let [(from, until), _] = self.blocks_between(from, through);
        Read::Range {
            from,
            until,
            order: Order::Key,
            limit,
        }
    }

    fn on_node(&self, home: &Home, attachment: &Attachment) -> String {
        format!(
            "{}node/{}/{}/{}/{}/{}",
            self.prefix,
            encode(&home.node),
            encode(attachment.network.as_str()),
            encode(home.pod_uid.as_deref().unwrap_or_default()),
            encode(attachment.container.as_str()),
            encode(&attachment.interface),
        )
    }

    fn owner(&self, owner: &DurableOwner) -> String {
        format!(
            "{}owner/{}/{}/{}/{}",
            self.prefix,
            encode(owner.network.as_str()),
            encode(&owner.namespace),
            encode(&owner.pod),
            encode(&owner.interface),
        )
    }

    fn of_range(&self, what: &str, queue: &RangeId) -> String {
        let pool = encode_pool(&queue.pool);
        format!(
            "{}{what}/{pool}/{}",
            self.prefix,
            encode(&queue.cidr.to_string())
        )
    }

    fn block(&self, state: &str, slot: &BlockKey) -> String {
        let base = slot.block.base();
        let (pool, family) = (encode_pool(&slot.pool), base.family().digit());
        let width = hex_digits(base.family());
        format!(
            "{}{state}/{pool}/{family}/{:0width$x}",
            self.prefix,
            base.number()
        )
    }
}

/// All keys that begin with `prefix`: from it until it with its last byte made one higher.
fn below(prefix: String) -> (Vec<u8>, Vec<u8>) {
    let from = prefix.into_bytes();
    let mut until = from.clone();
    let last = until.last_mut().expect("a prefix ends in a slash");
    *last += 1;
    (from, until)
}

fn hex_digits(family: Family) -> usize {
    match family {
        Family::V4 => 8,
        Family::V6 => 32,
    }
}

fn encode(part: &str) -> PercentEncode<'_> {
    percent_encode(part.as_bytes(), ENCODED)
}

fn decode(part: &str) -> Result<Cow<'_, str>, &'static str> {
    percent_decode(part.as_bytes())
        .decode_utf8()
        .map_err(|_| "a part of it is not UTF-8")
}

/// `<name>@<cidr>`, each of which may be empty: `@` alone is the pool that all configs share.
fn encode_pool(pool: &Pool) -> String {
    let name = pool.name.as_deref().unwrap_or_default();
    let only = pool.only.map(|cidr| cidr.to_string()).unwrap_or_default();
    format!("{}@{}", encode(name), encode(&only))
}

fn decode_pool(part: &str) -> Result<Pool, &'static str> {
    let (name, only) = part.split_once('@').ok_or("its pool has no '@'")?;
    let name = if name.is_empty() {
        None
    } else {
        Some(decode(name)?.into_owned())
    };
    let only = if only.is_empty() {
        None
    } else {
        Some(decode_cidr(only)?)
    };
    Ok(Pool { name, only })
}

fn decode_cidr(part: &str) -> Result<IpNet, &'static str> {
    let cidr: IpNet = decode(part)?
        .parse()
        .map_err(|_| "its range is not a CIDR")?;
    if cidr == cidr.trunc() {
        Ok(cidr)
    } else {
        Err("its range has host bits")
    }
}

fn decode_home(node: &str, pod: &str) -> Result<Home, &'static str> {
    let pod = decode(pod)?.into_owned();
    let home = Home {
        node: decode(node)?.into_owned(),
        pod_uid: (!pod.is_empty()).then_some(pod),
    };
    if home.node.is_empty() {
        return Err("its node has no name");
    }
    Ok(home)
}

fn decode_owner(
    network: &str,
    namespace: &str,
    pod: &str,
    interface: &str,
) -> Result<DurableOwner, &'static str> {
    Ok(DurableOwner {
        network: Name::new(&decode(network)?).map_err(|_| "a part of it is not a CNI name")?,
        namespace: decode_part(namespace, "its namespace is empty")?,
        pod: decode_part(pod, "its pod has no name")?,
        interface: decode_part(interface, "its interface is empty")?,
    })
}

/// A part that must not be empty; `reason` says so.
fn decode_part(part: &str, reason: &'static str) -> Result<String, &'static str> {
    match decode(part)? {
        text if text.is_empty() => Err(reason),
        text => Ok(text.into_owned()),
    }
}

fn decode_queue(pool: &str, range: &str) -> Result<RangeId, &'static str> {
    let (pool, cidr) = (decode_pool(pool)?, decode_cidr(range)?);
    if pool.only.is_none_or(|only| only == cidr) {
        Ok(RangeId { pool, cidr })
    } else {
        Err("its pool is another range's own")
    }
}

fn decode_slot(pool: &str, family: &str, base: &str) -> Result<BlockKey, &'static str> {
    let family = match family {
        "4" => Family::V4,
        "6" => Family::V6,
        _ => return Err("its family is neither 4 nor 6"),
    };
    let number = u128::from_str_radix(base, 16).map_err(|_| "its block is not hexadecimal")?;
    let address = Address::new(family, number).ok_or("its block is outside the family")?;
    Ok(BlockKey {
        pool: decode_pool(pool)?,
        block: BlockId::of(address),
    })
}

fn decode_seat(part: &str) -> Result<u16, &'static str> {
    let number = u16::from_str_radix(part, 16).map_err(|_| "its seat is not hexadecimal")?;
    if number < limits::SEATS {
        Ok(number)
    } else {
        Err("there is no such seat")
    }
}

fn encode_attachment(attachment: &Attachment) -> String {
    let Attachment {
        network,
        container,
        interface,
    } = attachment;
    format!(
        "{}/{}/{}",
        encode(network.as_str()),
        encode(container.as_str()),
        encode(interface)
    )
}

fn decode_attachment(
    network: &str,
    container: &str,
    interface: &str,
) -> Result<Attachment, &'static str> {
    let name = |part| Name::new(&decode(part)?).map_err(|_| "a part of it is not a CNI name");
    let interface = match decode(interface)? {
        interface if interface.is_empty() => return Err("its interface is empty"),
        interface => interface.into_owned(),
    };
    Ok(Attachment {
        network: name(network)?,
        container: name(container)?,
        interface,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Address {
        text.parse::<std::net::IpAddr>().expect("an address").into()
    }

    fn attachment(interface: &str) -> Attachment {
        Attachment {
            network: Name::new("blue").expect("a name"),
            container: Name::new("c1").expect("a name"),
            interface: interface.to_owned(),
        }
    }

    #[test]
    fn keys_are_written_as_documented() {
        let keys = Keys::new("/whereabouts/v1");
        let cidr: IpNet = "192.168.2.224/28".parse().expect("a CIDR");
        let named = Pool {
            name: Some("a/b@c".to_owned()),
            only: Some(cidr),
        };
        let shared = RangeId {
            pool: Pool::default(),
            cidr,
        };
        let cases = [
            (
                Key::Open(BlockKey::of(&Pool::default(), address("192.168.2.225"))),
                "/whereabouts/v1/open/@/4/c0a80200",
            ),
            (
                Key::Full(BlockKey::of(&named, address("fd00::1ff"))),
                "/whereabouts/v1/full/a%2Fb%40c@192.168.2.224%2F28/6/fd000000000000000000000000000100",
            ),
            (
                Key::Claim(attachment("eth0@1")),
                "/whereabouts/v1/claim/blue/c1/eth0%401",
            ),
            (
                Key::Lock(RangeId {
                    pool: named.clone(),
                    cidr,
                }),
                "/whereabouts/v1/lock/a%2Fb%40c@192.168.2.224%2F28/192.168.2.224%2F28",
            ),
            (
                Key::Ticket(Seat {
                    queue: shared.clone(),
                    spot: Spot::Shared(0x1f),
                    verb: QueuedVerb::Del,
                }),
                "/whereabouts/v1/queue/@/192.168.2.224%2F28/01f/DEL",
            ),
            (
                Key::Ticket(Seat {
                    queue: shared,
                    spot: Spot::Own(attachment("eth0")),
                    verb: QueuedVerb::Add,
                }),
                "/whereabouts/v1/queue/@/192.168.2.224%2F28/blue/c1/eth0/ADD",
            ),
            (Key::Cluster, "/whereabouts/v1/cluster"),
            (
                Key::Owner(DurableOwner {
                    network: Name::new("blue").expect("a name"),
                    namespace: "a/b".to_owned(),
                    pod: "web-0".to_owned(),
                    interface: "net1".to_owned(),
                }),
                "/whereabouts/v1/owner/blue/a%2Fb/web-0/net1",
            ),
            (
                Key::Network(DefinitionName {
                    namespace: "tenant".to_owned(),
                    name: "a/b".to_owned(),
                }),
                "/whereabouts/v1/network/tenant/a%2Fb",
            ),
        ];
        for (key, text) in cases {
            assert_eq!(String::from_utf8(keys.encode(&key)).expect("text"), text);
            assert_eq!(keys.decode(text.as_bytes()), Ok(key));
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        let keys = Keys::new("/p/");
        for text in [
            "",
            "/q/claim/a/b/c",
            "/p/claim/a/b",
            "/p/cluster/",
            "/p/cluster/a",
            "/p/claim/a/b/c/d",
            "/p/claim/%61/b/c",
            "/p/claim//b/c",
            "/p/open/@/4/c0a80201",
            "/p/open/@/4/C0A80200",
            "/p/open/@/4/0c0a80200",
            "/p/open/@/5/c0a80200",
            "/p/open//4/c0a80200",
            "/p/claim/a/b/",
            "/p/queue/@/10.0.0.0%2F8/01f/GET",
            "/p/queue/@/10.0.0.1%2F8/01f/ADD",
            "/p/queue/@/10.0.0.0%2F8/1f/ADD",
            "/p/queue/@/10.0.0.0%2F8/01F/ADD",
            "/p/queue/@/10.0.0.0%2F8/800/ADD",
            "/p/queue/@/10.0.0.0%2F8/+1f/ADD",
            "/p/queue/@/10.0.0.0%2F8/ADD",
            "/p/queue/@/10.0.0.0%2F8/a/b/ADD",
            "/p/queue/@/10.0.0.0%2F8/a/b/c/GET",
            "/p/queue/@/10.0.0.0%2F8/a/b/c/d/ADD",
            "/p/queue/@10.0.0.0%2F16/10.0.0.0%2F8/01f/ADD",
            "/p/owner/a/b/c",
            "/p/owner/a/b/c/",
            "/p/owner/a//c/d",
            "/p/owner/a/b//d",
            "/p/network/a",
            "/p/network/a/",
            "/p/network//b",
            "/p/network/a/b/c",
            "/p/network/a/%62",
            "/p/lock/@/10.0.0.0%2F8/",
            "/p/lock/@/10.0.0.1%2F8",
            "/p/open/@10.0.0.1%2F8/4/0a000000",
        ] {
            assert!(keys.decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn keys_come_back_and_keep_the_order_of_addresses(
            a: u128, b: u128, v4: bool, name in proptest::option::of(".{1,20}"), interface in "[^/:]{1,15}",
        ) {
            let keys = Keys::new("/w/");
            let pool = Pool { name, only: None };
            let slot = |number: u128| if v4 {
                BlockKey::of(&pool, Address::new(Family::V4, number >> 96).expect("32 bits"))
            } else {
                BlockKey::of(&pool, Address::new(Family::V6, number).expect("128 bits"))
            };
            let (x, y) = (Key::Open(slot(a)), Key::Open(slot(b)));
            prop_assert_eq!(slot(a).cmp(&slot(b)), keys.encode(&x).cmp(&keys.encode(&y)));
            prop_assert_eq!(keys.decode(&keys.encode(&x)), Ok(x));
            let claim = Key::Claim(attachment(&interface));
            prop_assert_eq!(keys.decode(&keys.encode(&claim)), Ok(claim));
        }
    }
}
