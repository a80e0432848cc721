//! The addresses of its ranges that a config gives, and the pools in which an address is given at most once.

use serde_json::{Value, json};

use crate::plugin::{Network, Pod, Site, pods};

/// The addresses that ADDs get one after the other, until one gets none.
fn all_of(network: &Network) -> Vec<String> {
    let mut given = Vec::new();
    loop {
        let answer = network.add(&Pod::new(&format!("c{}", given.len())));
        if answer.exit_code == Some(1) {
            answer.assert_error(101, &[&format!("all of its {} addresses", given.len())]);
            return given;
        }
        let (address, _) = answer.address().split_once('/').map_or_else(
            || panic!("no length: {answer:?}"),
            |(address, length)| (address.to_owned(), length.to_owned()),
        );
        given.push(address);
    }
}

fn check(ipam: Value, expected: &[&str]) {
    let site = Site::shared();
    assert_eq!(all_of(&site.without_range().ipam(ipam)), expected);
    site.assert_at_rest(expected.len());
}

#[test]
fn network_and_broadcast_address_are_never_given() {
    check(
        json!({"range": "192.168.2.228/30"}),
        &["192.168.2.229", "192.168.2.230"],
    );
    check(
        json!({"range": "fd00::4/126"}),
        &["fd00::5", "fd00::6", "fd00::7"],
    );
}

#[test]
fn ranges_of_two_and_of_one_give_all_they_have_but_dot_zero() {
    check(json!({"range": "10.0.0.2/31"}), &["10.0.0.2", "10.0.0.3"]);
    check(json!({"range": "10.0.0.0/31"}), &["10.0.0.1"]);
    check(json!({"range": "10.0.0.7/32"}), &["10.0.0.7"]);
    check(json!({"range": "fd00::/127"}), &["fd00::", "fd00::1"]);
    check(json!({"range": "fd00::/128"}), &["fd00::"]);
}

#[test]
fn an_address_that_ends_in_dot_zero_is_never_given() {
    let range = json!({"range": "10.0.0.253-10.0.1.2/23"});
    check(
        range,
        &[
            "10.0.0.253",
            "10.0.0.254",
            "10.0.0.255",
            "10.0.1.1",
            "10.0.1.2",
        ],
    );
}

#[test]
fn the_host_bits_of_a_range_do_not_matter() {
    let ipam = json!({"range": "192.168.2.237/28", "range_start": "192.168.2.236"});
    check(ipam, &["192.168.2.236", "192.168.2.237", "192.168.2.238"]);
}

#[test]
fn the_gateway_is_never_given_and_is_set_on_every_address() {
    let ipam = json!({"range": "10.0.0.0/29", "gateway": "10.0.0.1"});
    check(
        ipam.clone(),
        &["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"],
    );
    let result = Site::shared()
        .without_range()
        .ipam(ipam)
        .add(&Pod::new("c"));
    assert_eq!(result.result()["ips"][0]["gateway"], "10.0.0.1");
}

#[test]
fn the_gateway_of_one_range_is_not_given_of_an_overlapping_one() {
    check(
        json!({"ipRanges": [{"range": "10.0.0.0/29", "range_end": "10.0.0.3", "gateway": "10.0.0.2"}]}),
        &["10.0.0.1", "10.0.0.3"],
    );
}

#[test]
fn exclusions_are_never_given() {
    let ipam = json!({"range": "10.0.0.0/28",
        "exclude": ["10.0.0.1/32", "10.0.0.4/30", "10.0.0.8-10.0.0.12"]});
    check(ipam, &["10.0.0.2", "10.0.0.3", "10.0.0.13", "10.0.0.14"]);
}

