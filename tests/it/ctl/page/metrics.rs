//! `/metrics`: in Prometheus' format, exact, and what the dashboard asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use super::Server;
use super::prometheus::Scrape;
use crate::plugin::{Foreigner, Pod, Site, await_in_line, pods};
use crate::support::{dead_endpoint, poll};

const CIDR: &str = "10.0.0.0/24";

fn of_range(name: &str) -> String {
    format!("whereabouts_range_{name}{{range=\"{CIDR}\",pool=\"\",own_pool=\"false\"}}")
}

#[test]
fn ranges_nodes_and_queues_are_counted_exactly() {
    let site = Site::shared();
    let network = site.network(CIDR);
    for pod in pods(3) {
        network.add(&pod).result();
    }
    let hostile = "no\"de\\1";
    let there = network.clone().ipam(json!({"node_name": hostile}));
    there.add(&Pod::new("there")).result();
    let server = Server::of(&site, &[]);
    let scrape = || Scrape::read(&server.get("/metrics"));
    let told = scrape();
    for (name, expected) in [
        ("size_addresses", 254.0),
        ("taken_addresses", 4.0),
        ("free_addresses", 250.0),
        ("held_addresses", 4.0),
        ("queue_length", 0.0),
        ("oldest_ticket_seconds", 0.0),
    ] {
        assert_eq!(
            told.value(&of_range(name)).to_bits(),
            f64::to_bits(expected),
            "{name}"
        );
    }
    assert_eq!(
        told.value("whereabouts_node_claims{node=\"node-1\"}")
            .to_bits(),
        3_f64.to_bits()
    );
    let escaped = "whereabouts_node_claims{node=\"no\\\"de\\\\1\"}";
    assert_eq!(told.value(escaped).to_bits(), 1_f64.to_bits());
    assert_eq!(told.value("whereabouts_etcd_up").to_bits(), 1_f64.to_bits());
    let holder = Foreigner::hold(&site, CIDR);
    poll("the lock is counted", || {
        (scrape().value("whereabouts_locks") > 0.5).then_some(())
    });
    assert_eq!(scrape().value(&of_range("queue_length")).to_bits(), 0);
    let mut add = network.call("ADD", &Pod::new("waits")).start();
    await_in_line(&site, 1, &mut add);
    poll("the ticket grows old", || {
        let told = scrape();
        let waits = told.value(&of_range("queue_length")) > 0.5;
        (waits && told.value(&of_range("oldest_ticket_seconds")) > 0.5).then_some(())
    });
    holder.leave(&site);
    add.finish().result();
    poll("the queue is empty and the lock free", || {
        let told = scrape();
        let waiting = told.value(&of_range("queue_length"));
        (waiting + told.value("whereabouts_locks") < 0.5).then_some(())
    });
}

/// The names of metrics in the texts of a JSON document.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_inside = |one: char| one.is_ascii_alphanumeric() || one == '_';
    let names = text.split(|one| !is_inside(one));
    let names = names.filter(|one| one.starts_with("whereabouts_"));
    names.map(str::to_owned).collect()
}

/// The metrics of the dashboard, of which each panel asks for one.
fn asked_by_the_dashboard() -> BTreeSet<String> {
    let file = deployed("monitoring/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&file).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let mut asked = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        for target in panel["targets"]
            .as_array()
            .expect("a panel asks for something")
        {
            let expression = target["expr"].as_str().expect("an expression");
            let names = metrics_in(expression);
            assert!(!names.is_empty(), "{expression}");
            asked.extend(names);
        }
    }
    asked
}

fn deployed(name: &str) -> String {
    let folder = whereabouts_fixtures::binaries::top().join("deploy/kubernetes");
    fs::read_to_string(folder.join(name)).expect("it is there")
}

/// The families of a controller with a webhook, whose API server does not answer.
fn families_of_a_controller(site: &Site) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kubeconfig = folder.path().join("config");
    let dead = dead_endpoint();
    let file = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": dead}}],
        "users": [{"name": "lab", "user": {}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    });
    fs::write(&kubeconfig, file.to_string()).expect("a file");
    let kubeconfig = kubeconfig.to_str().expect("a path is text");
    let endpoints = site.access().endpoints.join(",");
    let controller = Server::start_as(
        "controller",
        &[
            "--kubeconfig",
            kubeconfig,
            "--identity",
            "controller-1",
            "--namespace",
            "kube-system",
            "--webhook-listen",
            "127.0.0.1:0",
            "--etcd-host",
            &endpoints,
            "--etcd-prefix",
            &site.prefix,
        ],
    );
    Scrape::read(&controller.get("/metrics")).families
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_alerts_is_served() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("c")).result();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("agent.sock");
    let socket = socket.to_str().expect("a path is text");
    let arguments = ["--reap", "1h", "--node", "node-1", "--trace-socket", socket];
    let server = Server::of(&site, &arguments);
    let mut families = Scrape::read(&server.get("/metrics")).families;
    let of_controller = families_of_a_controller(&site);
    for of_program in [&families, &of_controller] {
        assert!(of_program.contains_key("whereabouts_build_info"));
    }
    families.extend(of_controller);
    let by_dashboard = asked_by_the_dashboard();
    let by_alerts = metrics_in(&deployed("monitoring/prometheus-rule.yaml"));
    let documented = metrics_in(
        &fs::read_to_string(whereabouts_fixtures::binaries::top().join("docs/MONITORING.md"))
            .expect("it is there"),
    );
    assert!(by_dashboard.len() > 15, "{by_dashboard:?}");
    assert!(by_alerts.len() > 8, "{by_alerts:?}");
    for name in by_dashboard.iter().chain(&by_alerts).chain(&documented) {
        let is_histogram =
            |family: &str| families.get(family).is_some_and(|kind| kind == "histogram");
        let parts = ["_bucket", "_sum", "_count"];
        let of_histogram = parts
            .into_iter()
            .filter_map(|part| name.strip_suffix(part))
            .any(is_histogram);
        let is_served = of_histogram || families.contains_key(name);
        assert!(is_served, "no {name} in {families:?}");
    }
    for name in families.keys() {
        assert!(documented.contains(name), "MONITORING.md has no {name}");
    }
}

#[test]
fn a_server_is_ready_once_it_has_read_etcd() {
    let dead = dead_endpoint();
    let server = Server::start(&["--etcd-host", &dead]);
    let answer = server.request("GET /readyz", "Host: localhost\r\n");
    assert!(answer.head.starts_with("HTTP/1.1 503"), "{}", answer.head);
    let site = Site::shared();
    let server = Server::of(&site, &[]);
    poll("it is ready", || {
        let answer = server.request("GET /readyz", "Host: localhost\r\n");
        (answer.body == "ok\n").then_some(())
    });
}
