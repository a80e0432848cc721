//! `lint`: configs of all shapes, without etcd and with it.

use std::path::Path;

use serde_json::{Value, json};

use super::{FAILED, FOUND, WELL, assert_said, on, tool};
use crate::plugin::{Pod, Site};

fn lint(text: &str) -> crate::plugin::Answer {
    tool(&["lint", "-"]).stdin(text).run()
}

fn config(ipam: &Value) -> String {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "ipam": ipam}).to_string()
}

#[test]
fn a_right_config_is_well_and_its_capacity_is_told() {
    let right = json!({"type": "whereabouts", "etcd_host": "a", "range": "10.0.0.0/24"});
    assert_said(
        &lint(&config(&right)),
        WELL,
        &["range 10.0.0.0/24", "gives 254 addresses"],
    );
    // The nodes' flat file may say where etcd is.
    let without = json!({"type": "whereaboots", "range": "10.0.0.0/24"});
    assert_said(
        &lint(&config(&without)),
        WELL,
        &["warning: ipam.etcd_host", "flat file"],
    );
}

#[test]
fn every_error_of_a_config_is_told_at_once() {
    let wrong = json!({
        "type": "whereabouts", "etcd_host": "a", "range": "10.0.0.0/24", "rangeStart": "10.0.0.5",
        "exclude": ["10.9.0.0/24"], "timeout": "soon",
    });
    let parts = [
        "error: ",
        "ipam.rangeStart",
        "ipam.timeout",
        "warning: ipam.exclude[0]: \"10.9.0.0/24\" is outside",
    ];
    assert_said(&lint(&config(&wrong)), FOUND, &parts);
}

#[test]
fn lists_of_plugins_and_network_attachment_definitions_are_looked_into() {
    let list = json!({"cniVersion": "1.0.0", "name": "list", "plugins": [
        {"type": "tuning"},
        {"type": "bridge", "ipam": {"type": "whereabouts", "etcd_host": "a", "range": "10.0.0.0/33"}},
    ]});
    assert_said(
        &lint(&list.to_string()),
        FOUND,
        &["plugins[1]", "10.0.0.0/33"],
    );
    let definitions = r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: one, namespace: default}
spec:
  config: |
    {"cniVersion": "1.0.0", "type": "macvlan",
     "ipam": {"type": "whereabouts", "etcd_host": "a", "range": "10.0.0.0/16"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: two}
spec:
  config: '{"type": "x", "ipam": {"type": "whereabouts", "etcd_host": "a", "range": "10.0.3.0/24"}}'
"#;
    let parts = [
        "one",
        "two",
        "range 10.0.0.0/16",
        "share addresses",
        "10.0.3.0/24",
    ];
    assert_said(&lint(definitions), WELL, &parts);
}

#[test]
fn what_is_no_config_of_ours_is_exit_status_2() {
    for text in [
        "",
        "{}",
        "[1, 2",
        "kind: Pod",
        r#"{"name": "n", "type": "bridge"}"#,
        "{nope}",
    ] {
        assert_eq!(lint(text).exit_code, FAILED, "{text}");
    }
    assert_said(
        &tool(&["lint", "/nowhere/to/be/found"]).run(),
        FAILED,
        &["/nowhere"],
    );
}

#[test]
fn with_etcd_what_is_in_use_is_compared() {
    let site = Site::shared();
    site.network("10.0.0.0/24").add(&Pod::new("c")).result();
    let config = |keys: Value| {
        let network = site.without_range().ipam(keys);
        on(&site, &["lint", "-"]).stdin(network.json()).run()
    };
    let same = config(json!({"range": "10.0.0.0/24"}));
    assert_said(&same, WELL, &["1 of 254 addresses are taken, 253 are free"]);
    let inside = config(json!({"range": "10.0.0.0/16"}));
    assert_said(
        &inside,
        WELL,
        &["1 of 65279", "range 10.0.0.0/24", "share addresses"],
    );
    let other = config(json!({"range": "10.0.0.0/24", "network_name": "red"}));
    assert_said(
        &other,
        WELL,
        &[
            "warning: ",
            "different pools: an address can be given twice",
        ],
    );
    let full = config(json!({"range": "10.0.0.1-10.0.0.1/24"}));
    assert_said(&full, WELL, &["warning: range 10.0.0.0/24", "0 are free"]);
}

#[test]
fn the_samples_of_the_deployment_are_well() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples");
    let samples = std::fs::read_dir(&folder).expect("there are samples");
    let paths: Vec<String> = samples
        .map(|entry| entry.expect("a folder can be read").path())
        .map(|path| path.to_str().expect("a path is text").to_owned())
        .collect();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let answer = tool(&["lint", &path, "-o", "json"]).run();
        assert_said(&answer, WELL, &["ranges"]);
    }
}
