//! The ranges of a config, and the pool they are windows on.

use ipnet::IpNet;

use super::error::{RequestError, Shown};
use super::findings::Findings;
use super::json::{Node, Object, Text};
use super::{identity, notation};
use crate::address::{Address, Interval, Pool, Range, RangeSpec};
use crate::claim::QueueId;
use crate::limits;

/// The keys of `ipam` and of `runtimeConfig` that are about ranges, not yet looked at.
pub(super) struct Raw {
    range: Option<Node>,
    bounds: Bounds,
    /// The gateway of all ranges of its family.
    gateway: Option<Node>,
    list: Option<Node>,
    runtime_list: Option<Node>,
    network_name: Option<Node>,
    overlapping: Option<Node>,
}

/// What keeps a range from giving all of its CIDR.
struct Bounds {
    first: Option<Node>,
    last: Option<Node>,
    exclude: Option<Node>,
}

/// The keys of one range.
struct Entry {
    range: Node,
    bounds: Bounds,
    gateway: Option<Node>,
}

/// Addresses that no range gives, known before the ranges are read.
pub(super) struct SpokenFor {
    /// Gateways, which nobody may have.
    pub(super) gateways: Vec<Address>,
    /// Addresses that the config states, and reserves one by one.
    pub(super) addresses: Vec<Address>,
}

/// What a config says of ranges.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// All that make sense, in the order in which they are allocated from.
    pub(super) ranges: Vec<ConfiguredRange>,
    /// The queue of each CIDR that could be read, whatever else is wrong with its range.
    pub(super) queues: Vec<QueueId>,
}

/// A range, and where it comes from.
#[derive(Debug)]
pub(super) struct ConfiguredRange {
    /// The key that gives it.
    pub(super) key: String,
    /// The range.
    pub(super) range: Range,
    /// The gateway of its addresses.
    pub(super) gateway: Option<Address>,
}

impl Raw {
    /// Takes the keys out.
    pub(super) fn take(ipam: &mut Object, runtime: &mut Object) -> Self {
        Self {
            range: ipam.take("range"),
            bounds: Bounds {
                first: ipam.take("range_start"),
                last: ipam.take("range_end"),
                exclude: ipam.take("exclude"),
            },
            gateway: ipam.take("gateway"),
            list: ipam.take("ipRanges"),
            runtime_list: runtime.take("ipRanges"),
            network_name: ipam.take("network_name"),
            overlapping: ipam.take("enable_overlapping_ranges"),
        }
    }

    /// The ranges, of which none gives a gateway or an address that is `spoken_for`.
    pub(super) fn read(
        self,
        mut spoken_for: SpokenFor,
        findings: &mut Findings,
    ) -> Result<Ranges, RequestError> {
        let pools = Pools::read(self.network_name, self.overlapping).map(Some);
        let Some(pools) = findings.tolerate(pools)? else {
            return Ok(Ranges::default());
        };
        let common = findings.tolerate(read_address(self.gateway))?;
        spoken_for.gateways.extend(common);

        let mut entries = Vec::new();
        entries.extend(findings.tolerate(Entry::alone(self.range, self.bounds))?);
        for list in [self.list, self.runtime_list].into_iter().flatten() {
            for node in findings.tolerate(list.list())? {
                let entry = Entry::listed(node, findings).map(Some);
                entries.extend(findings.tolerate(entry)?);
            }
        }
        findings.tolerate(check_count(entries.len()))?;
        entries.truncate(limits::WANTS);

        let mut queues = Vec::new();
        let mut drafts = Vec::new();
        for entry in entries {
            let draft = entry.read(&pools, &mut queues).map(Some);
            drafts.extend(findings.tolerate(draft)?);
        }
        let own = drafts.iter().filter_map(|draft| draft.gateway);
        spoken_for.gateways.extend(own);

        let mut ranges: Vec<ConfiguredRange> = Vec::new();
        for draft in drafts {
            let range = draft.finish(common, &spoken_for).and_then(|range| {
                ranges
                    .iter()
                    .try_for_each(|other| check_apart(other, &range))?;
                Ok(Some(range))
            });
            ranges.extend(findings.tolerate(range)?);
        }
        Ok(Ranges { ranges, queues })
    }
}

/// Which pool a CIDR belongs to.
struct Pools {
    name: Option<String>,
    shared: bool,
}

impl Pools {
    fn read(name: Option<Node>, overlapping: Option<Node>) -> Result<Self, RequestError> {
        let name = name.map(|node| node.text().and_then(identity::name));
        Ok(Self {
            name: name.transpose()?,
            shared: overlapping.map(Node::flag).transpose()?.unwrap_or(true),
        })
    }

    fn queue(&self, cidr: IpNet) -> QueueId {
        let cidr = cidr.trunc();
        let pool = Pool {
            name: self.name.clone(),
            only: (!self.shared).then_some(cidr),
        };
        QueueId { pool, cidr }
    }
}

fn read_address(node: Option<Node>) -> Result<Option<Address>, RequestError> {
    let text = node.map(Node::text).transpose()?;
    text.map(|text| text.read(notation::address)).transpose()
}

fn check_count(count: usize) -> Result<(), RequestError> {
    if count <= limits::WANTS {
        return Ok(());
    }
    Err(RequestError::TooMany {
        key: "ipam.ipRanges".to_owned(),
        count,
        most: limits::WANTS,
    })
}

