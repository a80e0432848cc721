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

    /// The ranges. `gateways` are those known from elsewhere: no range gives them either.
    pub(super) fn read(
        self,
        mut gateways: Vec<Address>,
        findings: &mut Findings,
    ) -> Result<Ranges, RequestError> {
        let pools = Pools::read(self.network_name, self.overlapping).map(Some);
        let Some(pools) = findings.tolerate(pools)? else {
            return Ok(Ranges::default());
        };
        let common = findings.tolerate(read_address(self.gateway))?;
        gateways.extend(common);

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
        gateways.extend(drafts.iter().filter_map(|draft| draft.gateway));

        let mut ranges: Vec<ConfiguredRange> = Vec::new();
        for draft in drafts {
            let range = draft.finish(common, &gateways).and_then(|range| {
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
    let read = |text: Text| notation::address(&text.text).map_err(|error| text.wrong(error));
    node.map(|node| node.text().and_then(read)).transpose()
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
        let range = notation::range(&text.text).map_err(|error| text.wrong(error))?;
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
    let read = |text: Text| notation::exclusion(&text.text).map_err(|error| text.wrong(error));
    let texts = node.map(Node::texts).transpose()?.unwrap_or_default();
    texts.into_iter().map(read).collect()
}

fn own_gateway(text: &Text, cidr: IpNet) -> Result<Address, RequestError> {
    let gateway = notation::address(&text.text).map_err(|error| text.wrong(error))?;
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
    /// The range, which gives none of `gateways`.
    fn finish(
        mut self,
        common: Option<Address>,
        gateways: &[Address],
    ) -> Result<ConfiguredRange, RequestError> {
        let family = Address::from(self.spec.cidr.addr()).family();
        let common = common.filter(|gateway| gateway.family() == family);
        self.spec.gateways = gateways.to_vec();
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
mod tests {
    use serde_json::{Value, json};

    use super::super::sample::{Sample, assert_found, show};
    use super::*;

    fn check(ipam: Value, expected: Result<&str, (u32, &str)>) {
        let add = Sample::of("ADD").ipam(ipam).add();
        let found = add.map(|add| show(&add.ask.expect("there is a range").wants));
        assert_found(found, expected);
    }

    #[test]
    fn a_range_is_a_cidr_whose_host_bits_do_not_matter() {
        let expected = "192.168.2.224/28 192.168.2.225-192.168.2.238";
        check(json!({"range": "192.168.2.225/28"}), Ok(expected));
        check(json!({"range": "00192.00168.2.0225/28"}), Ok(expected));
        check(
            json!({"range": "fd00::7/126"}),
            Ok("fd00::4/126 fd00::5-fd00::7"),
        );
    }

    #[test]
    fn first_and_last_are_part_of_the_range_or_keys_but_not_both() {
        let expected = "10.0.0.0/24 10.0.0.5-10.0.0.9";
        check(json!({"range": "10.0.0.5-10.0.0.9/24"}), Ok(expected));
        let keys = json!({"range": "10.0.0.0/24", "range_start": "10.0.0.05",
            "range_end": "10.0.0.9"});
        check(keys, Ok(expected));
        let first = json!({"range": "10.0.0.0/24", "range_start": "10.0.0.250"});
        check(first, Ok("10.0.0.0/24 10.0.0.250-10.0.0.254"));
        let both = json!({"range": "10.0.0.5-10.0.0.9/24", "range_end": "10.0.0.9"});
        check(both, Err((7, "ipam.range_end and ipam.range")));
    }

    #[test]
    fn a_range_without_length_or_of_length_33_or_129_is_code_7() {
        check(
            json!({"range": "10.0.0.0"}),
            Err((7, "ipam.range: \"10.0.0.0\" has no prefix")),
        );
        check(
            json!({"range": "10.0.0.0/33"}),
            Err((7, "ipam.range: \"10.0.0.0/33\"")),
        );
        check(
            json!({"range": "fd00::/129"}),
            Err((7, "ipam.range: \"fd00::/129\"")),
        );
        check(
            json!({"range": ""}),
            Err((7, "ipam.range: \"\" is not an address")),
        );
    }

    #[test]
    fn a_range_of_length_0_is_the_whole_family() {
        check(
            json!({"range": "10.0.0.0/0"}),
            Ok("0.0.0.0/0 0.0.0.1-255.255.255.254"),
        );
    }

    #[test]
    fn last_before_first_and_first_or_last_outside_are_code_7() {
        let with = |first: &str, last: &str| json!({"range": "10.0.0.0/24", "range_start": first, "range_end": last});
        check(
            with("10.0.0.9", "10.0.0.8"),
            Err((7, "10.0.0.8 is before the first, 10.0.0.9")),
        );
        check(
            with("10.0.1.1", "10.0.0.8"),
            Err((7, "first address 10.0.1.1 is outside")),
        );
        check(
            with("10.0.0.1", "10.0.1.8"),
            Err((7, "last address 10.0.1.8 is outside")),
        );
        check(
            with("fd00::1", "10.0.0.8"),
            Err((7, "first address fd00::1 is outside")),
        );
        let backwards = json!({"range": "10.0.0.9-10.0.0.8/24"});
        check(
            backwards,
            Err((
                7,
                "ipam.range: \"10.0.0.9-10.0.0.8/24\" is no range: the last",
            )),
        );
    }

    #[test]
    fn exclusions_are_cidrs_addresses_or_first_to_last() {
        let exclude = ["10.0.0.8/29", "10.0.0.20", "10.0.0.30-10.0.0.255"];
        check(
            json!({"range": "10.0.0.0/24", "exclude": exclude}),
            Ok("10.0.0.0/24 10.0.0.1-10.0.0.7 10.0.0.16-10.0.0.19 10.0.0.21-10.0.0.29"),
        );
    }

    #[test]
    fn an_exclusion_outside_or_larger_than_the_range_or_of_the_other_family_is_code_7() {
        let with = |exclusion: &str| json!({"range": "10.0.0.0/24", "exclude": [exclusion]});
        check(
            with("10.0.1.0/24"),
            Err((7, "10.0.1.0-10.0.1.255 is outside 10.0.0.0/24")),
        );
        check(
            with("10.0.0.0/16"),
            Err((7, "10.0.0.0/24 has no address left")),
        );
        check(with("fd00::/64"), Err((7, "is outside 10.0.0.0/24")));
        check(
            with("x"),
            Err((7, "ipam.exclude[0]: \"x\" is not an address")),
        );
    }

    #[test]
    fn range_comes_before_ip_ranges_and_those_before_the_runtimes() {
        let sample = Sample::of("ADD")
            .ipam(json!({"range": "10.0.2.0/24", "ipRanges": [
                {"range": "10.0.1.0/24", "range_start": "10.0.1.9", "exclude": ["10.0.1.10"]},
                {"range": "fd00::/64", "range_end": "fd00::5"},
            ]}))
            .config(json!({"runtimeConfig": {"ipRanges": [
                [{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.3", "rangeEnd": "10.0.0.4"}],
                {"range": "10.0.3.0/30"},
            ]}}));
        let found = sample
            .add()
            .map(|add| show(&add.ask.expect("ranges").wants));
        let expected = "10.0.2.0/24 10.0.2.1-10.0.2.254; \
            10.0.1.0/24 10.0.1.9-10.0.1.9 10.0.1.11-10.0.1.254; \
            fd00::/64 fd00::1-fd00::5; 10.0.0.0/24 10.0.0.3-10.0.0.4; \
            10.0.3.0/30 10.0.3.1-10.0.3.2";
        assert_found(found, Ok(expected));
    }

    #[test]
    fn an_entry_of_ip_ranges_needs_a_range_and_knows_its_keys() {
        check(
            json!({"ipRanges": [{}]}),
            Err((7, "ipam.ipRanges[0].range is missing")),
        );
        check(
            json!({"ipRanges": ["10.0.0.0/24"]}),
            Err((7, "ipam.ipRanges[0]: expected an obj")),
        );
        check(
            json!({"ipRanges": {}}),
            Err((7, "ipam.ipRanges: expected a list")),
        );
        let misspelt = json!({"ipRanges": [{"range": "10.0.0.0/24", "rangeStart": "10.0.0.5"}]});
        let expected = "\"ipam.ipRanges[0].rangeStart\" is unknown; is range_start meant?";
        check(misspelt, Err((7, expected)));
        let two = json!({"ipRanges": [[{"range": "10.0.0.0/24"}, {"range": "10.0.1.0/24"}]]});
        check(
            two,
            Err((
                7,
                "ipam.ipRanges[0]: expected an object or a list of one object, found",
            )),
        );
    }

    #[test]
    fn bounds_without_a_range_are_code_7() {
        let with = |key: &str, value: Value| json!({"addresses": [], key: value});
        let missing = "ipam.range is missing: ipam.range_start is about it";
        check(with("range_start", json!("10.0.0.5")), Err((7, missing)));
        check(
            with("exclude", json!(["10.0.0.5"])),
            Err((7, "ipam.exclude is about it")),
        );
    }

    #[test]
    fn overlapping_ranges_of_one_config_are_code_7_and_both_are_named() {
        let ranges = |overlapping: bool| {
            json!({"range": "10.0.0.0/16", "ipRanges": [{"range": "10.0.9.0/24"}],
                "enable_overlapping_ranges": overlapping})
        };
        let expected = "ipam.range (10.0.0.0/16) and ipam.ipRanges[0].range (10.0.9.0/24) overlap";
        check(ranges(true), Err((7, expected)));
        check(ranges(false), Err((7, expected)));
    }

    #[test]
    fn ranges_whose_windows_do_not_overlap_may_share_a_cidr() {
        check(
            json!({"ipRanges": [{"range": "10.0.0.8-10.0.0.9/24"},
                {"range": "10.0.0.0/28", "exclude": ["10.0.0.8-10.0.0.9"]}]}),
            Ok("10.0.0.0/24 10.0.0.8-10.0.0.9; \
                10.0.0.0/28 10.0.0.1-10.0.0.7 10.0.0.10-10.0.0.14"),
        );
    }

    #[test]
    fn more_ranges_than_wants_are_code_7() {
        let range = |index: usize| json!({"range": format!("10.0.{index}.0/24")});
        let ranges: Vec<Value> = (0..=limits::WANTS).map(range).collect();
        check(
            json!({"ipRanges": ranges}),
            Err((7, "ipam.ipRanges: 9 are too many")),
        );
    }

    fn check_pool(ipam: Value, expected: Result<&str, (u32, &str)>) {
        let add = Sample::of("ADD")
            .ipam(json!({"range": "10.0.0.7/24"}))
            .ipam(ipam)
            .add();
        let found = add.map(|add| add.ask.expect("a range").wants[0].range.pool.to_string());
        assert_found(found, expected);
    }

    #[test]
    fn the_pool_is_shared_unless_named_or_ranges_may_not_overlap() {
        check_pool(json!({}), Ok("(shared)"));
        check_pool(json!({"enable_overlapping_ranges": true}), Ok("(shared)"));
        check_pool(json!({"network_name": "red"}), Ok("red"));
        let alone = json!({"network_name": "red", "enable_overlapping_ranges": false});
        check_pool(alone, Ok("red of 10.0.0.0/24 alone"));
    }

    #[test]
    fn a_network_name_that_is_empty_too_long_or_has_control_characters_is_code_7() {
        check_pool(
            json!({"network_name": ""}),
            Err((7, "ipam.network_name: \"\" is empty")),
        );
        check_pool(
            json!({"network_name": "a\u{1}"}),
            Err((7, "has control characters")),
        );
        check_pool(
            json!({"network_name": "a".repeat(254)}),
            Err((7, "more than 253 bytes")),
        );
    }

    /// The gateways of the wants, and the intervals, that a config leads to.
    fn check_gateways(ipam: Value, expected: Result<&str, (u32, &str)>) {
        let add = Sample::of("ADD").ipam(ipam).add();
        let found = add.map(|add| {
            let gateways = add.answer.gateways.iter();
            let gateways =
                gateways.map(|gateway| gateway.map_or("-".to_owned(), |g| g.to_string()));
            let gateways: Vec<String> = gateways.collect();
            format!(
                "{}: {}",
                gateways.join(" "),
                show(&add.ask.expect("a range").wants)
            )
        });
        assert_found(found, expected);
    }

    #[test]
    fn the_gateway_is_set_on_addresses_of_its_family_also_from_outside_the_range() {
        check_gateways(
            json!({"ipRanges": [{"range": "10.0.0.0/30"}, {"range": "fd00::/126"}],
                "gateway": "192.168.2.1"}),
            Ok("192.168.2.1 -: 10.0.0.0/30 10.0.0.1-10.0.0.2; fd00::/126 fd00::1-fd00::3"),
        );
    }

    #[test]
    fn an_entry_of_ip_ranges_may_carry_its_own_gateway() {
        check_gateways(
            json!({"ipRanges": [{"range": "10.0.0.0/29", "gateway": "10.0.0.1"},
                {"range": "fd00::/126", "gateway": "fd00::1"}], "gateway": "10.0.0.6"}),
            Ok("10.0.0.1 fd00::1: 10.0.0.0/29 10.0.0.2-10.0.0.5; fd00::/126 fd00::2-fd00::3"),
        );
        let other = json!({"ipRanges": [{"range": "10.0.0.0/29", "gateway": "fd00::1"}]});
        check_gateways(
            other,
            Err((7, "ipam.ipRanges[0].gateway: \"fd00::1\" is not of the fam")),
        );
    }

    #[test]
    fn no_range_gives_the_gateway_of_another() {
        check_gateways(
            json!({"ipRanges": [{"range": "10.0.0.0/30", "gateway": "10.0.0.6"},
                {"range": "10.0.0.4/30", "gateway": "10.0.0.1"}]}),
            Ok("10.0.0.6 10.0.0.1: 10.0.0.0/30 10.0.0.2-10.0.0.2; 10.0.0.4/30 10.0.0.5-10.0.0.5"),
        );
        check_gateways(
            json!({"range": "10.0.0.0/24", "gateway": "x"}),
            Err((7, "ipam.gateway")),
        );
    }
}
