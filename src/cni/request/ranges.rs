//! The ranges of a config, and their pools.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::error::{RequestError, Shown};
use super::findings::Findings;
use super::json::{Node, Object, Text};
use super::stated::Stated;
use super::{LogLevel, identity, notation};
use whereabouts_core::address::{Address, Interval, Pool, Range, RangeError, RangeSpec};
use whereabouts_core::claim::RangeId;
use whereabouts_core::limits;

/// The keys beside `ipam` with which the bridge plugin gives its bridge an address for each
/// answered address. The bridge takes the answered gateway or, without one, the first address after
/// the network address.
const BRIDGE_KEYS: [&str; 2] = ["isGateway", "isDefaultGateway"];

/// The keys about ranges in the config, in `ipam` and in `runtimeConfig`, not yet read.
pub(super) struct Raw {
    bridge: Vec<Node>,
    range: Option<Node>,
    bounds: Bounds,
    /// The gateway of all ranges of its family.
    gateway: Option<Node>,
    list: Option<Node>,
    runtime_list: Option<Node>,
    network_name: Option<Node>,
    overlapping: Option<Node>,
}

/// The keys that restrict a range to a part of its CIDR.
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
    /// The gateways, which no attachment may have.
    gateways: Vec<Address>,
    /// The addresses that the config states and reserves one by one.
    addresses: Vec<Address>,
    /// The stated addresses without a gateway of their own, with their prefix lengths.
    without_gateway: Vec<IpNet>,
}

impl SpokenFor {
    /// The addresses of `addresses` in the config, of the requests and of further gateways.
    pub(super) fn new(configured: &[Stated], requested: &[Stated], gateways: &[Address]) -> Self {
        let own = configured.iter().filter_map(|stated| stated.gateway);
        let stated = configured.iter().chain(requested);
        let bare = stated.filter(|stated| stated.gateway.is_none());
        let cidr = |stated: &Stated| IpNet::new(stated.address.into(), stated.length?).ok();
        Self {
            gateways: own.chain(gateways.iter().copied()).collect(),
            addresses: configured.iter().map(|stated| stated.address).collect(),
            without_gateway: bare.filter_map(cidr).collect(),
        }
    }
}

/// The ranges of a config.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// The valid ranges, in the order of their allocations.
    pub(super) valid: Vec<ConfiguredRange>,
    /// The queue of each CIDR that could be read, even if its range is invalid.
    pub(super) queues: Vec<RangeId>,
    /// The gateways, inside and outside the ranges, and the addresses that the bridge takes. No attachment has one of them.
    pub(super) gateways: Vec<Address>,
}

/// A range and its keys.
#[derive(Debug)]
pub(super) struct ConfiguredRange {
    /// The key of the range.
    pub(super) key: String,
    /// The range.
    pub(super) range: Range,
    /// The gateway of the range's addresses.
    pub(super) gateway: Option<Address>,
}

impl Raw {
    /// Takes the keys out.
    pub(super) fn take(config: &mut Object, ipam: &mut Object, runtime: &mut Object) -> Self {
        Self {
            bridge: BRIDGE_KEYS
                .into_iter()
                .flat_map(|key| config.take_in_any_case(key))
                .collect(),
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

    /// The ranges. None of them gives a gateway or an address that is `spoken_for`.
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
            let draft = entry.read(&pools, &mut queues, findings).map(Some);
            drafts.extend(findings.tolerate(draft)?);
        }
        let own = drafts.iter().filter_map(|draft| draft.gateway);
        spoken_for.gateways.extend(own);
        if let Some(key) = findings.tolerate(bridge_key(self.bridge))? {
            for address in bridge_addresses(&drafts, common, &spoken_for.without_gateway) {
                let text = format!("the bridge takes {address} ({key}); it is never given");
                findings.remark(LogLevel::Debug, text);
                spoken_for.gateways.push(address);
            }
        }

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
        Ok(Ranges {
            valid: ranges,
            queues,
            gateways: spoken_for.gateways,
        })
    }
}

/// The rule for the pool of a CIDR.
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

    fn queue(&self, cidr: IpNet) -> RangeId {
        let cidr = cidr.trunc();
        let pool = Pool {
            name: self.name.clone(),
            only: (!self.shared).then_some(cidr),
        };
        RangeId { pool, cidr }
    }
}

fn read_address(node: Option<Node>) -> Result<Option<Address>, RequestError> {
    let bound = read_bound(node)?;
    Ok(bound.map(|(_, address)| address))
}

/// An address, and the text of its key.
fn read_bound(node: Option<Node>) -> Result<Option<(Text, Address)>, RequestError> {
    let Some(node) = node else { return Ok(None) };
    let text = node.text()?;
    let address = text.read(notation::address)?;
    Ok(Some((text, address)))
}

