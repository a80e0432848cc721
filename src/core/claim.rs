//! Attachments, their owners, their claims, and their requests for addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::{Address, BlockKey, Interval, Name, Pool, Range, Refusal, refusal};
use crate::durable::DurableOwner;

/// CNI's identity of an attachment: a network, a container, and an interface of the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// `name` of the network configuration.
    pub network: Name,
    /// `CNI_CONTAINERID`.
    pub container: Name,
    /// `CNI_IFNAME`. The reader of the variable has checked it.
    pub interface: String,
}

/// The interface of a claim that came from a store without interface names. No runtime can use this
/// name: CNI refuses a colon in it.
pub const UNKNOWN_INTERFACE: &str = ":";

impl Attachment {
    /// The attachment of the same container whose interface is not known.
    #[must_use]
    pub fn without_interface(&self) -> Self {
        Self {
            interface: UNKNOWN_INTERFACE.to_owned(),
            ..self.clone()
        }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interface == UNKNOWN_INTERFACE {
            let Self {
                network, container, ..
            } = self;
            return write!(
                f,
                "an unknown interface of container {container} in network {network}"
            );
        }
        write!(
            f,
            "{} of container {} in network {}",
            self.interface, self.container, self.network
        )
    }
}

/// The pod and the node of an attachment. A person finds the attachment by them. No address depends
/// on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The node's name. While it is `None` (not known), GC never collects the claim.
    pub node: Option<String>,
    /// `K8S_POD_NAMESPACE`.
    pub pod_namespace: Option<String>,
    /// `K8S_POD_NAME`.
    pub pod_name: Option<String>,
    /// `K8S_POD_UID`.
    pub pod_uid: Option<String>,
    /// `CNI_NETNS`.
    pub netns: Option<String>,
    /// The boot of the node's kernel in which the attachment was added. Nothing of an earlier boot lives.
    pub boot: Option<BootId>,
    /// Whether the pod's name keeps the addresses after the end of the attachment: see
    /// [`DurableOwner`].
    pub is_durable: bool,
}

/// The id that a kernel draws at each boot: `/proc/sys/kernel/random/boot_id`, a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId([u8; 16]);

impl BootId {
    /// The id whose digits make this number.
    pub fn from_number(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// The number that its digits make.
    pub fn number(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl FromStr for BootId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let groups: Vec<&str> = text.split('-').collect();
        let are_uuids = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
        let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !are_uuids || !groups.iter().all(is_hex) {
            return Err("is not a UUID");
        }
        let number = u128::from_str_radix(&groups.concat(), 16);
        number.map(Self::from_number).map_err(|_| "is not a UUID")
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.number());
        let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
        write!(f, "{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
    }
}

impl Owner {
    /// This owner, with the names that only `before` tells. The network namespace and the boot are never those of
    /// before: a claim is freed by them, so an unknown one is safe, and an old one is not. A durable claim stays durable, and
    /// keeps the pod's names: its durable owner is found by them.
    #[must_use]
    pub fn or(&self, before: &Self) -> Self {
        let or = |own: &Option<String>, before: &Option<String>| own.clone().or(before.clone());
        let named = if before.is_durable { before } else { self };
        Self {
            node: or(&self.node, &before.node),
            pod_namespace: or(&named.pod_namespace, &before.pod_namespace),
            pod_name: or(&named.pod_name, &before.pod_name),
            pod_uid: or(&self.pod_uid, &before.pod_uid),
            netns: self.netns.clone(),
            boot: self.boot,
            is_durable: before.is_durable,
        }
    }

    /// The home of the claim, if the node is known.
    pub fn home(&self) -> Option<Home> {
        let node = self.node.clone().filter(|node| !node.is_empty())?;
        let pod_uid = self.pod_uid.clone().filter(|uid| !uid.is_empty());
        Some(Home { node, pod_uid })
    }
}

/// The node and the pod of a claim. A node finds its own claims by them, without a look at those of others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Home {
    /// The node's name.
    pub node: String,
    /// `K8S_POD_UID`, if it is known.
    pub pod_uid: Option<String>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "(unknown)";
        if let Some(pod) = &self.pod_name {
            let namespace = self.pod_namespace.as_deref().unwrap_or(unknown);
            write!(f, "pod {namespace}/{pod} ")?;
        }
        write!(f, "on node {}", self.node.as_deref().unwrap_or(unknown))
    }
}

/// The queue of a range: its pool and its canonical CIDR. Configs that differ only in first, last,
/// exclusions or gateway share one queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId {
    /// The pool.
    pub pool: Pool,
    /// The canonical CIDR.
    pub cidr: IpNet,
}

impl RangeId {
    /// The queue of `range`.
    pub fn of(range: &Range) -> Self {
        Self {
            pool: range.pool().clone(),
            cidr: range.cidr(),
        }
    }
}

impl fmt::Display for RangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of pool {}", self.cidr, self.pool)
    }
}

