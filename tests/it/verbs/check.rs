//! CHECK: the claim is there, and its addresses are in `prevResult` and marked as taken.

use serde_json::{Value, json};
use whereabouts_core::address::{Bitmap, BlockKey, Pool};
use whereabouts_store::keys::Key;
use whereabouts_store::{Write, record};

use crate::plugin::{Network, Pod, Site, put};

/// An attachment that was added, and what the ADD answered.
fn added() -> (Site, Network, Pod, Value) {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24").ipam(json!({
        "ipRanges": [{"range": "fd00::/64"}],
        "addresses": [{"address": "172.16.0.9/16"}],
    }));
    let pod = Pod::new("checked");
    let previous = network.add(&pod).result();
    (site, network, pod, previous)
}

fn without(mut previous: Value, address: &str) -> Value {
    let ips = previous["ips"].as_array_mut().expect("ips are a list");
    let before = ips.len();
    ips.retain(|ip| ip["address"] != address);
    assert_eq!(ips.len() + 1, before, "{address} was there");
    previous
}

#[test]
fn check_of_what_add_answered_succeeds_and_says_nothing() {
    let (_site, network, pod, previous) = added();
    network.check(&pod, &previous).assert_silent();
}

#[test]
fn check_in_0_4_0_reads_the_result_of_its_version() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24").version("0.4.0");
    let pod = Pod::new("old");
    let previous = network.add(&pod).result();
    network.check(&pod, &previous).assert_silent();
}

#[test]
fn check_tolerates_the_addresses_of_other_plugins() {
    let (_site, network, pod, mut previous) = added();
    let ips = previous["ips"].as_array_mut().expect("ips are a list");
    ips.insert(0, json!({"address": "192.0.2.1/32", "interface": 0}));
    previous["interfaces"] = json!([{"name": "eth0"}]);
    network.check(&pod, &previous).assert_silent();
}

#[test]
fn check_without_a_claim_is_code_106() {
    let (_site, network, pod, previous) = added();
    network.del(&pod).assert_silent();
    let failed = network.check(&pod, &previous);
    failed.assert_error(106, &["eth0 of container checked", "holds no address"]);
}

#[test]
fn check_of_a_held_address_that_is_not_in_prev_result_is_code_106() {
    let (_site, network, pod, previous) = added();
    for (address, shown) in [("10.0.0.1/24", "10.0.0.1"), ("fd00::1/64", "fd00::1")] {
        let failed = network.check(&pod, &without(previous.clone(), address));
        failed.assert_error(106, &[shown, "prevResult does not have"]);
    }
}

#[test]
fn check_of_a_static_address_that_is_not_in_prev_result_is_code_106() {
    let (_site, network, pod, previous) = added();
    let failed = network.check(&pod, &without(previous, "172.16.0.9/16"));
    failed.assert_error(106, &["172.16.0.9/16", "is not in prevResult"]);
}

#[test]
fn check_of_an_address_that_is_not_marked_as_taken_is_code_106() {
    let (site, network, pod, previous) = added();
    let address = "10.0.0.1".parse::<std::net::IpAddr>().expect("an address");
    let block = Key::Open(BlockKey::of(&Pool::default(), address.into()));
    put(
        &site,
        Write::Put {
            key: site.keys().encode(&block),
            value: record::encode_block(&Bitmap::EMPTY),
            lease: 0,
        },
    );
    let failed = network.check(&pod, &previous);
    failed.assert_error(106, &["10.0.0.1", "is not marked as taken"]);
}

#[test]
fn check_without_prev_result_is_code_7() {
    let (_site, network, pod, _) = added();
    network
        .check(&pod, &Value::Null)
        .assert_error(7, &["prevResult"]);
}

#[test]
fn check_lives_with_a_wrong_range() {
    let (_site, network, pod, previous) = added();
    let wrong = network.ipam(json!({"range": "10.0.0.0/99"}));
    wrong.check(&pod, &previous).assert_silent();
}

#[test]
fn check_writes_nothing() {
    let (site, network, pod, previous) = added();
    let before = site.entries();
    network.check(&pod, &previous).assert_silent();
    assert_eq!(site.entries(), before);
}
