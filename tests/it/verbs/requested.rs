//! Addresses that are asked for, and those that the config itself states.

use serde_json::{Value, json};

use crate::plugin::{Network, Pod, Site};

/// ADD of one pod, first with these keys of the config and `CNI_ARGS`, after another pod was added.
fn check(config: Value, arguments: &str, expected: &[&str]) {
    let site = Site::shared();
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"gateway": "10.0.0.1"}));
    network.add(&Pod::new("other")).result();
    let pod = Pod::new("asking").argument(arguments);
    assert_eq!(network.config(config).add(&pod).addresses(), expected);
    let audit = site.audit();
    assert_eq!((audit.findings, audit.claims), (Vec::new(), 2));
}

#[test]
fn an_address_of_cni_args_takes_the_place_of_the_ranges_allocation() {
    check(json!({}), "IP=10.0.0.77/24", &["10.0.0.77/24"]);
    check(json!({}), "IP=10.0.0.77", &["10.0.0.77/24"]);
}

#[test]
fn an_address_of_runtime_config_replaces_one_of_args_cni_and_that_one_of_cni_args() {
    let args = json!({"args": {"cni": {"ips": ["10.0.0.78/24"]}}});
    check(args.clone(), "IP=10.0.0.77", &["10.0.0.78/24"]);
    let mut both = args;
    both["runtimeConfig"] = json!({"ips": ["10.0.0.79/24"], "mac": "02:00:00:00:00:01"});
    check(both, "IP=10.0.0.77", &["10.0.0.79/24"]);
}

#[test]
fn an_address_outside_all_ranges_is_answered_beside_the_allocated_one() {
    check(
        json!({}),
        "IP=172.16.0.9/16",
        &["10.0.0.3/24", "172.16.0.9/16"],
    );
}

#[test]
fn two_addresses_of_one_range_are_both_reserved() {
    check(
        json!({}),
        "IP=10.0.0.77,10.0.0.78",
        &["10.0.0.77/24", "10.0.0.78/24"],
    );
}

#[test]
fn a_requested_address_may_be_excluded_or_outside_first_to_last() {
    let site = Site::shared();
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"range_start": "10.0.0.100", "exclude": ["10.0.0.200"]}));
    for address in ["10.0.0.200", "10.0.0.5"] {
        let pod = Pod::new(&format!("c{address}")).argument(&format!("IP={address}"));
        assert_eq!(network.add(&pod).address(), format!("{address}/24"));
    }
    site.assert_at_rest(2);
}

#[test]
fn a_requested_zero_network_broadcast_or_gateway_address_is_code_7() {
    let site = Site::shared();
    let network = site
        .network("10.0.0.0/16")
        .ipam(json!({"gateway": "10.0.0.1"}));
    for address in ["10.0.0.0", "10.0.7.0", "10.0.255.255", "10.0.0.1"] {
        let pod = Pod::new("c").argument(&format!("IP={address}"));
        network.add(&pod).assert_error(7, &["CNI_ARGS IP", address]);
    }
    assert_eq!(site.entries(), []);
}

fn taken() -> (Site, Network) {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("owner")).result();
    (site, network)
}

#[test]
fn a_requested_address_that_is_taken_is_code_102_and_names_the_owner() {
    let (site, network) = taken();
    let before = site.entries();
    let pod = Pod::new("asking").argument("IP=10.0.0.1");
    let owner = "container owner in network net, pod space/pod-owner on node node-1";
    network
        .add(&pod)
        .assert_error(102, &["address 10.0.0.1", owner]);
    assert_eq!(site.entries(), before);
}

#[test]
fn a_requested_address_is_had_once_its_owner_is_gone_and_then_not_given_to_another() {
    let (site, network) = taken();
    network.del(&Pod::new("owner")).assert_silent();
    let pod = Pod::new("asking").argument("IP=10.0.0.1");
    for _ in 0..2 {
        assert_eq!(
            network.add(&pod).address(),
            "10.0.0.1/24",
            "and the same again"
        );
    }
    assert_eq!(network.add(&Pod::new("other")).address(), "10.0.0.2/24");
    site.assert_at_rest(2);
}

#[test]
fn of_a_dual_stack_request_with_one_address_taken_nothing_is_reserved() {
    let (site, network) = taken();
    let before = site.entries();
    let dual = network.ipam(json!({"ipRanges": [{"range": "fd00::/64"}]}));
    let pod = Pod::new("asking").argument("IP=10.0.0.1,fd00::77");
    dual.add(&pod).assert_error(102, &["10.0.0.1"]);
    assert_eq!(site.entries(), before);
}

#[test]
fn a_gateway_of_cni_args_is_set_and_not_given() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c").argument("GATEWAY=10.0.0.1");
    let ips = network.add(&pod).result()["ips"].clone();
    assert_eq!(
        ips,
        json!([{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}])
    );
}

#[test]
fn a_configured_address_inside_a_range_is_reserved_beside_the_allocated_one() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24").ipam(json!({
        "addresses": [{"address": "10.0.0.1/24"}, {"address": "172.16.0.9/16"}],
    }));
    let expected = ["10.0.0.2/24", "10.0.0.1/24", "172.16.0.9/16"];
    assert_eq!(network.add(&Pod::new("c")).addresses(), expected);
    let plain = site.network("10.0.0.0/24");
    assert_eq!(plain.add(&Pod::new("d")).address(), "10.0.0.3/24");
    network.del(&Pod::new("c")).assert_silent();
    site.assert_at_rest(1);
}

#[test]
fn a_configured_address_that_somebody_holds_is_code_102() {
    let (site, network) = taken();
    let stating = network.ipam(json!({"addresses": [{"address": "10.0.0.1/24"}]}));
    let refused = stating.add(&Pod::new("c"));
    refused.assert_error(102, &["10.0.0.1", "container owner"]);
    site.assert_at_rest(1);
}

#[test]
fn without_a_range_static_addresses_are_answered_and_nothing_is_stored() {
    let site = Site::shared();
    let network = site
        .without_range()
        .ipam(json!({"addresses": [{"address": "172.16.0.9/16", "gateway": "172.16.0.1"}]}));
    let pod = Pod::new("c");
    assert_eq!(network.add(&pod).address(), "172.16.0.9/16");
    assert_eq!(site.entries(), []);
    network.del(&pod).assert_silent();
}

#[test]
fn an_unknown_key_of_cni_args_is_code_4_unless_it_is_to_be_ignored() {
    let network = Site::shared().network("10.0.0.0/24");
    let pod = Pod::new("c").argument("FOO=1");
    network.add(&pod).assert_error(4, &["CNI_ARGS", "FOO"]);
    assert_eq!(
        network.add(&pod.argument("IgnoreUnknown=1")).address(),
        "10.0.0.1/24"
    );
    let broken = Pod::new("d").argument("no-equals-sign");
    network.add(&broken).assert_error(4, &["no-equals-sign"]);
}
