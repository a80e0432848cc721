//! Networks of a cluster, and what their configurations state of ranges.

use std::fmt;

use crate::address::{Interval, Range};
use crate::claim::RangeId;

/// The name of a NetworkAttachmentDefinition: an object of the cluster that has a network's configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionName {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for DefinitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A range of a network's configuration, and the addresses that it can give by that configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatedRange {
    /// The pool and the CIDR.
    pub range: RangeId,
    /// The addresses: disjoint intervals in order, never empty.
    pub usable: Vec<Interval>,
}

impl StatedRange {
    /// The statement of `range`.
    pub fn of(range: &Range) -> Self {
        Self {
            range: RangeId::of(range),
            usable: range.intervals().to_vec(),
        }
    }
}
