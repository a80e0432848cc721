//! The requests of clients: ranges, and attachments like those of pods, made from a seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Value, json};
use whereabouts_clock::Chance;
use whereabouts_core::address::{Family, Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, BootId, Owner, RangeId, Want};
use whereabouts_etcd::Access;

/// The network's name in all configs.
const NETWORK: &str = "bench";

/// How many nodes the pods are on.
const NODES: u64 = 10;

/// A range, and the requests for addresses of it.
#[derive(Debug)]
pub(crate) struct Workload {
    range: Range,
    seed: u64,
}

impl Workload {
    /// All of the large range of `family`: an IPv4 /8, an IPv6 /64.
    pub(crate) fn large(family: Family, seed: u64) -> Self {
        let cidr = match family {
            Family::V4 => IpNet::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
            Family::V6 => IpNet::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)), 64),
        };
        Self::between(cidr.expect("the prefix fits its family"), None, seed)
    }

    /// All of one of many ranges that share no block: an IPv4 /16.
    pub(crate) fn of_many(index: u16, seed: u64) -> Self {
        Self::between(sixteenth(index), None, seed)
    }

    /// The lowest `size` addresses of such a range.
    pub(crate) fn of_size(index: u16, size: u32, seed: u64) -> Self {
        let IpAddr::V4(network) = sixteenth(index).network() else {
            unreachable!("the ranges are of IPv4")
        };
        // No address that ends in .0.
        let last = network.to_bits() + (size - 1) / 255 * 256 + (size - 1) % 255 + 1;
        Self::between(sixteenth(index), Some(Ipv4Addr::from_bits(last)), seed)
    }

    fn between(cidr: IpNet, last: Option<Ipv4Addr>, seed: u64) -> Self {
        let range = Range::new(RangeSpec {
            last: last.map(|last| IpAddr::V4(last).into()),
            ..RangeSpec::of(cidr)
        });
        let range = range.expect("the range makes sense");
        Self { range, seed }
    }

    /// The range.
    pub(crate) fn cidr(&self) -> IpNet {
        self.range.cidr()
    }

    /// The request, always the same: the lowest free address.
    fn wants(&self) -> Vec<Want> {
        vec![Want::lowest(&self.range)]
    }

    /// The queue of the range.
    pub(crate) fn queue(&self) -> RangeId {
        RangeId {
            pool: self.range.pool().clone(),
            cidr: self.range.cidr(),
        }
    }

    /// The config of the plugin on the first node.
    pub(crate) fn config(&self, access: &Access) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": NETWORK,
            "type": "bridge",
            "ipam": {
                "type": "whereabouts",
                "etcd_host": access.endpoints,
                "node_name": node(0),
                "range": self.cidr().to_string(),
            },
        })
    }

    /// The request of the pod of this number.
    pub(crate) fn ask(&self, number: u64) -> Ask {
        let chance = Chance::new(self.seed.rotate_left(32) ^ number);
        let (one, two) = (chance.bits(), chance.bits());
        let (three, four) = (chance.bits(), chance.bits());
        let container = format!("{one:016x}{two:016x}{three:016x}{four:016x}");
        let (high, low) = (chance.bits(), chance.bits());
        let owner = Owner {
            node: Some(node(number % NODES)),
            pod_namespace: Some("production".to_owned()),
            pod_name: Some(format!("web-6f5d9c7b8d-{:05x}", high & 0xf_ffff)),
            pod_uid: Some(format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                high >> 32,
                high >> 16 & 0xffff,
                high & 0xfff,
                low >> 52,
                low & 0xffff_ffff_ffff,
            )),
            netns: Some(format!("/var/run/netns/cni-{:08x}", four >> 32)),
            boot: Some(BootId::from_number(
                u128::from(number % NODES) << 64 | u128::from(one),
            )),
            is_durable: false,
        };
        Ask {
            attachment: Attachment {
                network: Name::new(NETWORK).expect("the name is one"),
                container: Name::new(&container).expect("hexadecimal digits are a name"),
                interface: "eth0".to_owned(),
            },
            wants: self.wants(),
            owner,
            may_take_over: true,
        }
    }

    /// The address that is the lowest free one when so many are taken from the start.
    pub(crate) fn lowest_after(&self, taken: u64) -> IpNet {
        let address = match self.range.cidr().network() {
            // No address that ends in .0.
            IpAddr::V4(first) => {
                let further = u32::try_from(taken / 255 * 256 + taken % 255 + 1);
                let further = further.expect("so many are not in IPv4");
                IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + further))
            }
            // Not the first one.
            IpAddr::V6(first) => {
                IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() + u128::from(taken) + 1))
            }
        };
        IpNet::new(address, self.range.cidr().prefix_len()).expect("the prefix fits its family")
    }
}

/// The /16 of this number, from 10.0.0.0 on.
fn sixteenth(index: u16) -> IpNet {
    let network = Ipv4Addr::from_bits((10 << 24) + (u32::from(index) << 16));
    IpNet::new(IpAddr::V4(network), 16).expect("the prefix fits IPv4")
}

fn node(number: u64) -> String {
    format!("node-{number:04}.example.internal")
}
