//! Which address a pod gets, of one network and of several.

use serde_json::json;

use super::{Site, addresses, expect};
use crate::lab::Lab;
use crate::objects::pod;

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

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
