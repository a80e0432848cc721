//! Requirements on ranges, pools and gateways, each through a whole invocation.

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
    check(json!({"range": ""}), Err((7, "ipam.range is missing")));
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
        Err((
            7,
            "ipam.range_end: \"10.0.0.8\" is before the first address, 10.0.0.9",
        )),
    );
    check(
        with("10.0.1.1", "10.0.0.8"),
        Err((
            7,
            "ipam.range_start: \"10.0.1.1\" is outside 10.0.0.0/24 (ipam.range)",
        )),
    );
    check(
        with("10.0.0.1", "10.0.1.8"),
        Err((
            7,
            "ipam.range_end: \"10.0.1.8\" is outside 10.0.0.0/24 (ipam.range)",
        )),
    );
    check(
        with("fd00::1", "10.0.0.8"),
        Err((7, "ipam.range_start: \"fd00::1\" is outside 10.0.0.0/24")),
    );
    let listed = json!({"ipRanges": [{"range": "10.0.0.0/24", "range_end": "10.0.1.8"}]});
    let expected = "ipam.ipRanges[0].range_end: \"10.0.1.8\" is outside 10.0.0.0/24";
    check(listed, Err((7, expected)));
    check(
        json!({"range": "10.0.1.1-10.0.0.8/24"}),
        Err((
            7,
            "ipam.range: \"10.0.1.1-10.0.0.8/24\" is no range: the first address 10.0.1.1",
        )),
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
fn an_exclusion_that_is_larger_than_the_range_or_none_is_code_7() {
    let with = |exclusion: &str| json!({"range": "10.0.0.0/24", "exclude": [exclusion]});
    check(
        with("10.0.0.0/16"),
        Err((7, "10.0.0.0/24 has no address to give")),
    );
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
    let missing = "ipam.range is missing: ipam.range_start needs it";
    check(with("range_start", json!("10.0.0.5")), Err((7, missing)));
    check(
        with("exclude", json!(["10.0.0.5"])),
        Err((7, "ipam.exclude needs it")),
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
    check_pool(json!({"network_name": ""}), Ok("(shared)"));
    let alone = json!({"network_name": "red", "enable_overlapping_ranges": false});
    check_pool(alone, Ok("red of 10.0.0.0/24 alone"));
}

#[test]
fn a_network_name_that_is_too_long_or_has_control_characters_is_code_7() {
    check_pool(
        json!({"network_name": "a\u{1}"}),
        Err((7, "has control characters")),
    );
    check_pool(
        json!({"network_name": "a".repeat(254)}),
        Err((7, "more than 253 bytes")),
    );
}

/// Checks the gateways of the wants, and the intervals, of a config.
fn check_gateways(ipam: Value, expected: Result<&str, (u32, &str)>) {
    let add = Sample::of("ADD").ipam(ipam).add();
    let found = add.map(|add| {
        let gateways = add.answer.gateways.iter();
        let gateways = gateways.map(|gateway| gateway.map_or("-".to_owned(), |g| g.to_string()));
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

#[test]
fn an_exclusion_outside_the_range_is_a_warning_and_excludes_nothing() {
    for outside in ["10.0.1.0/24", "fd00::/64", "10.0.1.1", "9.0.0.1-9.0.0.9"] {
        let keys = json!({"range": "10.0.0.7/24", "exclude": [outside, "10.0.0.9"]});
        let sample = Sample::of("ADD").ipam(keys.clone());
        let expected = format!(
            "Warn: ipam.exclude[0]: \"{outside}\" is outside 10.0.0.0/24 and excludes nothing"
        );
        assert_eq!(sample.remarks(), expected);
        check(
            keys,
            Ok("10.0.0.0/24 10.0.0.1-10.0.0.8 10.0.0.10-10.0.0.254"),
        );
    }
}

#[test]
fn an_empty_string_is_a_key_without_a_value() {
    let empty = json!({"range_start": "", "range_end": "", "exclude": "", "gateway": ""});
    let sample = Sample::of("ADD").ipam(empty.clone());
    assert_found(
        sample
            .ipam(json!({"range": "10.0.0.0/24"}))
            .add()
            .map(|add| show(&add.ask.expect("a range").wants)),
        Ok("10.0.0.0/24 10.0.0.1-10.0.0.254"),
    );
    for exclude in [json!([]), json!([""]), json!(""), Value::Null] {
        check(
            json!({"range": "10.0.0.0/30", "exclude": exclude}),
            Ok("10.0.0.0/30 10.0.0.1-10.0.0.2"),
        );
    }
    let mut entry = empty;
    entry["range"] = json!("fd00::/126");
    check(
        json!({"range": "", "range_start": "", "range_end": "", "exclude": [], "ipRanges": [entry]}),
        Ok("fd00::/126 fd00::1-fd00::3"),
    );
}

/// Checks the gateways, the intervals and the remarks of a config whose bridge has an address.
fn check_bridge(ipam: &Value, expected: &str, taken: &[&str]) {
    // Programs in Go accept a key in any case, and 'ſ' for an 's'.
    for key in [
        "isGateway",
        "isDefaultGateway",
        "isgateway",
        "ISDEFAULTGATEWAY",
        "iſGateway",
    ] {
        let sample = Sample::of("ADD")
            .ipam(ipam.clone())
            .config(json!({key: true}));
        let add = sample.add().expect("a good config");
        let gateways = add.answer.gateways.iter();
        let gateways = gateways.map(|gateway| gateway.map_or("-".to_owned(), |g| g.to_string()));
        let gateways = gateways.collect::<Vec<_>>().join(" ");
        let wants = add.ask.map(|ask| show(&ask.wants)).unwrap_or_default();
        assert_eq!(format!("{gateways}: {wants}"), expected);
        let remark = |address: &&str| {
            format!("Debug: the bridge takes {address} ({key}); it is never given")
        };
        let remarks: Vec<String> = taken.iter().map(remark).collect();
        assert_eq!(sample.remarks(), remarks.join("\n"));
    }
}

#[test]
fn the_address_that_the_bridge_takes_without_a_gateway_is_never_given() {
    check_bridge(
        &json!({"range": "10.0.0.0/29"}),
        "-: 10.0.0.0/29 10.0.0.2-10.0.0.6",
        &["10.0.0.1"],
    );
    check_bridge(
        &json!({"range": "10.0.0.0/29", "gateway": "10.0.0.6"}),
        "10.0.0.6: 10.0.0.0/29 10.0.0.1-10.0.0.5",
        &[],
    );
    // The bridge has an address of each family, and of each range of one network.
    check_bridge(
        &json!({"gateway": "10.0.0.6", "ipRanges": [{"range": "10.0.0.0/29"},
            {"range": "fd00::/126"}]}),
        "10.0.0.6 -: 10.0.0.0/29 10.0.0.1-10.0.0.5; fd00::/126 fd00::2-fd00::3",
        &["fd00::1"],
    );
    check_bridge(
        &json!({"ipRanges": [{"range": "10.0.0.1-10.0.0.3/24", "gateway": "10.0.0.9"},
            {"range": "10.0.0.5-10.0.0.6/24"}]}),
        "10.0.0.9 -: 10.0.0.0/24 10.0.0.2-10.0.0.3; 10.0.0.0/24 10.0.0.5-10.0.0.6",
        &["10.0.0.1"],
    );
    // The prefix of the range counts, not its first address.
    check_bridge(
        &json!({"range": "10.0.0.0/24", "range_start": "10.0.0.9", "range_end": "10.0.0.9"}),
        "-: 10.0.0.0/24 10.0.0.9-10.0.0.9",
        &["10.0.0.1"],
    );
    check_bridge(
        &json!({"range": "10.0.0.4/31"}),
        "-: 10.0.0.4/31 10.0.0.4-10.0.0.4",
        &["10.0.0.5"],
    );
    // For a range of one address, the bridge's address is in the next range.
    check_bridge(
        &json!({"ipRanges": [{"range": "10.0.0.7/32"},
            {"range": "10.0.0.8/29", "gateway": "10.0.0.14"}]}),
        "- 10.0.0.14: 10.0.0.7/32 10.0.0.7-10.0.0.7; 10.0.0.8/29 10.0.0.9-10.0.0.13",
        &["10.0.0.8"],
    );
    // A stated address without a gateway also gives the bridge an address. Inside a range it has
    // the gateway of the range.
    check_bridge(
        &json!({"range": "10.0.0.1-10.0.0.3/24", "gateway": "10.0.0.254",
            "addresses": [{"address": "10.0.0.9/24"}, {"address": "10.1.0.9/16"},
                {"address": "10.2.0.9/16", "gateway": "10.2.0.8"}]}),
        "10.0.0.254 10.0.0.254: 10.0.0.0/24 10.0.0.1-10.0.0.3; 10.0.0.0/24 =10.0.0.9",
        &["10.1.0.1"],
    );
    check_bridge(
        &json!({"range": "255.255.255.255/32"}),
        "-: 255.255.255.255/32 255.255.255.255-255.255.255.255",
        &[],
    );
}

#[test]
fn the_address_that_the_bridge_takes_cannot_be_requested() {
    let sample = Sample::of("ADD")
        .ipam(json!({"range": "10.0.0.0/24"}))
        .config(json!({"isGateway": true, "args": {"cni": {"ips": ["10.0.0.1"]}}}));
    let found = sample.add().map(|_| String::new());
    let expected =
        "\"10.0.0.1\" cannot be given from range 10.0.0.0/24 (ipam.range): it is the gateway";
    assert_found(found, Err((7, expected)));
}

#[test]
fn a_bridge_without_an_address_takes_none_and_del_lives_with_a_key_that_is_wrong() {
    let with = |verb: &str, value: Value| {
        let keys = json!({"isGateway": value, "isDefaultGateway": false, "prevResult": {}});
        Sample::of(verb)
            .ipam(json!({"range": "10.0.0.0/30"}))
            .config(keys)
    };
    for value in [json!(false), Value::Null] {
        let add = with("ADD", value).add().expect("a good config");
        let wants = show(&add.ask.expect("a range").wants);
        assert_eq!(wants, "10.0.0.0/30 10.0.0.1-10.0.0.2");
    }
    let both = with("ADD", json!(false)).config(json!({"isgateway": true}));
    let wants = show(
        &both
            .add()
            .expect("a good config")
            .ask
            .expect("a range")
            .wants,
    );
    assert_eq!(wants, "10.0.0.0/30 10.0.0.2-10.0.0.2");
    let wrong = with("ADD", json!("yes")).add().map(|_| String::new());
    assert_found(wrong, Err((7, "isGateway: expected true or false")));
    for verb in ["DEL", "CHECK", "GC"] {
        let remarks = with(verb, json!("yes")).remarks();
        assert!(remarks.contains("ignored: isGateway"), "{remarks}");
    }
}
