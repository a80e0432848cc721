//! The properties of a history, drawn from its seed: a random subset of features and faults, so that different
//! histories are thorough about different things.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use whereabouts_clock::Chance;

use super::shape::Shape;
use super::sharing::Sharing;
use crate::vocabulary::{Fault, NodeId};

/// The properties of a history.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// The requests of the pods.
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
            3 => Shape::Sticky,
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
            // The importer of claims knows their cluster.
            Shape::Imported => self.sharing = Sharing::Own,
            _ => {}
        }
        self
    }
}

/// How many of the kinds of faults are drawn together: all but the last.
const DRAWN: u64 = Fault::ALL.len() as u64 - 1;

impl Knobs {
    /// The same knobs without faults, and with etcd far away: each holder has its lock for longer than a lease lives
    /// without renewals.
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
