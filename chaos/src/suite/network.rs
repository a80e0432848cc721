//! The networks that pods attach to, each twice: as the JSON that the plugin is given, and as the
//! wants that the judge holds its answers against.

use std::net::IpAddr;

use serde_json::{Value, json};
use whereabouts_clock::Chance;
use whereabouts_core::address::{Address, Interval, Name, Range, RangeSpec};
use whereabouts_core::claim::Want;

/// The relation between the pods of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// Everybody wants of one range.
    Hot,
    /// Each wants of one of many ranges that share nothing.
    Many,
    /// Ranges that overlap in several ways.
    Overlapping,
    /// One IPv4 and one IPv6 address each.
    DualStack,
    /// More pods than addresses.
    Small,
    /// A range with holes and a gateway.
    Holes,
    /// Some pods request an address.
    Requested,
}

/// A range as a config writes it.
struct Written {
    cidr: &'static str,
    exclude: &'static [&'static str],
    gateway: Option<&'static str>,
}

const fn plain(cidr: &'static str) -> Written {
    Written {
        cidr,
        exclude: &[],
        gateway: None,
    }
}

/// The request of a pod of a network.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The wants, as the judge knows them.
    pub(super) wants: Vec<Want>,
    /// The ranges, as `ipam.ipRanges` has them.
    pub(super) ranges: Value,
    /// `IP` of `CNI_ARGS`.
    pub(super) requested: Option<IpAddr>,
}

impl Shape {
    /// All shapes. One that is there twice has twice as many pods.
    pub(super) const ALL: [Self; 8] = [
        Self::Hot,
        Self::Many,
        Self::Overlapping,
        Self::DualStack,
        Self::Small,
        Self::Holes,
        Self::Requested,
        Self::Hot,
    ];

    /// The network's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Many => "many",
            Self::Overlapping => "overlapping",
            Self::DualStack => "dual",
            Self::Small => "small",
            Self::Holes => "holes",
            Self::Requested => "requested",
        }
    }

    /// The network's name, for an attachment.
    pub(super) fn network(self) -> Name {
        Name::new(self.name()).expect("a name")
    }

    /// The request of one pod.
    pub(super) fn draw(self, chance: &Chance) -> Asked {
        let configs = self.configs();
        let index = usize::try_from(chance.below(configs.len() as u64)).expect("a short list");
        let written = &configs[index];
        let ranges: Vec<Range> = written.iter().map(Written::range).collect();
        let mut wants: Vec<Want> = ranges.iter().map(Want::lowest).collect();
        let mut requested = None;
        if self == Self::Requested && chance.below(2) == 0 {
            let first = Address::from(ranges[0].cidr().network());
            let number = first.number() + 1 + u128::from(chance.below(20));
            let address = Address::new(first.family(), number).expect("inside the family");
            wants[0] = Want::exactly(&ranges[0], address).expect("an address that all may have");
            requested = Some(IpAddr::from(address));
        }
        Asked {
            wants,
            ranges: written.iter().map(Written::json).collect(),
            requested,
        }
    }

    /// Whether pods of this network can find it full.
    pub(super) fn can_be_full(self) -> bool {
        match self {
            Self::Overlapping | Self::Small => true,
            Self::Hot | Self::Many | Self::DualStack | Self::Holes | Self::Requested => false,
        }
    }

    /// The configs that pods draw from: the ranges of each.
    fn configs(self) -> Vec<Vec<Written>> {
        match self {
            Self::Hot => vec![vec![plain("10.0.0.0/22")]],
            Self::Many => [
                "10.1.0.0/24",
                "10.1.1.0/24",
                "10.1.2.0/24",
                "10.1.3.0/24",
                "fd00:1::/64",
                "fd00:1:0:1::/64",
                "fd00:1:0:2::/64",
                "fd00:1:0:3::/64",
            ]
            .map(|cidr| vec![plain(cidr)])
            .into(),
            Self::Overlapping => [
                "10.2.0.0/28",
                "10.2.0.0/29",
                "10.2.0.8/29",
                "10.2.0.0/23",
                "10.2.1.0/30",
            ]
            .map(|cidr| vec![plain(cidr)])
            .into(),
            Self::DualStack => vec![
                vec![plain("10.3.0.0/24"), plain("fd00:3::/120")],
                vec![plain("fd00:3::/120"), plain("10.3.0.0/24")],
            ],
            Self::Small => vec![vec![plain("10.4.0.0/29")]],
            Self::Holes => vec![vec![Written {
                cidr: "10.5.0.0/22",
                exclude: &["10.5.0.0/24", "10.5.1.4/30", "10.5.1.128/25"],
                gateway: Some("10.5.1.2"),
            }]],
            Self::Requested => vec![vec![plain("10.6.0.0/24")]],
        }
    }
}

impl Written {
    fn range(&self) -> Range {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().expect("an address"));
        let cidr = |text: &&str| Interval::of(text.parse().expect("a CIDR"));
        let spec = RangeSpec {
            exclusions: self.exclude.iter().map(cidr).collect(),
            gateways: self.gateway.into_iter().map(address).collect(),
            ..RangeSpec::of(self.cidr.parse().expect("a CIDR"))
        };
        Range::new(spec).expect("a range with addresses left")
    }

    fn json(&self) -> Value {
        match self.gateway {
            Some(gateway) => {
                json!({"range": self.cidr, "exclude": self.exclude, "gateway": gateway})
            }
            None => json!({"range": self.cidr, "exclude": self.exclude}),
        }
    }
}
