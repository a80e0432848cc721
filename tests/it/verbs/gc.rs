//! GC: what this node holds in this network without being in use, and nothing else.

use std::fs;

use serde_json::{Value, json};
use whereabouts_store::Write;

use crate::plugin::{Network, Pod, Site, log_folder, pods, put};

fn of_node(network: &Network, node: &str) -> Network {
    network.clone().ipam(json!({"node_name": node}))
}

#[test]
fn gc_releases_what_is_not_in_the_list_of_valid_attachments() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let mut pods = pods(3);
    pods.push(pods[1].clone().interface("eth1"));
    for pod in &pods {
        network.add(pod).result();
    }
    network.gc(Some(&[&pods[1]])).assert_silent();
    site.assert_at_rest(1);
    assert_eq!(network.add(&pods[1]).address(), "10.0.0.2/24");
}

#[test]
fn gc_with_an_absent_list_collects_nothing() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("c")).result();
    let before = site.entries();
    network.gc(None).assert_silent();
    assert_eq!(site.entries(), before);
}

/// libcni writes an empty list as `null`, under two keys.
#[test]
fn gc_with_a_list_that_is_null_collects_everything_of_its_node_and_network() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let mut config: Value = serde_json::from_str(&network.json()).expect("it is JSON");
    config["cni.dev/valid-attachments"] = Value::Null;
    config["cni.dev/attachments"] = Value::Null;
    network.add(&Pod::new("c")).result();
    let gc = network.call_without_pod("GC").stdin(config.to_string());
    gc.run().assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn gc_with_an_empty_list_collects_everything_of_its_node_and_network() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    for pod in pods(3) {
        network.add(&pod).result();
    }
    network.gc(Some(&[])).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn gc_never_touches_the_claims_of_other_nodes() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let (ours, theirs) = (Pod::new("ours"), Pod::new("theirs"));
    network.add(&ours).result();
    of_node(&network, "node-2").add(&theirs).result();
    network.gc(Some(&[])).assert_silent();
    site.assert_at_rest(1);
    assert_eq!(network.add(&theirs).address(), "10.0.0.2/24");
}

#[test]
fn gc_never_touches_the_claims_of_other_networks() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    // One whose name begins with the other's.
    let other = network.clone().config(json!({"name": "net-2"}));
    network.add(&Pod::new("c")).result();
    other.add(&Pod::new("c")).result();
    network.gc(Some(&[])).assert_silent();
    site.assert_at_rest(1);
}

/// GC of a node that nobody named, after an ADD there: nothing is collected, and the log says so.
fn check_nameless(name_file: &str) {
    let site = Site::shared();
    let folder = log_folder();
    let flat_file = folder.path().join("whereabouts.conf");
    fs::write(&flat_file, "{}").expect("the folder can be written");
    fs::write(folder.path().join("nodename"), name_file).expect("the folder can be written");
    let log = folder.path().join("log");
    let nameless = site.network("10.0.0.0/24").ipam(json!({
        "node_name": null, "configuration_path": flat_file, "log_file": log,
    }));
    nameless.add(&Pod::new("c")).result();
    nameless.gc(Some(&[])).assert_silent();
    of_node(&nameless, "localhost")
        .gc(Some(&[]))
        .assert_silent();
    site.assert_at_rest(1);
    let log = fs::read_to_string(log).expect("it was written");
    assert!(log.contains("GC without a known node name"), "{log}");
}

#[test]
fn gc_of_an_unknown_node_collects_nothing_and_says_so() {
    check_nameless("localhost\n");
    check_nameless("\n");
}

#[test]
fn gc_without_a_configured_name_goes_by_the_nodename_file_beside_the_flat_file() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flat_file = folder.path().join("flat.conf");
    fs::write(&flat_file, "{}").expect("the folder can be written");
    fs::write(folder.path().join("nodename"), "node-7\n").expect("the folder can be written");
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"node_name": null, "configuration_path": flat_file}));
    network.add(&Pod::new("c")).result();
    of_node(&network, "node-1").gc(Some(&[])).assert_silent();
    site.assert_at_rest(1);
    of_node(&network, "node-7").gc(Some(&[])).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn gc_goes_on_after_a_claim_that_cannot_be_read_and_reports_it_at_the_end() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    for pod in pods(3) {
        network.add(&pod).result();
    }
    let key = format!("{}claim/net/c1/eth0", site.prefix).into_bytes();
    put(
        &site,
        Write::Put {
            key: key.clone(),
            value: vec![9, 9, 9],
            lease: 0,
        },
    );
    let failed = network.gc(Some(&[]));
    failed.assert_error(
        107,
        &[
            "claims that could not be collected: 1",
            "claim/net/c1/eth0",
            "version 9",
        ],
    );
    let audit = site.audit();
    assert_eq!(
        (audit.claims, audit.set_bits),
        (0, 1),
        "the others are gone"
    );
    let entries = site.entries();
    let left = entries.iter().find(|entry| entry.key == key);
    assert_eq!(
        left.map(|entry| entry.value.as_slice()),
        Some(&[9, 9, 9][..])
    );
}

#[test]
fn gc_lives_with_a_wrong_range() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("c")).result();
    let wrong = network.ipam(json!({"range": 5, "exclude": "x"}));
    wrong.gc(Some(&[])).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn gc_of_a_list_that_cannot_be_read_is_code_7_and_collects_nothing() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("c")).result();
    for list in [json!("all"), json!([{}]), json!([{"containerID": 5}])] {
        let wrong = network
            .clone()
            .config(json!({"cni.dev/valid-attachments": list}));
        let failed = wrong.call_without_pod("GC").run();
        failed.assert_error(7, &["cni.dev/valid-attachments"]);
        assert_ne!(failed.json(), Value::Null);
    }
    site.assert_at_rest(1);
}
