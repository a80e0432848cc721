//! Requirements on configurations as the users of the ancestor write them: with their own keys,
//! spellings and remains, and with etcd in the node's flat file.

use serde_json::{Value, json};

use super::super::sample::{Sample, assert_found, show};

const FLAT_FILE: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";

/// A flat file as the ancestor's installer writes it, with an etcd.
const NODES: &str = r#"{
  "datastore": "etcd",
  "kubernetes": {"kubeconfig": "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig"},
  "reconciler_cron_expression": "30 4 * * *",
  "log_file": "/var/log/whereabouts.log",
  "log_level": "verbose",
  "etcd_host": "https://etcd:2379",
  "gateway": ""
}"#;

/// Checks the wants of an ADD with this `ipam`, or its error. STATUS and DEL must accept every
/// config that ADD accepts.
fn check(ipam: &str, expected: Result<&str, &str>) {
    let of = |verb| {
        let mut sample = Sample::of(verb);
        sample.config["ipam"] = serde_json::from_str(ipam).expect("it is JSON");
        sample.machine = std::mem::take(&mut sample.machine).with(FLAT_FILE, 0o600, NODES);
        sample
    };
    let add = of("ADD").add();
    let found = add.map(|add| add.ask.map(|ask| show(&ask.wants)).unwrap_or_default());
    assert_found(found, expected.map_err(|part| (7, part)));
    if expected.is_ok() {
        of("STATUS").status().expect("what ADD lives with");
    }
    of("DEL").del().expect("DEL lives with everything");
}

#[test]
fn configurations_of_the_ancestors_documents_are_understood() {
    let cases = [
        // Several editions of the ancestor's README.
        (
            r#"{"type": "whereabouts", "range": "192.168.2.225/28", "log_file": "/tmp/whereabouts.log",
                "log_level": "debug", "gateway": "192.168.2.1"}"#,
            "192.168.2.224/28 192.168.2.225-192.168.2.238",
        ),
        (
            r#"{"type": "whereabouts", "range": "192.168.2.225/28",
                "exclude": ["192.168.2.229/30", "192.168.2.236/32"]}"#,
            "192.168.2.224/28 192.168.2.225-192.168.2.227 192.168.2.232-192.168.2.235 \
             192.168.2.237-192.168.2.238",
        ),
        (
            r#"{"type": "whereabouts", "ipRanges": [{"range": "192.168.10.0/24"},
                {"range": "abcd::/64"}]}"#,
            "192.168.10.0/24 192.168.10.1-192.168.10.254; abcd::/64 abcd::1-abcd::ffff:ffff:ffff:ffff",
        ),
        (
            r#"{"type": "whereabouts", "range": "192.168.0.0-192.168.0.255/24"}"#,
            "192.168.0.0/24 192.168.0.1-192.168.0.254",
        ),
        (
            r#"{"type": "whereabouts", "range": "2001::0/116", "gateway": "2001::f:1"}"#,
            "2001::/116 2001::1-2001::fff",
        ),
        (
            r#"{"type": "whereabouts", "range": "10.10.0.0/16", "range_start": "10.10.1.1",
                "range_end": "10.10.1.9", "network_name": "tenant", "enable_overlapping_ranges": false}"#,
            "10.10.0.0/16 10.10.1.1-10.10.1.9",
        ),
        (
            r#"{"type": "whereabouts", "range": "192.168.2.0/24", "node_slice_size": "/28",
                "fast_ipam": true}"#,
            "192.168.2.0/24 192.168.2.1-192.168.2.254",
        ),
        (
            r#"{"configuration_path": "/etc/cni/net.d/whereabouts.d/whereabouts.conf",
                "type": "whereabouts", "range": "192.168.2.0/24", "log_level": "verbose"}"#,
            "192.168.2.0/24 192.168.2.1-192.168.2.254",
        ),
        // The ancestor's own generator writes every key.
        (
            r#"{"type": "whereabouts", "range": "10.1.0.0/29", "range_start": "", "range_end": "",
                "exclude": null, "ipRanges": null, "gateway": "", "network_name": "", "log_file": "",
                "log_level": "", "configuration_path": "", "etcd_host": "", "etcd_username": "",
                "etcd_password": "", "etcd_key_file": "", "etcd_cert_file": "", "etcd_ca_cert_file": "",
                "leader_lease_duration": 1500, "leader_renew_deadline": 1000, "leader_retry_period": 500,
                "sleep_for_race": 0, "addresses": null, "dns": {}, "routes": null, "datastore": ""}"#,
            "10.1.0.0/29 10.1.0.1-10.1.0.6",
        ),
        (
            r#"{"type": "whereabouts", "range": "", "range_start": "", "exclude": [""],
                "ipRanges": [{"range": "10.1.0.0/29", "range_start": "", "exclude": [], "gateway": ""}]}"#,
            "10.1.0.0/29 10.1.0.1-10.1.0.6",
        ),
        // Multus and OpenShift.
        (
            r#"{"type": "whereabouts", "range": "192.0.2.192/27", "exclude": ["192.0.2.192/30",
                "192.0.2.196/32"]}"#,
            "192.0.2.192/27 192.0.2.197-192.0.2.222",
        ),
        (
            r#"{"type": "whereabouts", "range": "fe80:1::/124", "exclude": ["192.168.0.0/24"]}"#,
            "fe80:1::/124 fe80:1::1-fe80:1::f",
        ),
        (
            r#"{"type": "whereabouts", "range": "10.56.217.0/24", "gateway": "10.56.217.1",
                "routes": [{"dst": "0.0.0.0/0", "gw": ""}, {"dst": "10.0.0.0/8", "gw": "10.56.217.1"}],
                "configuration_path": "/etc/kubernetes/cni/net.d/whereabouts.d/whereabouts.conf"}"#,
            "10.56.217.0/24 10.56.217.2-10.56.217.254",
        ),
        // Remains of host-local.
        (
            r#"{"type": "whereabouts", "range": "10.1.0.0/29", "subnet": "10.1.0.0/29",
                "dataDir": "/var/lib/cni"}"#,
            "10.1.0.0/29 10.1.0.1-10.1.0.6",
        ),
    ];
    for (ipam, expected) in cases {
        check(ipam, Ok(expected));
    }
}

