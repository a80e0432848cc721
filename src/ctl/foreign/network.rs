//! Networks: what a NetworkAttachmentDefinition, or a configuration on a node, says of ranges.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Unusable;
use super::objects::{full_name, name_of};
use whereabouts_cni::invocation::{File, Machine};
use whereabouts_cni::request::{self, LogLevel};
use whereabouts_core::address::{Name, Range};

/// The `type` of an `ipam` that is ours, or the ancestor's.
const TYPE: &str = "whereabouts";

/// The keys of `ipam` on which ranges and pools depend. All others are for the nodes and for `lint`.
const KEYS: [&str; 8] = [
    "range",
    "range_start",
    "range_end",
    "exclude",
    "gateway",
    "ipRanges",
    "network_name",
    "enable_overlapping_ranges",
];

/// A network whose addresses whereabouts gives.
#[derive(Debug)]
pub(super) struct Network {
    /// How a pod's network-status calls it.
    pub(super) id: String,
    /// The name in claims: CNI's.
    pub(super) name: Name,
    /// Its ranges, in the order of its answers.
    pub(super) ranges: Vec<Range>,
}

/// A network, or why its configuration is none; nothing when another plugin gives its addresses.
pub(super) fn network(document: &Value) -> Option<Result<Network, Unusable>> {
    if !document["kind"].is_string() {
        let id = document["name"].as_str().unwrap_or("?");
        return of_config(id, document);
    }
    let id = full_name(document);
    let text = document["spec"]["config"].as_str()?;
    if text.trim().is_empty() {
        return None;
    }
    let mut config: Value = match serde_json::from_str(text) {
        Ok(config) => config,
        Err(error) => {
            let reason = format!("its config is no JSON: {error}");
            return Some(Err(Unusable::new(&id, &reason)));
        }
    };
    // Multus gives a configuration without a name that of its object.
    if config.is_object() && config["name"].as_str().unwrap_or_default().is_empty() {
        config["name"] = name_of(document).into();
    }
    of_config(&id, &config)
}

fn of_config(id: &str, config: &Value) -> Option<Result<Network, Unusable>> {
    let one = std::slice::from_ref(config);
    let plugins = config["plugins"].as_array().map_or(one, Vec::as_slice);
    let ipams = plugins.iter().map(|plugin| &plugin["ipam"]);
    let ours: Vec<&Value> = ipams.filter(|ipam| ipam["type"] == TYPE).collect();
    let read = match ours.as_slice() {
        [] => return None,
        [ipam] => read(id, config, ipam),
        _ => Err("several of its plugins use whereabouts".to_owned()),
    };
    Some(read.map_err(|reason| Unusable::new(id, &reason)))
}

fn read(id: &str, config: &Value, ipam: &Value) -> Result<Network, String> {
    // A node's part of the range is an address space of its own there, and is none here.
    let is_set = |key: &str| ipam[key].as_str().is_some_and(|text| !text.is_empty());
    if is_set("node_slice_size") {
        return Err(
            "it has node_slice_size, whose IPPools are parts of nodes: they cannot be taken over"
                .to_owned(),
        );
    }
    let of_ranges = KEYS
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), ipam.get(key)?.clone())));
    let mut reduced = json!({"name": config["name"], "ipam": of_ranges.collect::<Map<_, _>>()});
    if let Some(version) = config.get("cniVersion") {
        reduced["cniVersion"] = version.clone();
    }
    let linted =
        request::lint(reduced.to_string().as_bytes(), &NoFiles).map_err(|error| error.details())?;
    let errors = linted
        .remarks
        .into_iter()
        .filter(|remark| matches!(remark.level, LogLevel::Panic | LogLevel::Error));
    match errors.map(|remark| remark.text).next() {
        Some(error) => Err(error),
        None => Ok(Network {
            id: id.to_owned(),
            name: linted.network,
            ranges: linted.ranges,
        }),
    }
}

/// A machine without a flat file: the nodes' are not there where this runs.
struct NoFiles;

impl Machine for NoFiles {
    fn read(&self, _path: &Path) -> io::Result<File> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn real_path(&self, _path: &Path) -> io::Result<PathBuf> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn host_name(&self) -> Option<String> {
        None
    }

    fn boot_id(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`: id, name, and each range with its pool; or a part of the error.
    fn check(document: &Value, expected: Option<Result<&str, &str>>) {
        match (network(document), expected) {
            (None, None) => {}
            (Some(Ok(network)), Some(Ok(expected))) => {
                let ranges = network.ranges.iter();
                let ranges: Vec<String> = ranges
                    .map(|range| format!("{} {}", range.pool(), range.cidr()))
                    .collect();
                let Network { id, name, .. } = &network;
                assert_eq!(format!("{id} {name}: {}", ranges.join(", ")), expected);
            }
            (Some(Err(error)), Some(Err(part))) => {
                assert!(error.to_string().contains(part), "{error}");
            }
            (found, _) => panic!("{found:?}"),
        }
    }

    fn attachment_definition(config: &str) -> Value {
        json!({"kind": "NetworkAttachmentDefinition", "spec": {"config": config},
            "metadata": {"name": "resource", "namespace": "space"}})
    }

    #[test]
    fn a_network_has_the_name_and_the_ranges_of_its_config() {
        let cases = [
            (
                r#"{"name": "net", "type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.9/24",
                    "kubernetes": {"kubeconfig": "/x"}, "unknown": 1}}"#,
                Some(Ok("space/resource net: (shared) 10.0.0.0/24")),
            ),
            (
                r#"{"ipam": {"type": "whereabouts", "network_name": "n", "ipRanges": [
                    {"range": "fd00::/64"}, {"range": "10.0.0.1-10.0.0.9/24"}]}}"#,
                Some(Ok("space/resource resource: n fd00::/64, n 10.0.0.0/24")),
            ),
            (
                r#"{"name": "", "cniVersion": "1.0.0", "plugins": [{"type": "tuning"}, {"ipam": {
                    "type": "whereabouts", "range": "10.0.0.0/24", "enable_overlapping_ranges": false}}]}"#,
                Some(Ok(
                    "space/resource resource: (shared) of 10.0.0.0/24 alone 10.0.0.0/24",
                )),
            ),
            (r#"{"ipam": {"type": "host-local"}}"#, None),
            (r#"{"type": "sriov"}"#, None),
            ("", None),
            ("{", Some(Err("space/resource: its config is no JSON"))),
            (
                r#"{"ipam": {"type": "whereabouts"}}"#,
                Some(Err("space/resource: ")),
            ),
            (
                r#"{"ipam": {"type": "whereabouts", "range": "10.0.0.0/33"}}"#,
                Some(Err("ipam.range")),
            ),
            (
                r#"{"ipam": {"type": "whereabouts", "range": "10.0.0.0/16", "node_slice_size": "/24"}}"#,
                Some(Err("node_slice_size")),
            ),
        ];
        for (config, expected) in cases {
            check(&attachment_definition(config), expected);
        }
        let on_node = json!({"name": "primary", "plugins": [
            {"ipam": {"type": "whereabouts", "range": "10.0.0.0/24"}}]});
        check(&on_node, Some(Ok("primary primary: (shared) 10.0.0.0/24")));
    }
}
