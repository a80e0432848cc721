//! Which address a pod gets, of one network and of several.

use std::ffi::OsStr;
use std::fs;

use serde_json::json;

use super::{Site, addresses, expect, wait_until};
use crate::lab::{Lab, NODES};
use crate::objects::{self, pod};

/// The primary network alone.
pub(super) fn one_pod(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "one-pod")?;
    lab.apply(&[pod(site.namespace, "one", &[])])?;
    site.settles_at(1)?;
    let given = site.addresses("eth0")?;
    expect("addresses of the primary network", given.len(), 1)?;
    site.close()
}

/// Dual stack; `range` beside `ipRanges`; two networks whose ranges overlap.
pub(super) fn several_networks(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "several-networks")?;
    let dual = json!({"ipRanges": [{"range": "10.41.0.0/24"}, {"range": "fd00:41::/64"}]});
    site.network("dual", dual)?;
    let both = json!({"range": "10.42.0.0/24", "ipRanges": [{"range": "fd00:42::/64", "exclude": ["fd00:42::/126"]}]});
    site.network("both", both)?;
    site.network("wide", json!({"range": "10.43.0.0/16"}))?;
    site.network("narrow", json!({"range": "10.43.0.0/29"}))?;
    let networks = ["dual", "both", "wide", "narrow"];
    lab.apply(&[
        pod(site.namespace, "first", &networks),
        pod(site.namespace, "second", &networks),
    ])?;
    site.settles_at(2)?;
    expect(
        "dual",
        site.addresses("net1")?,
        texts(&["10.41.0.1", "10.41.0.2", "fd00:41::1", "fd00:41::2"]),
    )?;
    expect(
        "both",
        site.addresses("net2")?,
        texts(&["10.42.0.1", "10.42.0.2", "fd00:42::4", "fd00:42::5"]),
    )?;
    let overlapping = [site.addresses("net3")?, site.addresses("net4")?].concat();
    let mut sorted = overlapping;
    sorted.sort();
    expect("wide and narrow", sorted, addresses("10.43.0.", 1, 4))?;
    site.close()
}

/// Equal ranges in pools of their own.
pub(super) fn named_networks(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "named-networks")?;
    for name in ["red", "blue"] {
        site.network(name, json!({"range": "10.44.0.0/24", "network_name": name}))?;
    }
    lab.apply(&[pod(site.namespace, "one", &["red", "blue"])])?;
    site.settles_at(1)?;
    expect("red", site.addresses("net1")?, texts(&["10.44.0.1"]))?;
    expect("blue", site.addresses("net2")?, texts(&["10.44.0.1"]))?;
    site.close()
}

/// Addresses that pods request by Multus' selection of networks. A taken one is an error that names its holder, and the
/// pod starts when it is free.
pub(super) fn requested_addresses(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "requested-addresses")?;
    let range = json!({"range": "10.73.0.0/24", "ipRanges": [{"range": "fd00:73::/64"}]});
    lab.apply(&[objects::network_that_takes_requests(
        site.namespace,
        "net",
        range,
    )])?;
    let requested = ["10.73.0.77/24", "fd00:73::77/64"];
    let asking = |name: &str| objects::requesting_pod(site.namespace, name, "net", &requested);
    lab.apply(&[asking("first")])?;
    site.settles_at(1)?;
    let held = texts(&["10.73.0.77", "fd00:73::77"]);
    expect("requested addresses", site.addresses("net1")?, held.clone())?;
    lab.apply(&[asking("second")])?;
    wait_until(super::LIMIT, || {
        let event = site.last_event()?;
        let is_told = event.contains("10.73.0.77") && event.contains("requested-addresses/first");
        Ok((!is_told).then(|| format!("no event names the holder of 10.73.0.77: {event}")))
    })?;
    site.kubectl(&["delete", "pod", "first"])?;
    site.settles_at(1)?;
    expect("requested addresses", site.addresses("net1")?, held)?;
    site.close()
}

/// Every file of deploy/samples, with two pods that use each of its networks. The primary network's is the cluster's own,
/// so every pod uses it.
pub(super) fn samples(lab: &Lab) -> Result<(), String> {
    let files = sample_files(lab)?;
    // The interfaces that vlans.yaml expects of a node. Not every kernel has VLANs, and a name is all that the sample
    // needs.
    each_node(
        lab,
        "for id in 100 200; do ip link add eth1.$id up type veth peer name vlan-$id; done",
    )?;
    let site = Site::open(lab, "samples")?;
    for file in &files {
        lab.kubectl(&["apply", "--filename", file])?;
    }
    let networks = [
        "default/dual",
        "default/storage",
        "default/vlan-100",
        "default/vlan-200",
    ];
    lab.apply(&[
        pod(site.namespace, "first", &networks),
        pod(site.namespace, "second", &networks),
    ])?;
    site.settles_at(2)?;
    expect("primary", site.addresses("eth0")?.len(), 2)?;
    let dual = ["10.20.0.2", "10.20.0.3", "fd00:20::2", "fd00:20::3"];
    expect("dual", site.addresses("net1")?, texts(&dual))?;
    let storage = addresses("192.168.20.", 2, 3);
    expect("storage", site.addresses("net2")?, storage)?;
    for vlan in ["net3", "net4"] {
        expect(vlan, site.addresses(vlan)?, addresses("10.30.0.", 1, 2))?;
    }
    expect_every_network_used(lab, &networks)?;
    site.close()?;
    for file in &files {
        lab.kubectl(&["delete", "--filename", file])?;
    }
    each_node(lab, "ip link del eth1.100; ip link del eth1.200")
}

/// The samples with objects of Kubernetes. The one without is installed with Multus.
fn sample_files(lab: &Lab) -> Result<Vec<String>, String> {
    let folder = lab.path("deploy/samples");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        match path.extension().and_then(OsStr::to_str) {
            Some("yaml") => files.push(path.display().to_string()),
            _ if path.ends_with("primary.conflist") => {}
            _ => return Err(format!("no scenario has the sample {}", path.display())),
        }
    }
    Ok(files)
}

/// A new sample is not forgotten.
fn expect_every_network_used(lab: &Lab, used: &[&str]) -> Result<(), String> {
    let listed = lab.get(&["net-attach-def", "--namespace=default"])?;
    let items = listed["items"].as_array().into_iter().flatten();
    let mut names: Vec<String> = items
        .map(|item| {
            format!(
                "default/{}",
                item["metadata"]["name"].as_str().unwrap_or_default()
            )
        })
        .collect();
    names.sort();
    expect("networks of the samples", names, texts(used))
}

fn each_node(lab: &Lab, lines: &str) -> Result<(), String> {
    NODES
        .iter()
        .try_for_each(|node| lab.script(node, lines).map(drop))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