#[test]
fn more_exclusions_than_one_read_covers_are_searched_to_the_end() {
    // Every second /24 of a /20 is excluded, and what is between has one address each.
    let exclude: Vec<String> = (0..16)
        .map(|third| format!("10.0.{third}.2-10.0.{third}.255"))
        .chain(["10.0.0.0/32".to_owned()])
        .collect();
    let expected: Vec<String> = (0..16).map(|third| format!("10.0.{third}.1")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(
        json!({"range": "10.0.0.0/20", "exclude": exclude}),
        &expected,
    );
}

#[test]
fn first_and_last_bound_a_range() {
    let ipam = json!({"range": "10.0.0.0/24", "range_start": "10.0.0.9", "range_end": "10.0.0.11"});
    check(ipam, &["10.0.0.9", "10.0.0.10", "10.0.0.11"]);
    check(
        json!({"range": "fd00::ff-fd00::101/64"}),
        &["fd00::ff", "fd00::100", "fd00::101"],
    );
}

#[test]
fn the_ends_of_the_address_space_can_be_given() {
    check(
        json!({"range": "255.255.255.254/31"}),
        &["255.255.255.254", "255.255.255.255"],
    );
    let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    check(json!({"range": format!("{last}/128")}), &[last]);
    let all = Site::shared().network("::/0");
    assert_eq!(all.add(&Pod::new("c")).address(), "::1/0");
}

#[test]
fn leading_zeroes_are_decimal_and_hexadecimal() {
    let ipam = json!({"range": "00192.00168.1.5-192.168.001.006/0024"});
    check(ipam, &["192.168.1.5", "192.168.1.6"]);
}

#[test]
fn overlapping_ranges_of_different_networks_never_give_an_address_twice() {
    let site = Site::shared();
    let wide = site.network("10.0.0.0/16");
    let narrow = site
        .network("10.0.0.0/29")
        .config(json!({"name": "narrow"}));
    let mut given = Vec::new();
    for pod in pods(3) {
        for network in [&wide, &narrow] {
            let address = network.add(&pod).address();
            given.push(address.split('/').next().unwrap_or_default().to_owned());
        }
    }
    let expected: Vec<String> = (1..=6).map(|last| format!("10.0.0.{last}")).collect();
    assert_eq!(given, expected);
    narrow
        .add(&Pod::new("late"))
        .assert_error(101, &["10.0.0.0/29"]);
}

/// The first address of each of two networks that differ in these keys of `ipam`.
fn first_of_each(one: Value, other: Value) -> [String; 2] {
    let site = Site::shared();
    [("one", one), ("other", other)].map(|(name, ipam)| {
        let network = site.network("10.0.0.0/24").ipam(ipam);
        let network = network.config(json!({"name": name}));
        let address = network.add(&Pod::new("c")).address();
        network.del(&Pod::new("unknown")).assert_silent();
        address
    })
}

#[test]
fn a_network_name_is_a_pool_of_its_own() {
    let (blue, green) = (
        json!({"network_name": "blue"}),
        json!({"network_name": "green"}),
    );
    let same = ["10.0.0.1/24", "10.0.0.1/24"];
    let different = ["10.0.0.1/24", "10.0.0.2/24"];
    assert_eq!(first_of_each(blue.clone(), green), same);
    assert_eq!(first_of_each(blue.clone(), json!({})), same);
    assert_eq!(first_of_each(blue.clone(), blue), different);
    assert_eq!(first_of_each(json!({}), json!({})), different);
}

#[test]
fn with_enable_overlapping_ranges_false_each_cidr_is_a_pool_of_its_own() {
    let alone = json!({"enable_overlapping_ranges": false});
    let other = json!({"enable_overlapping_ranges": false, "range": "10.0.0.0/25"});
    assert_eq!(
        first_of_each(alone.clone(), other),
        ["10.0.0.1/24", "10.0.0.1/25"]
    );
    assert_eq!(
        first_of_each(alone.clone(), alone.clone()),
        ["10.0.0.1/24", "10.0.0.2/24"]
    );
    assert_eq!(
        first_of_each(alone, json!({})),
        ["10.0.0.1/24", "10.0.0.1/24"]
    );
}
