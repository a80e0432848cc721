//! What a history is made of, drawn from its seed: a random subset of features and faults, so that
//! different histories are thorough about different things.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::address::{Address, Interval, Range, RangeSpec};

use crate::sharing::Sharing;
use crate::step::Fault;
use crate::who::NodeId;

/// What the pods of a history ask for.
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
    fn pods_per_node(self, nodes: u64) -> Option<u64> {
        match self {
            Self::Burst => Some(280 / nodes),
            Self::Anew | Self::LastAddresses => Some(6 / nodes),
            Self::FullFamilies => Some(18 / nodes),
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

/// What a history is made of.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// What pods ask for.
    pub shape: Shape,
    /// Nodes.
    pub nodes: u64,
    /// Pods that a node runs at the same time.
    pub pods_per_node: u64,
    /// How often each comes and goes.
    pub rounds: u64,
    /// The longest usual delay of one way between a node and etcd, in microseconds.
    pub delay_us: u64,
    /// The longest usual time that a pod lives, or is gone, in microseconds.
    pub pause_us: u64,
    /// How often each kind of fault strikes, in ten thousandths of its occasions. Others never do.
    pub faults: BTreeMap<Fault, u64>,
    /// Whether two of the nodes have no name of their own.
    pub nameless: bool,
    /// Whether some processes are of a newer version.
    pub mixed: bool,
    /// In how few seats of a queue all containers wait; `None`: as their names fall.
    pub seats: Option<u16>,
    /// The clusters that share the store.
    pub sharing: Sharing,
    /// The numbers of the faults that strike; `None`: all.
    pub only: Option<BTreeSet<u64>>,
}

impl Knobs {
    /// The knobs of a history.
    pub fn draw(chance: &Chance) -> Self {
        let pick = |list: &[u64]| {
            list[usize::try_from(chance.below(list.len() as u64)).expect("a short list")]
        };
        let shapes = Shape::USUAL.len() as u64;
        let shape = Shape::USUAL[usize::try_from(chance.below(shapes)).expect("a short list")];
        // A crowd costs as much as many small histories.
        let shape = if chance.below(4 * shapes) == 0 {
            Shape::Burst
        } else {
            shape
        };
        let most = pick(&[0, 2, 5, 9]);
        let mut faults = BTreeMap::new();
        for _ in 0..most {
            let kind = Fault::ALL[usize::try_from(chance.below(DRAWN)).expect("a short list")];
            faults.insert(kind, pick(&[50, 200, 600]));
        }
        let nodes = pick(&[2, 3, 5]);
        let (pods, rounds) = (pick(&[1, 2, 4, 6]), pick(&[1, 2, 3]));
        let crowd = shape.pods_per_node(nodes);
        let drawn = Self {
            shape,
            nodes,
            pods_per_node: crowd.unwrap_or(pods),
            rounds: if crowd.is_some() { 1 } else { rounds },
            delay_us: pick(&[100, 500, 3_000]),
            pause_us: if crowd.is_some() {
                0
            } else {
                pick(&[0, 1_000, 20_000, 2_000_000])
            },
            faults,
            nameless: chance.below(5) == 0,
            mixed: chance.below(5) == 0,
            seats: match chance.below(10) {
                0 | 1 if crowd.is_none() => Some(1),
                2 if crowd.is_none() => Some(3),
                _ => None,
            },
            sharing: Sharing::Own,
            only: None,
        };
        if crowd.is_some() {
            return drawn;
        }
        let shape = if chance.below(10) > 0 {
            shape
        } else {
            Shape::Anew
        };
        let sharing = match chance.below(20) {
            0 => Sharing::First,
            1 | 2 => Sharing::Two,
            3 => Sharing::OneUnknown,
            _ => Sharing::Own,
        };
        Self {
            shape,
            pods_per_node: shape.pods_per_node(nodes).unwrap_or(pods),
            sharing,
            ..drawn
        }
        .with_rare(chance)
    }

    /// The same, or with a rare shape in its place, and now and then with writes that land late. Drawn last: the other
    /// histories stay what they were.
    fn with_rare(mut self, chance: &Chance) -> Self {
        let shape = match chance.below(20) {
            0 => Shape::FullFamilies,
            1 => Shape::LastAddresses,
            2 => Shape::Imported,
            _ => self.shape,
        };
        if chance.below(10) == 0 || shape == Shape::LastAddresses {
            self.faults.insert(Fault::Severed, 300);
        }
        if shape != self.shape {
            self.pods_per_node = shape
                .pods_per_node(self.nodes)
                .unwrap_or(self.pods_per_node);
            self.shape = shape;
        }
        match shape {
            Shape::LastAddresses => drop(self.faults.insert(Fault::LostReply, 600)),
            // Who imports claims knows whose they are.
            Shape::Imported => self.sharing = Sharing::Own,
            _ => {}
        }
        self
    }
}

/// How many of the kinds of faults are drawn together: all but the last.
const DRAWN: u64 = Fault::ALL.len() as u64 - 1;

impl Knobs {
    /// The same without faults, and with an etcd so far away that a lock is held for longer than a lease
    /// lives unless it is kept alive.
    #[must_use]
    pub fn far_away(self) -> Self {
        Self {
            delay_us: FAR_AWAY_US,
            faults: BTreeMap::new(),
            ..self
        }
    }

    /// The name of a node, if it has one.
    pub fn name_of(&self, node: NodeId) -> Option<String> {
        let nameless = self.nameless && node.0 < 2;
        (!nameless).then(|| self.sharing.node_name(node))
    }

    /// Whether etcd answers in less time than STATUS has.
    pub fn is_near(&self) -> bool {
        self.delay_us < FAR_AWAY_US
    }
}

/// A delay of one way, in microseconds.
const FAR_AWAY_US: u64 = 900_000;

impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shape,
            nodes,
            pods_per_node,
            rounds,
            delay_us,
            pause_us,
            faults,
            nameless,
            mixed,
            seats,
            sharing,
            only,
        } = self;
        write!(
            f,
            "{shape:?}, {nodes} nodes x {pods_per_node} pods x {rounds} rounds, delay {delay_us} us, \
             pause {pause_us} us, nameless {nameless}, mixed {mixed}"
        )?;
        if let Some(seats) = seats {
            write!(f, ", {seats} seats")?;
        }
        if *sharing != Sharing::Own {
            write!(f, ", sharing {sharing:?}")?;
        }
        f.write_str(", faults")?;
        if faults.is_empty() {
            return f.write_str(" none");
        }
        faults
            .iter()
            .try_for_each(|(fault, rate)| write!(f, " {fault}:{rate}"))?;
        match only {
            Some(only) => write!(f, ", of them {only:?}"),
            None => Ok(()),
        }
    }
}