/// One address that an attachment holds, and the range it was taken from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// The pool and the CIDR of the range.
    pub range: RangeId,
    /// The address.
    pub address: Address,
}

impl Held {
    /// The block that has the address.
    pub fn slot(&self) -> BlockKey {
        BlockKey::of(&self.range.pool, self.address)
    }

    /// The reason why no attachment can have the address. No ADD has given such an address.
    pub fn refusal(&self) -> Option<Refusal> {
        refusal(self.range.cidr, self.address)
    }

    /// The address with the prefix length of its range, as a CNI result has it.
    pub fn interface_address(&self) -> IpNet {
        IpNet::new(IpAddr::from(self.address), self.range.cidr.prefix_len())
            .expect("a CIDR's own prefix length fits its family")
    }
}

/// The record that an attachment holds addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The held addresses, in the order of the request's wants; never empty.
    pub held: Vec<Held>,
    /// For each of `held`, the addresses that its range can give, as the ADD knew them: see [`Want::usable`]. No address
    /// depends on them. Where it is empty or ends early, nothing is known.
    pub usable: Vec<Vec<Interval>>,
    /// The pod and the node of the attachment.
    pub owner: Owner,
    /// The time of the ADD since the Unix epoch, by the clock of the node. It is for people only.
    pub created: Duration,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for held in &self.held {
            write!(f, "{} of range {}, ", held.address, held.range.cidr)?;
        }
        self.owner.fmt(f)
    }
}

/// One requested address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Want {
    /// The pool and the CIDR of the range.
    pub range: RangeId,
    /// The addresses that the range can give by the requester's configuration: disjoint intervals in order. Empty if they
    /// are not known; then nothing can be chosen from them.
    pub usable: Vec<Interval>,
    /// The choice of the address in the range.
    pub choice: Choice,
}

/// The choice of an address in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// The lowest free address of the usable intervals.
    Lowest,
    /// Exactly this address. It can be one that the range does not give by itself.
    Exactly(Address),
}

impl Want {
    /// The lowest free address of `range`.
    pub fn lowest(range: &Range) -> Self {
        Self {
            range: RangeId::of(range),
            usable: range.intervals().to_vec(),
            choice: Choice::Lowest,
        }
    }

    /// `address` of `range`, if an attachment may have it.
    pub fn exactly(range: &Range, address: Address) -> Result<Self, Refusal> {
        range.check_request(address)?;
        Ok(Self {
            range: RangeId::of(range),
            usable: range.intervals().to_vec(),
            choice: Choice::Exactly(address),
        })
    }

    /// Whether `held` may be given for this want: it satisfies the want, and no config excludes it
    /// now.
    pub fn may_be_given(&self, held: &Held) -> bool {
        let inside = match self.choice {
            Choice::Lowest => {
                let mut intervals = self.usable.iter();
                intervals.any(|interval| interval.contains(held.address))
            }
            Choice::Exactly(_) => true,
        };
        inside && self.is_met_by(held)
    }

    /// Whether `held` satisfies this want. An address that no attachment can have satisfies none.
    pub fn is_met_by(&self, held: &Held) -> bool {
        let chosen = match &self.choice {
            Choice::Lowest => true,
            Choice::Exactly(address) => *address == held.address,
        };
        chosen && self.range == held.range && held.refusal().is_none()
    }
}

/// The request of an ADD: all of `wants`, or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// The attachment of the requester.
    pub attachment: Attachment,
    /// The wants, one for each address; never empty.
    pub wants: Vec<Want>,
    /// The pod and the node of the attachment.
    pub owner: Owner,
    /// Whether the claim of an old container of the same pod may move to this attachment. An ADD moves it; a restored
    /// claim must not take it from the container that lives now.
    pub may_take_over: bool,
}

impl Ask {
    /// The pod's name that is to keep the addresses, if the request is a durable one.
    pub fn durable_owner(&self) -> Option<DurableOwner> {
        DurableOwner::of(&self.attachment, &self.owner)
    }

    /// The claim of this request that holds `held`, one address a want.
    pub fn claim(&self, held: Vec<Held>, created: Duration) -> Claim {
        Claim {
            held,
            usable: self.wants.iter().map(|want| want.usable.clone()).collect(),
            owner: self.owner.clone(),
            created,
        }
    }

    /// Whether `claim` satisfies this request. Then a repeated ADD answers the same again.
    pub fn is_met_by(&self, claim: &Claim) -> bool {
        self.is_all_of(&claim.held, Want::is_met_by)
    }

    /// Whether all of `held` may be given to this request.
    pub fn may_be_given(&self, held: &[Held]) -> bool {
        self.is_all_of(held, Want::may_be_given)
    }

    fn is_all_of(&self, held: &[Held], matches: impl Fn(&Want, &Held) -> bool) -> bool {
        let mut pairs = self.wants.iter().zip(held);
        self.wants.len() == held.len() && pairs.all(|(want, held)| matches(want, held))
    }
}
