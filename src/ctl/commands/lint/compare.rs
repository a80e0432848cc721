//! The remarks about two networks: ranges that meet, gateways that are given away, names.

use std::collections::BTreeSet;

use ipnet::IpNet;
use whereabouts_core::address::{Address, Interval, Name, Range};
use whereabouts_core::claim::RangeId;

use super::report::{Line, Said, Severity};

/// A network, as far as others can get into its way.
#[derive(Debug)]
pub(crate) struct Network {
    /// Its name, under which claims are.
    pub(crate) name: Name,
    /// The addresses that it gives.
    pub(crate) ranges: Vec<Range>,
    /// The queue of each range, in their order.
    pub(super) ids: Vec<RangeId>,
    pub(super) gateways: BTreeSet<Address>,
    pub(super) wire: Option<String>,
    /// Addresses of which its wire can have only one.
    pub(super) only: BTreeSet<IpNet>,
}

/// Whether there is something to be said of two ranges: both have addresses that the other has.
pub(super) fn meet(mine: &RangeId, other: &RangeId) -> bool {
    mine != other && Interval::of(mine.cidr).overlaps(Interval::of(other.cidr))
}

/// The consequence for two ranges that meet. `of` is the place of the other; `apart` names the
/// wires of both if they differ.
pub(super) fn meeting(
    mine: &RangeId,
    other: &RangeId,
    of: &str,
    apart: Option<(&str, &str)>,
) -> Line {
    let (severity, what) = match (mine.pool == other.pool, apart) {
        (true, _) => (
            Severity::Note,
            "share addresses, each of which is given once".to_owned(),
        ),
        (false, None) => (
            Severity::Warning,
            "overlap in different pools: an address can be given twice".to_owned(),
        ),
        (false, Some((mine, other))) => (
            Severity::Note,
            format!(
                "overlap in different pools, which is right if {mine} and {other} are not connected"
            ),
        ),
    };
    let text = format!("range {mine} and range {other} ({of}) {what}");
    (severity, text)
}

/// All that is said of a network and of others.
#[derive(Default)]
pub(super) struct Compared {
    meetings: Said,
    gateways: Said,
    names: Said,
    clashes: Said,
}

impl Compared {
    pub(super) fn lines(self) -> Vec<Line> {
        let kinds = [self.gateways, self.meetings, self.names, self.clashes];
        kinds.into_iter().flat_map(Said::lines).collect()
    }
}

impl Network {
    /// The wires of both, if each is known and they differ.
    fn apart<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str)> {
        let both = self.wire.as_deref().zip(other.wire.as_deref());
        both.filter(|(mine, other)| mine != other)
    }

    /// An address that the wire of both cannot have beside another's.
    fn clash(&self, other: &Self) -> Option<&IpNet> {
        let first = self.only.first().filter(|_| self.wire == other.wire)?;
        let is_other = !other.only.is_empty() && !other.only.contains(first);
        is_other.then_some(first)
    }

    /// Collects the findings of both; `of` tells the place of the other.
    pub(super) fn compare(&self, other: &Self, of: impl Fn() -> String, said: &mut Compared) {
        let apart = self.apart(other);
        for (mine, id) in self.ranges.iter().zip(&self.ids) {
            for other_id in other.ids.iter().filter(|other_id| meet(id, other_id)) {
                said.meetings.add(|| meeting(id, other_id, &of(), apart));
            }
            let is_shared = other.ids.iter().any(|other_id| other_id.pool == id.pool);
            if apart.is_some() || !is_shared {
                continue;
            }
            let gives = |gateway: &&Address| {
                let mut intervals = mine.intervals().iter();
                intervals.any(|interval| interval.contains(**gateway))
            };
            for gateway in other.gateways.iter().filter(gives) {
                said.gateways.add(|| {
                    let (cidr, of) = (mine.cidr(), of());
                    let text = format!("range {cidr} gives {gateway}, the gateway of {of}");
                    (Severity::Warning, text)
                });
            }
        }
        if let (Some(wire), Some(address)) = (&self.wire, self.clash(other)) {
            said.clashes.add(|| {
                let text = format!("{wire} cannot have {address} and the address of {}", of());
                (Severity::Error, text)
            });
        }
        let has = |id| other.ids.contains(id);
        let is_alike = self.ids.len() == other.ids.len() && self.ids.iter().all(has);
        if self.name == other.name && !is_alike {
            said.names.add(|| {
                let (name, of) = (&self.name, of());
                let text = format!(
                    "network {name} has other ranges in {of}: claims and GC know it by its name alone"
                );
                (Severity::Warning, text)
            });
        }
    }
}
