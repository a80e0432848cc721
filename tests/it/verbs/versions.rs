//! VERSION, and the result of an ADD in each version of CNI, as they are on the wire.

use serde_json::{Value, json};

use crate::plugin::{Call, Pod, Site};

const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

fn check_add(version: &str, expected: Value) {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24").version(version).ipam(json!({
        "ipRanges": [{"range": "fd00::/64"}],
        "gateway": "10.0.0.1",
        "routes": [{"dst": "0.0.0.0/0", "mtu": 1400}, {"dst": "::/0", "gw": "fd00::9"}],
        "dns": {"nameservers": ["10.0.0.2"]},
    }));
    let mut expected = expected;
    expected["cniVersion"] = json!(version);
    expected["dns"] = json!({"nameservers": ["10.0.0.2"]});
    assert_eq!(network.add(&Pod::new("c")).result(), expected, "{version}");
}

#[test]
fn add_in_0_1_0_and_0_2_0_answers_ip4_and_ip6() {
    for version in ["0.1.0", "0.2.0"] {
        check_add(
            version,
            json!({
                "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
                "ip6": {"ip": "fd00::1/64", "routes": [{"dst": "::/0", "gw": "fd00::9"}]},
            }),
        );
    }
}

#[test]
fn add_in_0_3_0_0_3_1_and_0_4_0_answers_ips_with_their_version() {
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        check_add(
            version,
            json!({
                "ips": [
                    {"version": "4", "address": "10.0.0.2/24", "gateway": "10.0.0.1"},
                    {"version": "6", "address": "fd00::1/64"},
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::9"}],
            }),
        );
    }
}

#[test]
fn add_in_1_0_0_answers_ips_without_their_version() {
    check_add(
        "1.0.0",
        json!({
            "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}, {"address": "fd00::1/64"}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::9"}],
        }),
    );
}

#[test]
fn add_in_1_1_0_answers_routes_with_their_mtu() {
    check_add(
        "1.1.0",
        json!({
            "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}, {"address": "fd00::1/64"}],
            "routes": [{"dst": "0.0.0.0/0", "mtu": 1400}, {"dst": "::/0", "gw": "fd00::9"}],
        }),
    );
}

#[test]
fn an_empty_or_absent_version_is_answered_as_0_1_0() {
    for version in [json!(""), Value::Null] {
        let network = Site::shared()
            .network("10.0.0.0/24")
            .config(json!({"cniVersion": version}));
        let expected = json!({"cniVersion": "0.1.0", "ip4": {"ip": "10.0.0.1/24"}});
        assert_eq!(network.add(&Pod::new("c")).result(), expected);
    }
}

#[test]
fn a_result_of_every_version_has_the_configs_version() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    for version in VERSIONS {
        let result = network.clone().version(version).add(&Pod::new("c"));
        assert_eq!(result.result()["cniVersion"], version);
        assert_eq!(
            result.address(),
            "10.0.0.1/24",
            "the same again in {version}"
        );
    }
}

#[test]
fn version_answers_with_its_own_and_all_supported_versions() {
    let call = Call::new().variable("CNI_COMMAND", "VERSION");
    for version in VERSIONS {
        let stdin = json!({"cniVersion": version}).to_string();
        let answer = call.clone().stdin(stdin).run().result();
        let expected = json!({"cniVersion": version, "supportedVersions": VERSIONS});
        assert_eq!(answer, expected);
    }
}

#[test]
fn an_unsupported_version_is_code_1_and_names_it_and_the_list() {
    let network = Site::shared().network("10.0.0.0/24").version("9.9.9");
    let failed = network.add(&Pod::new("c"));
    failed.assert_error(1, &["9.9.9"]);
    failed.assert_error(1, &VERSIONS);
}

#[test]
fn check_before_0_4_0_and_gc_and_status_before_1_1_0_are_code_1() {
    let network = Site::shared().network("10.0.0.0/24");
    let old = |version| network.clone().version(version);
    let pod = Pod::new("c");
    old("0.3.1")
        .check(&pod, &json!({}))
        .assert_error(1, &["CHECK", "0.4.0"]);
    old("1.0.0").gc(Some(&[])).assert_error(1, &["GC", "1.1.0"]);
    old("1.0.0").status().assert_error(1, &["STATUS", "1.1.0"]);
}

#[test]
fn an_error_is_answered_in_the_configs_version() {
    let site = Site::shared();
    for version in VERSIONS {
        let network = site.network("300.0.0.0/8").version(version);
        let failed = network.add(&Pod::new("c"));
        failed.assert_error(7, &["ipam.range", "300.0.0.0/8"]);
        assert_eq!(failed.json()["cniVersion"], version);
    }
}
