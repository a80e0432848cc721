//! Lint says of the interface's plugin what that plugin does: an error, if and only if its ADD fails.

use serde_json::{Value, json};

use crate::ctl::{FOUND, WELL, assert_said, tool};
use crate::delegated::{Forwarding, Link, Namespace, call};
use crate::plugin::Site;

/// `refusal` is a part of the plugin's error, if it refuses; `said` what lint says.
#[track_caller]
fn check(plugin: &str, keys: &Value, ipam: &Value, refusal: Option<&str>, said: &str) {
    let _forwarding = Forwarding::remember();
    let site = Site::shared();
    let (bridge, cable) = (Link::to_be_made(), Link::cable());
    let namespace = Namespace::create();
    let network = site
        .network("10.213.20.0/24")
        .version("1.0.0")
        .config(json!({"type": plugin}))
        .config(match plugin {
            "bridge" => json!({"bridge": bridge.0}),
            "macvlan" => json!({"master": cable.0}),
            _ => json!({}),
        })
        .config(keys.clone())
        .ipam(ipam.clone());
    let pod = namespace.pod();
    let added = call(plugin, &network, "ADD", &pod).run();
    let linted = tool(&["lint", "-"]).stdin(network.json()).run();
    match refusal {
        None => {
            added.result();
            assert_said(&linted, WELL, &[said]);
        }
        Some(part) => {
            assert_eq!(added.exit_code, Some(1), "{added:?}");
            assert!(added.stdout.contains(part), "no {part:?} in {added:?}");
            assert_said(&linted, FOUND, &["  error: ", said]);
        }
    }
    call(plugin, &network, "DEL", &pod).run();
}

const GATEWAY: &str = "10.213.20.1";
const DEFAULT: &str = "0.0.0.0/0";

#[test]
fn a_default_route_that_a_bridge_adds_again_is_an_error() {
    let keys = json!({"isDefaultGateway": true});
    let check = |route: Value, refusal, said| {
        let ipam = json!({"gateway": GATEWAY, "routes": [route]});
        check("bridge", &keys, &ipam, refusal, said);
    };
    check(
        json!({"dst": DEFAULT}),
        Some("file exists"),
        "isDefaultGateway adds the same route",
    );
    // One with a gateway is not added again.
    check(json!({"dst": DEFAULT, "gw": GATEWAY}), None, "note: ");
    check(json!({"dst": "0.0.0.0/1"}), None, "note: ");
    check(json!({"dst": "::/0"}), None, "note: ");
}

#[test]
fn a_route_that_is_given_twice_is_an_error() {
    let check = |other: Value, refusal, said| {
        let routes = json!([{"dst": "10.1.0.0/16"}, other]);
        let ipam = json!({"gateway": GATEWAY, "routes": routes});
        check("bridge", &json!({}), &ipam, refusal, said);
    };
    let said = "ipam.routes[1] (10.1.0.0/16) is given twice";
    check(json!({"dst": "10.1.0.0/16"}), Some("file exists"), said);
    check(
        json!({"dst": "10.1.0.0/16", "gw": GATEWAY}),
        Some("file exists"),
        said,
    );
    check(
        json!({"dst": "10.1.0.0/16", "gw": "10.213.20.2"}),
        None,
        "note: ",
    );
}

#[test]
fn a_gateway_outside_of_every_subnet_is_an_error_if_a_route_leads_by_it() {
    let unreachable = Some("network is unreachable");
    let by_gw = json!({"routes": [{"dst": "10.1.0.0/16", "gw": "10.7.0.1"}]});
    let said = "gw 10.7.0.1 is in the subnet of no address";
    for plugin in ["bridge", "macvlan", "ptp"] {
        let ipam = json!({"gateway": GATEWAY, "routes": by_gw["routes"]});
        check(plugin, &json!({}), &ipam, unreachable, said);
    }
    let after_another = json!([{"dst": "10.7.0.1/32"}, {"dst": "10.1.0.0/16", "gw": "10.7.0.1"}]);
    check(
        "bridge",
        &json!({}),
        &json!({"routes": after_another}),
        unreachable,
        said,
    );

    let said = "gateway 10.7.0.1 is outside of 10.213.20.0/24";
    let outside = json!({"gateway": "10.7.0.1"});
    check(
        "bridge",
        &json!({}),
        &outside,
        None,
        &format!("warning: {said}"),
    );
    let with_route = json!({"gateway": "10.7.0.1", "routes": [{"dst": DEFAULT}]});
    for plugin in ["bridge", "macvlan", "ptp"] {
        check(plugin, &json!({}), &with_route, unreachable, said);
    }
}

