//! Requirements on requested and configured addresses, each through a whole invocation.

use serde_json::{Value, json};

use super::super::sample::{Sample, assert_found, show};
use super::*;

/// An ADD of a config with two ranges. The gateway of the first range is outside the range.
fn sample() -> Sample {
    Sample::of("ADD").ipam(json!({
        "ipRanges": [
            {"range": "10.0.0.0/24", "range_start": "10.0.0.100", "gateway": "10.0.0.1",
                "exclude": ["10.0.0.200"]},
            {"range": "fd00::/64"},
        ],
    }))
}

/// `expected` is the wants, the gateways and the statics as text, separated by ` | `.
fn check(sample: &Sample, expected: Result<&str, (u32, &str)>) {
    let found = sample.add().map(|add| {
        let wants = add.ask.map(|ask| show(&ask.wants)).unwrap_or_default();
        let gateway = |gateway: &Option<Address>| {
            gateway.map_or("-".to_owned(), |gateway| gateway.to_string())
        };
        let gateways: Vec<String> = add.answer.gateways.iter().map(gateway).collect();
        let show = |one: &StaticAddress| format!("{} {}", one.address, gateway(&one.gateway));
        let statics: Vec<String> = add.answer.statics.iter().map(show).collect();
        format!("{wants} | {} | {}", gateways.join(" "), statics.join("; "))
    });
    assert_found(found, expected);
}

const V4: &str = "10.0.0.0/24 10.0.0.100-10.0.0.199 10.0.0.201-10.0.0.254";
const V6: &str = "fd00::/64 fd00::1-fd00::ffff:ffff:ffff:ffff";

fn args(text: &str) -> Sample {
    sample().variable("CNI_ARGS", text)
}

#[test]
fn without_a_request_each_range_gives_its_lowest() {
    check(&sample(), Ok(&format!("{V4}; {V6} | 10.0.0.1 - | ")));
}

#[test]
fn a_requested_address_takes_the_place_of_its_ranges_allocation() {
    let expected = format!("10.0.0.0/24 =10.0.0.150; {V6} | 10.0.0.1 - | ");
    check(&args("IP=10.0.0.150/24"), Ok(&expected));
    check(&args("IP=10.0.0.150"), Ok(&expected));
    let expected = "10.0.0.0/24 =10.0.0.150; fd00::/64 =fd00::5 | 10.0.0.1 - | ";
    check(&args("IP=fd00::5/64,10.0.0.150/24"), Ok(expected));
}

#[test]
fn a_requested_address_may_be_excluded_or_outside_first_to_last() {
    for address in ["10.0.0.200", "10.0.0.2"] {
        let expected = format!("10.0.0.0/24 ={address}; {V6} | 10.0.0.1 - | ");
        check(&args(&format!("IP={address}/24")), Ok(&expected));
    }
}

#[test]
fn a_requested_zero_network_broadcast_or_gateway_address_is_code_7() {
    let cases = [
        ("10.0.0.0/24", "it is the network address"),
        ("10.0.0.255/24", "it is the broadcast address"),
        ("10.0.0.1/24", "it is the gateway"),
        ("fd00::/64", "it is the subnet-router anycast address"),
    ];
    for (address, reason) in cases {
        check(&args(&format!("IP={address}")), Err((7, reason)));
    }
    let large = Sample::of("ADD").ipam(json!({"range": "10.0.0.0/16"}));
    check(
        &large.variable("CNI_ARGS", "IP=10.0.7.0/16"),
        Err((7, "it ends in .0")),
    );
    let key =
        "CNI_ARGS IP: \"10.0.0.0/24\" cannot be given from range 10.0.0.0/24 (ipam.ipRanges[0]";
    check(&args("IP=10.0.0.0/24"), Err((7, key)));
}

#[test]
fn a_second_requested_address_of_a_range_is_reserved_as_well() {
    let expected =
        format!("10.0.0.0/24 =10.0.0.150; {V6}; 10.0.0.0/24 =10.0.0.151 | 10.0.0.1 - 10.0.0.1 | ");
    check(&args("IP=10.0.0.150,10.0.0.151"), Ok(&expected));
}

#[test]
fn of_two_ranges_the_one_that_could_give_it_is_the_requested_addresses_range() {
    let nested = Sample::of("ADD").ipam(json!({"ipRanges": [
        {"range": "10.0.0.0/16", "exclude": ["10.0.9.0/24"]}, {"range": "10.0.9.0/24"}]}));
    let first = "10.0.0.0/16 10.0.0.1-10.0.8.255 10.0.10.1-10.0.255.254";
    let expected = format!("{first}; 10.0.9.0/24 =10.0.9.7 | - - | ");
    check(&nested.variable("CNI_ARGS", "IP=10.0.9.7"), Ok(&expected));
}

