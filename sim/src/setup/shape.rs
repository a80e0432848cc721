//! Shapes of histories: the ranges that pods ask for, and what is particular about the pods.

use std::time::Duration;

use whereabouts_core::address::{Address, Interval, Range, RangeSpec};

/// The requests of a history's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Everybody wants of one range.
    HotRange,
    /// Each wants of one of many ranges that share nothing.
    ManyRanges,
    /// Ranges that overlap in several ways.
    Overlapping,
    /// One IPv4 and one IPv6 address each.
    DualStack,
    /// Ranges with holes, among them whole blocks.
    Exclusions,
    /// More pods than addresses.
    Full,
    /// Some pods request an address.
    Requested,
    /// Two ranges, named in either order.
    OppositeOrder,
    /// A gateway in the middle of a small range.
    Gateway,
    /// Ranges of one to three addresses.
    Tiny,
    /// Windows on a /64, far apart.
    Sparse,
    /// Blocks with only a few bits left, so that they move to `full/` and back.
    NearlyFull,
    /// More intervals than one read covers, each of one address in a block of its own.
    Scattered,
    /// A range whose first block is nearly full, with exclusions in the second.
    SecondBlock,
    /// More pods at once than a block has addresses, from nothing.
    Burst,
    /// As many pods as addresses, whose sandboxes are made anew.
    Anew,
    /// One IPv4 and one IPv6 address each, of ranges that are full at different times.
    FullFamilies,
    /// Ranges of one address each, in blocks of their own: nobody else writes what a lost commit checked.
    LastAddresses,
    /// Containers whose claims were imported without their interfaces, and that get others beside them.
    Imported,
    /// A sticky network: pods of several UIDs have one name, which keeps its address, and their sandboxes are made anew.
    Sticky,
}

impl Shape {
    /// All shapes but those that are drawn more seldom.
    pub const USUAL: [Self; 14] = [
        Self::HotRange,
        Self::ManyRanges,
        Self::Overlapping,
        Self::DualStack,
        Self::Exclusions,
        Self::Full,
        Self::Requested,
        Self::OppositeOrder,
        Self::Gateway,
        Self::Tiny,
        Self::Sparse,
        Self::NearlyFull,
        Self::Scattered,
        Self::SecondBlock,
    ];

    /// The configs that pods draw from: the ranges of each, in the order in which it names them.
    pub fn configs(self) -> Vec<Vec<Range>> {
        let plain = |cidr: &str| range(cidr, &[], &[]);
        match self {
            Self::HotRange | Self::Requested => vec![vec![plain("10.0.0.0/24")]],
            Self::ManyRanges => (0..8)
                .map(|third| vec![plain(&format!("10.0.{third}.0/24"))])
                .collect(),
            Self::Overlapping => {
                let cidrs = [
                    "10.0.0.0/28",
                    "10.0.0.0/29",
                    "10.0.0.8/29",
                    "10.0.0.0/23",
                    "10.0.1.0/30",
                ];
                cidrs.into_iter().map(|cidr| vec![plain(cidr)]).collect()
            }
            Self::DualStack => vec![
                vec![plain("10.0.0.0/26"), plain("fd00::/122")],
                vec![plain("fd00::/122")],
                vec![plain("10.0.0.0/26")],
            ],
            Self::Exclusions => vec![
                vec![range(
                    "10.0.0.0/22",
                    &["10.0.0.0/24", "10.0.1.4/30", "10.0.1.128/25"],
                    &[],
                )],
                vec![range("10.0.1.0/28", &["10.0.1.2/31", "10.0.1.8/32"], &[])],
                vec![range("fd00::/119", &["fd00::/121", "fd00::84/126"], &[])],
            ],
            Self::Full => vec![vec![plain("10.0.0.0/29")]],
            Self::OppositeOrder => {
                let (one, two) = (plain("10.0.0.0/29"), plain("10.0.1.0/29"));
                vec![vec![one.clone(), two.clone()], vec![two, one]]
            }
            Self::Gateway => vec![vec![range("10.0.0.0/28", &[], &["10.0.0.3"])]],
            Self::Tiny => ["10.0.0.0/30", "10.0.0.1/32", "10.0.0.2/31"]
                .into_iter()
                .map(|cidr| vec![plain(cidr)])
                .collect(),
            Self::Sparse => [
                "fd00::/64",
                "fd00::ffff:0/126",
                "fd00::abcd:0:0/125",
                "fd00::/126",
            ]
            .into_iter()
            .map(|cidr| vec![plain(cidr)])
            .collect(),
            Self::NearlyFull => vec![
                vec![plain("10.0.0.0/22")],
                vec![plain("10.0.0.128/25")],
                vec![plain("fd00::/118"), plain("10.0.0.0/22")],
            ],
            Self::Scattered => {
                let mut configs = vec![vec![scattered()]; 6];
                configs.push(vec![plain("10.0.3.4/31")]);
                configs.push(vec![plain("10.0.9.5/32")]);
                configs
            }
            Self::SecondBlock => vec![vec![range(
                "10.0.0.0/22",
                &["10.0.1.2/31", "10.0.1.6/32", "10.0.1.128/25"],
                &[],
            )]],
            Self::Burst => vec![vec![plain("10.0.0.0/23")]],
            Self::Anew => vec![
                vec![plain("10.0.0.0/29")],
                vec![plain("10.0.0.0/29")],
                vec![plain("10.0.0.0/29"), plain("fd00::/125")],
            ],
            Self::FullFamilies => vec![
                vec![plain("10.0.0.0/28"), plain("fd00::/125")],
                vec![plain("fd00::/125"), plain("10.0.0.0/28")],
                vec![plain("10.0.0.0/28")],
                vec![plain("10.0.0.0/29"), plain("fd00::/64")],
            ],
            Self::LastAddresses => (0..6)
                .map(|third| vec![plain(&format!("10.0.{third}.1/32"))])
                .collect(),
            Self::Imported => vec![vec![plain("10.0.0.0/27")]],
            Self::Sticky => vec![
                vec![plain("10.0.0.0/29")],
                vec![plain("10.0.0.0/29")],
                vec![plain("10.0.0.0/29")],
                vec![plain("10.0.0.0/30")],
                vec![plain("10.0.0.0/29"), plain("fd00::/125")],
            ],
        }
    }