/// The key that makes the bridge plugin give its bridge addresses.
fn bridge_key(nodes: Vec<Node>) -> Result<Option<String>, RequestError> {
    for node in nodes {
        let key = node.key().to_owned();
        if node.flag()? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// The addresses that the bridge plugin computes for its bridge: one for each prefix that is
/// answered without a gateway.
fn bridge_addresses(
    drafts: &[Draft],
    common: Option<Address>,
    stated: &[IpNet],
) -> BTreeSet<Address> {
    let bare = drafts
        .iter()
        .filter(|draft| draft.gateway(common).is_none());
    // A stated address inside a range has the gateway of that range.
    let outside = |cidr: &&IpNet| {
        let mut drafts = drafts.iter();
        !drafts.any(|draft| draft.spec.cidr.contains(&cidr.addr()))
    };
    let prefixes = bare.map(|draft| &draft.spec.cidr);
    let prefixes = prefixes.chain(stated.iter().filter(outside));
    let computed = |cidr: &IpNet| Address::from(cidr.network()).successor();
    prefixes.filter_map(computed).collect()
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
    /// The range in `ipam` itself, if there is one.
    fn alone(range: Option<Node>, bounds: Bounds) -> Result<Option<Self>, RequestError> {
        if let Some(range) = range {
            return Ok(Some(Self {
                range,
                bounds,
                gateway: None,
            }));
        }
        let exclude = bounds.exclude.filter(|node| !node.is_empty_list());
        match bounds.first.or(bounds.last).or(exclude) {
            None => Ok(None),
            Some(node) => Err(RequestError::MissingKey {
                key: "ipam.range".to_owned(),
                reason: format!("{} needs it", node.key()),
            }),
        }
    }

    /// An entry of `ipRanges`. Runtimes write the names of the conventions, and each entry as a
    /// list: `[[{subnet, rangeStart, rangeEnd, gateway}]]`.
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
            reason: "each entry of ipRanges needs it".to_owned(),
        })?;
        Ok(Self {
            range,
            bounds,
            gateway,
        })
    }

    /// Reads the range. `queues` gets its queue once its CIDR is known.
    fn read(
        self,
        pools: &Pools,
        queues: &mut Vec<RangeId>,
        findings: &mut Findings,
    ) -> Result<Draft, RequestError> {
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
        let (first, last) = (read_bound(bounds.first)?, read_bound(bounds.last)?);
        let bound = |bound: &Option<(Text, Address)>| bound.as_ref().map(|(_, address)| *address);
        let spec = RangeSpec {
            pool,
            cidr: range.cidr,
            first: bound(&first).or(range.ends.map(|(first, _)| first)),
            last: bound(&last).or(range.ends.map(|(_, last)| last)),
            exclusions: exclusions(bounds.exclude, range.cidr, findings)?,
            gateways: Vec::new(),
        };
        Ok(Draft {
            text,
            first: first.map(|(text, _)| text),
            last: last.map(|(text, _)| text),
            spec,
            gateway,
        })
    }
}

/// The exclusions inside `cidr`. An empty string excludes nothing. An exclusion outside `cidr` has
/// no effect and leads to a remark.
fn exclusions(
    node: Option<Node>,
    cidr: IpNet,
    findings: &mut Findings,
) -> Result<Vec<Interval>, RequestError> {
    let texts = node.map(Node::texts).transpose()?.unwrap_or_default();
    let mut exclusions = Vec::new();
    for text in texts.iter().filter(|text| !text.text.is_empty()) {
        let exclusion = text.read(notation::exclusion)?;
        if exclusion.overlaps(Interval::of(cidr)) {
            exclusions.push(exclusion);
        } else {
            let reason = format_args!("is outside {} and excludes nothing", cidr.trunc());
            findings.remark(LogLevel::Warn, text.wrong(reason).to_string());
        }
    }
    Ok(exclusions)
}

fn own_gateway(text: &Text, cidr: IpNet) -> Result<Address, RequestError> {
    let gateway = text.read(notation::address)?;
    if gateway.family() == Address::from(cidr.addr()).family() {
        return Ok(gateway);
    }
    Err(text.wrong(format_args!("is not of the family of its range, {cidr}")))
}

/// A range after its keys were read.
struct Draft {
    text: Text,
    /// The key of the first address, if it has a key of its own.
    first: Option<Text>,
    /// The key of the last address, if it has a key of its own.
    last: Option<Text>,
    spec: RangeSpec,
    gateway: Option<Address>,
}

impl Draft {
    /// The gateway of the range's addresses. `common` is the gateway of all ranges of the family.
    fn gateway(&self, common: Option<Address>) -> Option<Address> {
        let family = Address::from(self.spec.cidr.addr()).family();
        let common = common.filter(|gateway| gateway.family() == family);
        self.gateway.or(common)
    }

    fn finish(
        mut self,
        common: Option<Address>,
        spoken_for: &SpokenFor,
    ) -> Result<ConfiguredRange, RequestError> {
        let gateway = self.gateway(common);
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
                gateway,
            }),
            Err(source) => Err(wrong_range(&self.text, self.first, self.last, source)),
        }
    }
}

/// The error of the wrong key: of the first or the last address if it has a key of its own,
/// otherwise of the range.
fn wrong_range(
    range: &Text,
    first: Option<Text>,
    last: Option<Text>,
    source: RangeError,
) -> RequestError {
    let outside =
        |bound: &Text, cidr| bound.wrong(format_args!("is outside {cidr} ({})", range.key));
    match (source, first, last) {
        (RangeError::FirstOutside { cidr, .. }, Some(first), _) => outside(&first, cidr),
        (RangeError::LastOutside { cidr, .. }, _, Some(last)) => outside(&last, cidr),
        (RangeError::LastBeforeFirst { first, .. }, _, Some(last)) => {
            last.wrong(format_args!("is before the first address, {first}"))
        }
        (source, _, _) => RequestError::Range {
            key: range.key.clone(),
            value: Shown::new(&range.text),
            source: Box::new(source),
        },
    }
}

/// Checks that two ranges of one config have no address in common, even in different pools. An
/// interface cannot have an address twice.
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