#[test]
fn a_requested_address_outside_all_ranges_is_static_with_a_remark() {
    let sample = args("IP=172.16.0.9/16");
    check(
        &sample,
        Ok(&format!("{V4}; {V6} | 10.0.0.1 - | 172.16.0.9/16 -")),
    );
    let remark = "Warn: CNI_ARGS IP: \"172.16.0.9/16\" is in none of the config's ranges";
    assert!(sample.remarks().contains(remark), "{}", sample.remarks());
    check(
        &args("IP=172.16.0.9"),
        Err((7, "CNI_ARGS IP: \"172.16.0.9\" has no prefix length")),
    );
}

#[test]
fn a_gateway_outside_the_ranges_is_given_to_nobody() {
    let base =
        || Sample::of("ADD").ipam(json!({"range": "192.168.2.225/28", "gateway": "192.168.2.1"}));
    let reason =
        "\"192.168.2.1/24\" is a gateway, or the address of the bridge: no attachment gets it";
    let requested = base().variable("CNI_ARGS", "IP=192.168.2.1/24");
    check(&requested, Err((7, reason)));
    let configured = base().ipam(json!({"addresses": [{"address": "192.168.2.1/24"}]}));
    check(&configured, Err((7, reason)));
    let of_bridge = Sample::of("ADD")
        .config(json!({"isGateway": true}))
        .ipam(json!({"range": "10.0.0.0/24"}))
        .variable("CNI_ARGS", "IP=172.16.0.1/16");
    check(&of_bridge, Err((7, "\"172.16.0.1/16\" is a gateway")));
}

#[test]
fn a_range_that_cannot_give_an_address_is_not_its_range() {
    let nested = Sample::of("ADD").ipam(json!({"enable_overlapping_ranges": false, "ipRanges": [
        {"range": "10.0.0.0/16", "exclude": ["10.0.3.0/24"]}, {"range": "10.0.3.0/24"}]}));
    let first = "10.0.0.0/16 10.0.0.1-10.0.2.255 10.0.4.1-10.0.255.254";
    let expected = format!("{first}; 10.0.3.0/24 =10.0.3.9; 10.0.3.0/24 =10.0.3.2 | - - - | ");
    let both = nested.variable("CNI_ARGS", "IP=10.0.3.9,10.0.3.2");
    check(&both, Ok(&expected));
}

#[test]
fn a_requested_prefix_length_that_is_not_the_ranges_is_a_remark() {
    let sample = args("IP=10.0.0.150/16");
    check(
        &sample,
        Ok(&format!("10.0.0.0/24 =10.0.0.150; {V6} | 10.0.0.1 - | ")),
    );
    assert!(
        sample
            .remarks()
            .contains("is answered with the prefix length of its range")
    );
}

#[test]
fn of_args_ip_args_cni_ips_and_runtime_config_ips_the_last_replaces_the_others() {
    let expected = |address: &str| format!("10.0.0.0/24 ={address}; {V6} | 10.0.0.1 - | ");
    let first = args("IP=10.0.0.101");
    check(&first, Ok(&expected("10.0.0.101")));
    let second = first.config(json!({"args": {"cni": {"ips": ["10.0.0.102/24"]}}}));
    check(&second, Ok(&expected("10.0.0.102")));
    let empty = second.config(json!({"runtimeConfig": {"ips": [], "mac": "c2:b0:57:49:47:f1"}}));
    check(&empty, Ok(&expected("10.0.0.102")));
    let third = empty.config(json!({"runtimeConfig": {"ips": ["10.0.0.103/24"]}}));
    check(&third, Ok(&expected("10.0.0.103")));
}

#[test]
fn a_request_that_is_no_address_is_an_error_that_names_its_key() {
    let with = |key: &str, value: Value| sample().config(json!({key: value}));
    let ips = json!({"cni": {"ips": ["x"]}});
    check(
        &with("args", ips),
        Err((7, "args.cni.ips[0]: \"x\" is not an address")),
    );
    let ips = json!({"ips": [5]});
    check(
        &with("runtimeConfig", ips),
        Err((7, "runtimeConfig.ips[0]: expected a string")),
    );
    check(
        &with("runtimeConfig", json!([])),
        Err((7, "runtimeConfig: expected an object")),
    );
    check(
        &with("args", json!({"cni": 1})),
        Err((7, "args.cni: expected an object")),
    );
    check(
        &args("IP=x"),
        Err((4, "CNI_ARGS IP: \"x\" is not an address")),
    );
}