#[test]
fn a_default_route_without_a_gateway_is_a_warning_and_ptp_needs_a_gateway() {
    let without = json!({"routes": [{"dst": DEFAULT}]});
    check(
        "bridge",
        &json!({}),
        &without,
        None,
        "warning: ipam.routes[0]",
    );
    let said = "ptp needs one";
    check(
        "ptp",
        &json!({}),
        &json!({}),
        Some("failed to add IP addr"),
        said,
    );
    check(
        "ptp",
        &json!({}),
        &json!({"gateway": GATEWAY}),
        None,
        "note: ",
    );
}

#[test]
fn a_vlan_needs_a_master() {
    check(
        "vlan",
        &json!({"vlanId": 5}),
        &json!({}),
        Some("master"),
        "vlan needs it",
    );
}

#[test]
fn a_gateway_of_the_link_is_inside_of_every_subnet_of_ipv6() {
    let ipam = json!({
        "range": "fd00:213:20::/64", "gateway": "fe80::1", "routes": [{"dst": "::/0"}],
    });
    check("bridge", &json!({}), &ipam, None, "note: ");
    let outside = json!({
        "range": "fd00:213:20::/64", "routes": [{"dst": "::/0", "gw": "fd00:1::1"}],
    });
    let said = "gw fd00:1::1 is in the subnet of no address";
    check(
        "bridge",
        &json!({}),
        &outside,
        Some("no route to host"),
        said,
    );
}

#[test]
fn a_bridge_has_one_address_of_ipv4() {
    let keys = json!({"isGateway": true});
    let two = json!({"ipRanges": [{"range": "10.213.21.0/24"}]});
    let refusal = Some("already has an IP address different from");
    let said = "a bridge cannot have 10.213.20.1/24 and 10.213.21.1/24 at once";
    check("bridge", &keys, &two, refusal, said);
    let dual = json!({"ipRanges": [{"range": "fd00:213:21::/64"}]});
    check("bridge", &keys, &dual, None, "note: ");
}

#[test]
fn two_networks_whose_gateway_is_one_bridge_need_one_address() {
    let _forwarding = Forwarding::remember();
    let site = Site::shared();
    let bridge = Link::to_be_made();
    let namespaces = [
        Namespace::create(),
        Namespace::create(),
        Namespace::create(),
    ];
    let network = |name: &str, gateway: &str, range: &str| {
        site.network(range)
            .version("1.0.0")
            .config(json!({"type": "bridge", "bridge": bridge.0, "isGateway": true, "name": name}))
            .ipam(json!({"gateway": gateway}))
    };
    let first = network("first", "10.213.22.1", "10.213.22.0/25");
    let same = network("same", "10.213.22.1", "10.213.22.0-10.213.22.9/25");
    let other = network("other", "10.213.22.129", "10.213.22.128/25");
    let pods = namespaces.each_ref().map(Namespace::pod);
    call("bridge", &first, "ADD", &pods[0]).run().result();
    call("bridge", &same, "ADD", &pods[1]).run().result();
    let refused = call("bridge", &other, "ADD", &pods[2]).run();
    assert!(
        refused
            .stdout
            .contains("already has an IP address different"),
        "{refused:?}"
    );
    let lint = |both: [String; 2]| tool(&["lint", "-"]).stdin(both.concat()).run();
    assert_said(&lint([first.json(), same.json()]), WELL, &["note: "]);
    let said = "cannot have 10.213.22.1/25 and the address of document 2";
    assert_said(
        &lint([first.json(), other.json()]),
        FOUND,
        &["  error: ", said],
    );
    for (network, pod) in [first, same, other].iter().zip(&pods) {
        call("bridge", network, "DEL", pod).run();
    }
}
