//! Whose the store is: the clusters of nodes that share it, and the identity of each.

use whereabouts_core::identity::Identity;

use crate::vocabulary::NodeId;

/// The clusters of a history. Where there are two, every other node is of the second, and their nodes have equal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sharing {
    /// One, whose the store is from the beginning.
    Own,
    /// One, and the store is nobody's yet.
    First,
    /// Two, and the store is nobody's yet.
    Two,
    /// Two, one of which does not know its identity, and the store is nobody's yet.
    OneUnknown,
}

/// The first cluster.
pub(crate) const WEST: &str = "west";

/// The second.
pub(crate) const EAST: &str = "east";

impl Sharing {
    /// The identity of a node's cluster, if it is known.
    pub fn identity(self, node: NodeId) -> Option<Identity> {
        match (self, node.0 % 2) {
            (Self::Own | Self::First, _) | (Self::Two | Self::OneUnknown, 0) => Some(named(WEST)),
            (Self::Two, _) => Some(named(EAST)),
            (Self::OneUnknown, _) => None,
        }
    }

    /// The name of a node in its cluster.
    pub fn node_name(self, node: NodeId) -> String {
        match self {
            Self::Own | Self::First => format!("node{}", node.0),
            Self::Two | Self::OneUnknown => format!("node{}", node.0 / 2),
        }
    }
}

/// The identity of that name.
pub(crate) fn named(name: &str) -> Identity {
    Identity::new(name).expect("a name")
}