#[test]
fn what_cannot_work_here_names_the_key_and_the_alternative() {
    let cases = [
        (
            r#"{"type": "whereabouts", "range": "10.1.0.0/29", "datastore": "kubernetes",
                "kubernetes": {"kubeconfig": "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig"}}"#,
            "ipam.datastore cannot be set in a network configuration: \
             /etc/cni/net.d/whereabouts.d/whereabouts.conf configures etcd",
        ),
        (
            r#"{"type": "whereabouts", "subnet": "10.1.0.0/29", "rangeStart": "10.1.0.2"}"#,
            "ipam.subnet is a key of host-local; here it is range",
        ),
        (
            r#"{"type": "whereabouts", "ranges": [[{"subnet": "10.1.0.0/29"}]]}"#,
            "ipam.ranges is a key of host-local; here it is ipRanges",
        ),
        (
            r#"{"type": "whereabouts", "range": "10.1.0.0/29", "range_start": "10.2.0.1"}"#,
            "ipam.range_start: \"10.2.0.1\" is outside 10.1.0.0/29 (ipam.range)",
        ),
        (
            r#"{"type": "whereabouts", "range": "10.1.0.0/29", "etcd_host": "example-etcd:2379"}"#,
            "ipam.etcd_host cannot be set in a network configuration",
        ),
    ];
    for (ipam, expected) in cases {
        check(ipam, Err(expected));
    }
}

/// A complete configuration needs no flat file.
#[test]
fn the_first_edition_of_the_ancestors_readme_is_understood() {
    let mut sample = Sample::of("ADD");
    sample.config = json!({
        "cniVersion": "0.3.0", "name": "whereaboutsexample", "type": "macvlan", "master": "eth0",
        "mode": "bridge", "ipam": {"type": "whereabouts", "range": "192.168.2.225/28",
            "etcd_host": "127.0.0.1:2379", "log_file": "/tmp/whereabouts.log", "log_level": "debug",
            "gateway": "192.168.2.1"}
    });
    assert_eq!(sample.remarks(), "");
    let gateways = sample.add().expect("an ADD").answer.gateways;
    assert_eq!(
        json!(gateways[0].map(|one| one.to_string())),
        Value::from("192.168.2.1")
    );
}