#[test]
fn a_gateway_of_cni_args_is_set_on_the_addresses_whose_subnet_it_lies_in() {
    let sample = args("IP=10.0.0.150,172.16.0.9/16;GATEWAY=10.0.0.3,172.16.0.1");
    let expected = format!("10.0.0.0/24 =10.0.0.150; {V6} | 10.0.0.3 - | 172.16.0.9/16 172.16.0.1");
    check(&sample, Ok(&expected));
    let stray = args("GATEWAY=172.16.0.1");
    check(&stray, Ok(&format!("{V4}; {V6} | 10.0.0.1 - | ")));
    assert!(
        stray
            .remarks()
            .contains("172.16.0.1 is in the subnet of no address")
    );
    check(
        &args("IP=10.0.0.3;GATEWAY=10.0.0.3"),
        Err((7, "it is the gateway")),
    );
}

#[test]
fn a_configured_address_inside_a_range_is_reserved_and_others_are_static() {
    let sample = sample().ipam(json!({"addresses": [
        {"address": "172.16.0.9/16", "gateway": "172.16.0.1"},
        {"address": "10.0.0.7/24", "gateway": "10.0.0.2"},
        {"address": "10.0.0.8/24"}]}));
    let expected = format!(
        "{V4}; {V6}; 10.0.0.0/24 =10.0.0.7; 10.0.0.0/24 =10.0.0.8 \
         | 10.0.0.1 - 10.0.0.2 10.0.0.1 | 172.16.0.9/16 172.16.0.1"
    );
    check(&sample, Ok(&expected));
}

#[test]
fn a_configured_addresss_gateway_is_not_given_either() {
    let sample = Sample::of("ADD").ipam(json!({"range": "10.0.0.0/29", "addresses": [
        {"address": "10.0.0.6/29", "gateway": "10.0.0.1"}]}));
    let expected = "10.0.0.0/29 10.0.0.2-10.0.0.5; 10.0.0.0/29 =10.0.0.6 | - 10.0.0.1 | ";
    check(&sample, Ok(expected));
}

#[test]
fn the_same_address_twice_is_code_7() {
    let expected = "10.0.0.150 is requested twice, by CNI_ARGS IP and by";
    check(&args("IP=10.0.0.150,10.0.0.150/24"), Err((7, expected)));
    let both = args("IP=10.0.0.150").ipam(json!({"addresses": [{"address": "10.0.0.150/24"}]}));
    check(
        &both,
        Err((7, &format!("{expected} ipam.addresses[0].address"))),
    );
}

#[test]
fn more_reserved_addresses_than_wants_are_code_7() {
    let list: Vec<String> = (101..110).map(|last| format!("10.0.0.{last}")).collect();
    check(
        &args(&format!("IP={}", list.join(","))),
        Err((7, "10 are too many, at most 8")),
    );
}

#[test]
fn without_a_range_static_addresses_are_answered_and_nothing_is_asked() {
    let sample = Sample::of("ADD").ipam(json!({"addresses": [{"address": "10.0.0.7/24"}]}));
    assert_eq!(sample.add().expect("static").ask, None);
    check(&sample, Ok(" |  | 10.0.0.7/24 -"));
    check(&Sample::of("ADD").variable("CNI_ARGS", "IP=10.0.0.7/24"), {
        Ok(" |  | 10.0.0.7/24 -")
    });
}

#[test]
fn neither_a_range_nor_an_address_is_code_7_and_names_range() {
    check(&Sample::of("ADD"), Err((7, "ipam.range is missing")));
    check(
        &Sample::of("ADD").ipam(json!({"ipRanges": []})),
        Err((7, "ipam.range is missing")),
    );
}

#[test]
fn before_0_3_0_two_addresses_of_a_family_are_code_7() {
    let of = |version: &str, ranges: Value| {
        let sample = Sample::of("ADD").config(json!({"cniVersion": version}));
        sample.ipam(json!({"ipRanges": ranges}))
    };
    let two = json!([{"range": "10.0.0.0/30"}, {"range": "10.0.1.0/30"}]);
    let dual = json!([{"range": "10.0.0.0/30"}, {"range": "fd00::/127"}]);
    for version in ["0.1.0", "0.2.0", ""] {
        let expected = "a result has one IPv4 address at most, but the config requests 2";
        check(&of(version, two.clone()), Err((7, expected)));
        assert!(of(version, dual.clone()).add().is_ok());
        let address =
            of(version, dual.clone()).ipam(json!({"addresses": [{"address": "fd01::1/64"}]}));
        check(&address, Err((7, "one IPv6 address")));
    }
    assert!(of("0.3.0", two).add().is_ok());
}
