//! Requirements on whole invocations.

mod any_input;
mod authority;
mod documented;
mod keys;
mod kubeconfig;
mod public;
mod stdin;
mod verbs;

use serde_json::{Value, json};

use super::sample::Sample;

/// Every key of `ipam` with a meaning, and a valid value.
fn every_key() -> Vec<(&'static str, Value)> {
    vec![
        ("type", json!("whereabouts")),
        ("range", json!("10.0.0.0/24")),
        ("range_start", json!("10.0.0.5")),
        ("range_end", json!("10.0.0.9")),
        ("exclude", json!(["10.0.0.7"])),
        (
            "ipRanges",
            json!([{"range": "fd00::/64", "range_start": "fd00::5",
            "range_end": "fd00::9", "exclude": ["fd00::7"], "gateway": "fd00::1"}]),
        ),
        ("network_name", json!("red")),
        ("enable_overlapping_ranges", json!(true)),
        ("gateway", json!("10.0.0.1")),
        (
            "routes",
            json!([{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": 1400, "advmss": 1360,
            "priority": 1, "table": 100, "scope": 0}]),
        ),
        (
            "dns",
            json!({"nameservers": ["10.0.0.2"], "domain": "d", "search": ["s"],
            "options": ["o"]}),
        ),
        (
            "addresses",
            json!([{"address": "172.16.0.9/16", "gateway": "172.16.0.1"}]),
        ),
        ("log_file", json!("/tmp/whereabouts.log")),
        ("log_level", json!("debug")),
        ("otlp_endpoint", json!("http://127.0.0.1:4317")),
        ("trace_socket", json!("/run/whereabouts/trace")),
        ("trace_flush_ms", json!(100)),
        ("metrics_socket", json!("/run/whereabouts/trace")),
        ("etcd_host", json!("127.0.0.1:2379")),
        ("etcd_username", json!("me")),
        ("etcd_password", json!("hunter2")),
        ("etcd_prefix", json!("/mine/")),
        ("datastore", json!("etcd")),
        ("node_name", json!("node-1")),
        ("cluster_id", json!("cluster-1")),
        ("timeout", json!(10)),
        ("del_when_unreachable", json!("succeed")),
        ("status_when_full", json!("ok")),
        ("sticky", json!("none")),
    ]
}

/// Keys with the path of a file. A valid value needs the file.
const FILE_KEYS: [&str; 5] = [
    "configuration_path",
    "etcd_password_file",
    "etcd_key_file",
    "etcd_cert_file",
    "etcd_ca_cert_file",
];

fn full(verb: &str) -> Sample {
    let keys = every_key()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Sample::of(verb)
        .ipam(Value::Object(keys.collect()))
        .config(json!({"prevResult": {"ips": [{"address": "10.0.0.5/24"}]}}))
}

fn plain(verb: &str) -> Sample {
    Sample::of(verb)
        .ipam(json!({"range": "10.0.0.0/24"}))
        .config(json!({"prevResult": {}}))
}