    /// How many addresses of the ranges of the last config are held from the beginning.
    pub fn held_before(self) -> u64 {
        match self {
            Self::NearlyFull => 252,
            Self::SecondBlock => 253,
            _ => 0,
        }
    }

    /// How many pods a node runs at the same time, if the shape says so.
    pub(super) fn pods_per_node(self, nodes: u64) -> Option<u64> {
        match self {
            Self::Burst => Some(280 / nodes),
            Self::Anew | Self::LastAddresses => Some(6 / nodes),
            Self::FullFamilies => Some(18 / nodes),
            Self::Sticky => Some(9 / nodes),
            _ => None,
        }
    }

    /// Containers of each node whose claims were imported.
    pub fn imported_per_node(self) -> u64 {
        match self {
            Self::Imported => 2,
            _ => 0,
        }
    }

    /// Among how many addresses, from the first of the range on, a pod may request one, if any does.
    pub fn requests_among(self) -> Option<u64> {
        match self {
            Self::Requested => Some(20),
            Self::Anew => Some(8),
            _ => None,
        }
    }

    /// How long every pod lives at least: a crowd all at the same time.
    pub fn least_life(self) -> Duration {
        match self {
            Self::Burst => Duration::from_secs(1),
            _ => Duration::ZERO,
        }
    }
}

/// The fifth address of each of eleven blocks.
fn scattered() -> Range {
    let between = |block: u8| {
        let (from, until) = (format!("10.0.{block}.6"), format!("10.0.{}.4", block + 1));
        Interval::new(address(&from), address(&until)).expect("in order")
    };
    let ends = [("10.0.0.0", "10.0.0.4"), ("10.0.10.6", "10.0.15.255")];
    let ends = ends.map(|(from, until)| Interval::new(address(from), address(until)));
    let ends = ends.into_iter().map(|end| end.expect("in order"));
    range_without(
        "10.0.0.0/20",
        (0..10).map(between).chain(ends).collect(),
        &[],
    )
}

fn range(cidr: &str, exclusions: &[&str], gateways: &[&str]) -> Range {
    let excluded = |cidr: &&str| Interval::of(cidr.parse().expect("a CIDR"));
    range_without(cidr, exclusions.iter().map(excluded).collect(), gateways)
}

fn range_without(cidr: &str, exclusions: Vec<Interval>, gateways: &[&str]) -> Range {
    let spec = RangeSpec {
        exclusions,
        gateways: gateways.iter().map(|text| address(text)).collect(),
        ..RangeSpec::of(cidr.parse().expect("a CIDR"))
    };
    Range::new(spec).expect("a range with addresses left")
}

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().expect("an address").into()
}