impl Entry {
    /// The range that stands in `ipam` itself, if one does.
    fn alone(range: Option<Node>, bounds: Bounds) -> Result<Option<Self>, RequestError> {
        if let Some(range) = range {
            return Ok(Some(Self {
                range,
                bounds,
                gateway: None,
            }));
        }
        match bounds.first.or(bounds.last).or(bounds.exclude) {
            None => Ok(None),
            Some(node) => Err(RequestError::MissingKey {
                key: "ipam.range".to_owned(),
                reason: format!("{} is about it", node.key()),
            }),
        }
    }

    /// An entry of `ipRanges`. Runtimes write the conventions' names, and each entry as a list:
    /// `[[{subnet, rangeStart, rangeEnd, gateway}]]`.
    fn listed(node: Node, findings: &mut Findings) -> Result<Self, RequestError> {
        let key = node.key().to_owned();
        let mut object = node.object_or_list_of_one()?;
        let from_runtime = key.starts_with("runtimeConfig.");
        let mut take = |ours, convention| match object.take(ours) {
            None if from_runtime => object.take(convention),
            node => node,
        };
        let range = take("range", "subnet");
        let bounds = Bounds {
            first: take("range_start", "rangeStart"),
            last: take("range_end", "rangeEnd"),
            exclude: object.take("exclude"),
        };
        let gateway = object.take("gateway");
        object.finish(findings)?;
        let range = range.ok_or(RequestError::MissingKey {
            key: format!("{key}.range"),
            reason: "an entry of ipRanges is a range".to_owned(),
        })?;
        Ok(Self {
            range,
            bounds,
            gateway,
        })
    }

    /// Reads the range; `queues` gets its queue as soon as its CIDR is known.
    fn read(self, pools: &Pools, queues: &mut Vec<QueueId>) -> Result<Draft, RequestError> {
        let text = self.range.text()?;
        let range = text.read(notation::range)?;
        let queue = pools.queue(range.cidr);
        let pool = queue.pool.clone();
        if !queues.contains(&queue) {
            queues.push(queue);
        }
        let bounds = self.bounds;
        if let (Some(_), Some(node)) = (range.ends, bounds.first.as_ref().or(bounds.last.as_ref()))
        {
            return Err(RequestError::Exclusive {
                key: node.key().to_owned(),
                other: format!("{}, which says first and last,", text.key),
            });
        }
        let gateway = self.gateway.map(Node::text).transpose()?;
        let gateway = gateway
            .map(|text| own_gateway(&text, range.cidr))
            .transpose()?;
        let spec = RangeSpec {
            pool,
            cidr: range.cidr,
            first: read_address(bounds.first)?.or(range.ends.map(|(first, _)| first)),
            last: read_address(bounds.last)?.or(range.ends.map(|(_, last)| last)),
            exclusions: exclusions(bounds.exclude)?,
            gateways: Vec::new(),
        };
        Ok(Draft {
            text,
            spec,
            gateway,
        })
    }
}

fn exclusions(node: Option<Node>) -> Result<Vec<Interval>, RequestError> {
    let texts = node.map(Node::texts).transpose()?.unwrap_or_default();
    texts
        .iter()
        .map(|text| text.read(notation::exclusion))
        .collect()
}

fn own_gateway(text: &Text, cidr: IpNet) -> Result<Address, RequestError> {
    let gateway = text.read(notation::address)?;
    if gateway.family() == Address::from(cidr.addr()).family() {
        return Ok(gateway);
    }
    Err(text.wrong(format_args!("is not of the family of its range, {cidr}")))
}

/// A range whose keys were read.
struct Draft {
    text: Text,
    spec: RangeSpec,
    gateway: Option<Address>,
}

impl Draft {
    fn finish(
        mut self,
        common: Option<Address>,
        spoken_for: &SpokenFor,
    ) -> Result<ConfiguredRange, RequestError> {
        let family = Address::from(self.spec.cidr.addr()).family();
        let common = common.filter(|gateway| gateway.family() == family);
        self.spec.gateways.clone_from(&spoken_for.gateways);
        let whole = Interval::of(self.spec.cidr);
        let inside = spoken_for
            .addresses
            .iter()
            .filter(|address| whole.contains(**address));
        self.spec
            .exclusions
            .extend(inside.map(|address| Interval::new(*address, *address).expect("one address")));
        match Range::new(self.spec) {
            Ok(range) => Ok(ConfiguredRange {
                key: self.text.key,
                range,
                gateway: self.gateway.or(common),
            }),
            Err(source) => Err(RequestError::Range {
                key: self.text.key,
                value: Shown::new(&self.text.text),
                source: Box::new(source),
            }),
        }
    }
}

/// Two ranges of one config must not give the same address, even where their pools would let
/// them: an interface cannot have it twice.
fn check_apart(first: &ConfiguredRange, second: &ConfiguredRange) -> Result<(), RequestError> {
    let others = second.range.intervals();
    let shared = first.range.intervals().iter().find_map(|one| {
        let next = others.partition_point(|other| other.last() < one.first());
        let other = others.get(next).filter(|other| other.overlaps(*one))?;
        Some(one.first().max(other.first()))
    });
    match shared {
        None => Ok(()),
        Some(shared) => Err(RequestError::Overlap {
            first: first.key.clone(),
            first_cidr: first.range.cidr(),
            second: second.key.clone(),
            second_cidr: second.range.cidr(),
            shared,
        }),
    }
}

#[cfg(test)]
mod tests;
