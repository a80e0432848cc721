//! Requirements on the needs of each verb.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::sample::{Sample, assert_found, show};
use super::plain;
use crate::request::{CniVersion, Outcome};
use whereabouts_core::claim::Owner;
use whereabouts_core::verbs::ValidAttachment;

#[test]
fn no_command_at_all_is_no_error_whatever_is_on_stdin() {
    let mut sample = plain("");
    assert!(matches!(sample.parse(), Ok(Outcome::About)));
    sample.variables.clear();
    assert!(matches!(
        sample.parse_stdin(Ok(Vec::new())),
        Ok(Outcome::About)
    ));
}

#[test]
fn version_needs_neither_variables_nor_config_and_is_answered_in_the_configs_version() {
    let check = |stdin: &str, expected: CniVersion| {
        let mut sample = Sample::of("VERSION");
        sample.variables.retain(|name, _| name == "CNI_COMMAND");
        let found = sample.parse_stdin(Ok(stdin.as_bytes().to_vec()));
        assert!(
            matches!(found, Ok(Outcome::Version(version)) if version == expected),
            "{stdin}: {found:?}"
        );
    };
    check(r#"{"cniVersion": "0.4.0"}"#, CniVersion::V0_4_0);
    check("{}", CniVersion::V0_1_0);
    check(r#"{"cniVersion": "9.9.9"}"#, CniVersion::NEWEST);
    check("", CniVersion::NEWEST);
}

#[test]
fn two_missing_variables_are_named_at_once_before_anything_else() {
    let sample = plain("ADD")
        .variable("CNI_CONTAINERID", "")
        .variable("CNI_NETNS", "");
    let rejected = sample
        .parse_stdin(Ok(Vec::new()))
        .expect_err("no variables");
    let expected = "ADD needs CNI_CONTAINERID, CNI_NETNS: not set";
    assert_found(Err(rejected.error), Err((4, expected)));
}

#[test]
fn cni_path_is_asked_of_gc_alone() {
    for verb in ["ADD", "DEL", "CHECK", "STATUS"] {
        assert!(
            plain(verb).variable("CNI_PATH", "").parsed().is_ok(),
            "{verb}"
        );
    }
    let error = plain("GC")
        .variable("CNI_PATH", "")
        .parsed()
        .expect_err("CNI_PATH");
    assert_eq!(error.to_string(), "GC needs CNI_PATH: not set");
}

#[test]
fn add_knows_for_whom_it_asks() {
    let sample = plain("ADD").variable(
        "CNI_ARGS",
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_UID=uid;X=y",
    );
    let ask = sample.add().expect("an ADD").ask.expect("a range");
    assert_eq!(
        ask.attachment.to_string(),
        "eth0 of container c1 in network net"
    );
    let expected = Owner {
        node: Some("node-1".to_owned()),
        pod_namespace: Some("ns".to_owned()),
        pod_name: Some("pod".to_owned()),
        pod_uid: Some("uid".to_owned()),
        netns: Some("/run/netns/c1".to_owned()),
        boot: None,
        is_durable: false,
    };
    assert_eq!(ask.owner, expected);
}

#[test]
fn wrong_cni_args_are_code_4_but_del_check_and_gc_live_with_them() {
    let error = plain("ADD")
        .variable("CNI_ARGS", "x")
        .parsed()
        .expect_err("wrong");
    assert_eq!(error.code(), 4);
    for verb in ["DEL", "CHECK", "GC"] {
        let remarks = plain(verb).variable("CNI_ARGS", "x").remarks();
        assert!(
            remarks.contains("ignored: CNI_ARGS: \"x\" has no '='"),
            "{verb}: {remarks}"
        );
    }
}

#[test]
fn del_needs_no_netns_and_no_prev_result_and_no_range() {
    let sample = Sample::of("DEL").variable("CNI_NETNS", "");
    let del = sample.del().expect("a DEL");
    assert_eq!(
        del.attachment.to_string(),
        "eth0 of container c1 in network net"
    );
    assert_eq!(del.queues, []);
    assert_eq!(sample.remarks(), "");
}

#[test]
fn del_knows_the_queues_of_all_ranges_whose_cidr_can_be_read() {
    let del = Sample::of("DEL").ipam(json!({
        "range": "10.0.0.5/24", "exclude": ["10.9.9.9"], "network_name": "red",
        "ipRanges": [{"range": "10.0.0.0/24"}, {"range": "x"}, {"range": "fd00::/64",
            "gateway": 5, "rangeStart": 1}, 5]}));
    let queues = del.del().expect("a DEL").queues;
    let queues: Vec<String> = queues.iter().map(ToString::to_string).collect();
    assert_eq!(queues, ["10.0.0.0/24 of pool red", "fd00::/64 of pool red"]);
}

#[test]
fn check_compares_prev_result_and_the_static_addresses() {
    let addresses = json!([{"address": "172.16.0.9/16"}, {"address": "10.0.0.9/24"}]);
    let sample = plain("CHECK").ipam(json!({"addresses": addresses}));
    let sample = sample.config(json!({"prevResult": {"ips": [{"address": "10.0.0.5/24"}]}}));
    let check = sample.check().expect("a CHECK");
    assert_eq!(check.attachment.interface, "eth0");
    assert_eq!(check.previous, ["10.0.0.5/24".parse().expect("a CIDR")]);
    assert_eq!(check.statics, ["172.16.0.9/16".parse().expect("a CIDR")]);
    let absent = sample
        .config(json!({"prevResult": null}))
        .check()
        .expect_err("needed");
    assert_found(Err(absent), Err((7, "prevResult is missing")));
}

#[test]
fn gc_knows_network_node_and_valid_attachments() {
    let list = |list: Value| plain("GC").config(json!({"cni.dev/valid-attachments": list}));
    let valid = list(json!([{"containerID": "c1", "ifname": "eth0"}]));
    let gc = valid.gc().expect("a GC");
    assert_eq!(
        (gc.network.as_str(), gc.node.as_deref()),
        ("net", Some("node-1"))
    );
    let expected = ValidAttachment {
        container: "c1".to_owned(),
        interface: "eth0".to_owned(),
    };
    assert_eq!(gc.valid, Some(BTreeSet::from([expected])));
    assert_eq!(plain("GC").gc().expect("a GC").valid, None);
    for empty in [Value::Null, json!([])] {
        assert_eq!(list(empty).gc().expect("a GC").valid, Some(BTreeSet::new()));
    }
    let wrong = list(json!([{"containerID": "c1"}]))
        .gc()
        .expect_err("not tolerated");
    assert_found(
        Err(wrong),
        Err((7, "cni.dev/valid-attachments[0].ifname is missing")),
    );
}

#[test]
fn gc_of_a_nameless_node_knows_no_node() {
    let mut sample = plain("GC");
    sample.machine.host = Some("localhost".to_owned());
    assert_eq!(sample.gc().expect("a GC").node, None);
    assert!(sample.remarks().contains("the node's name is unknown"));
}

#[test]
fn status_wants_what_an_add_would_take_from_the_ranges() {
    let addresses = json!([{"address": "10.0.0.9/24"}]);
    let status = plain("STATUS")
        .ipam(json!({"addresses": addresses}))
        .status();
    let expected = "10.0.0.0/24 10.0.0.1-10.0.0.8 10.0.0.10-10.0.0.254";
    assert_found(status.map(|status| show(&status.wants)), Ok(expected));
    let none = plain("STATUS").ipam(json!({"range": null}));
    assert_found(
        none.status().map(|_| String::new()),
        Err((7, "ipam.range is missing")),
    );
    // The runtime gives its ranges to ADD alone.
    let of_runtime = none.config(json!({"capabilities": {"ipRanges": true}}));
    let status = of_runtime.status();
    assert_found(status.map(|status| show(&status.wants)), Ok(""));
    let wrong = plain("STATUS").ipam(json!({"range": "x"})).status();
    assert_found(wrong.map(|_| String::new()), Err((7, "ipam.range")));
}
