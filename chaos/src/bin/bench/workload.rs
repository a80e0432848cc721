//! Who asks for what: ranges, and attachments like those of pods, made from a seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use whereabouts::address::{Family, Name, Pool, Range, RangeSpec};
use whereabouts::claim::{Ask, Attachment, Owner, Want};
use whereabouts::clock::Chance;

/// The network's name in all configs.
pub(crate) const NETWORK: &str = "bench";

/// The node's name in all configs.
pub(crate) const NODE: &str = "node-0001.example.internal";

/// A large range, and the requests for addresses of it.
pub(crate) struct Workload {
    family: Family,
    range: Range,
    seed: u64,
}

impl Workload {
    /// The range of `family`: an IPv4 /8, an IPv6 /64.
    pub(crate) fn new(family: Family, seed: u64) -> Self {
        let cidr = match family {
            Family::V4 => IpNet::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
            Family::V6 => IpNet::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)), 64),
        };
        let range = Range::new(RangeSpec {
            pool: Pool::default(),
            cidr: cidr.expect("the prefix fits its family"),
            first: None,
            last: None,
            exclusions: Vec::new(),
            gateways: Vec::new(),
        });
        let range = range.expect("the range makes sense");
        Self {
            family,
            range,
            seed,
        }
    }

    /// The range.
    pub(crate) fn cidr(&self) -> IpNet {
        self.range.cidr()
    }

    /// What is wanted, always the same: the lowest free address.
    pub(crate) fn wants(&self) -> Vec<Want> {
        vec![Want::lowest(&self.range)]
    }

    /// The request of the pod of this number.
    pub(crate) fn ask(&self, number: u64) -> Ask {
        let chance = Chance::new(self.seed.rotate_left(32) ^ number);
        let (one, two) = (chance.bits(), chance.bits());
        let (three, four) = (chance.bits(), chance.bits());
        let container = format!("{one:016x}{two:016x}{three:016x}{four:016x}");
        let (high, low) = (chance.bits(), chance.bits());
        let owner = Owner {
            node: Some(NODE.to_owned()),
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
        };
        Ask {
            attachment: Attachment {
                network: Name::new(NETWORK).expect("the name is one"),
                container: Name::new(&container).expect("hexadecimal digits are a name"),
                interface: "eth0".to_owned(),
            },
            wants: self.wants(),
            owner,
        }
    }

    /// The address that is the lowest free one when so many are taken from the start.
    pub(crate) fn lowest_after(&self, taken: u64) -> IpNet {
        let first = match self.range.cidr().network() {
            IpAddr::V4(first) => u128::from(first.to_bits()),
            IpAddr::V6(first) => first.to_bits(),
        };
        let number = match self.family {
            // No address that ends in .0.
            Family::V4 => first + u128::from(taken / 255 * 256 + taken % 255 + 1),
            // Not the first one.
            Family::V6 => first + u128::from(taken) + 1,
        };
        let address = match self.family {
            Family::V4 => {
                let number = u32::try_from(number).expect("the range lies in IPv4");
                IpAddr::V4(Ipv4Addr::from_bits(number))
            }
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        };
        IpNet::new(address, self.range.cidr().prefix_len()).expect("the prefix fits its family")
    }
}
