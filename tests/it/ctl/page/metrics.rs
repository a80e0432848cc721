//! `/metrics`: in Prometheus' format, exact, and what the dashboard asks for.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::Server;
use super::prometheus::Scrape;
use crate::plugin::{Foreigner, Pod, Site, await_in_line, pods};
use crate::support::poll;

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

#[test]
fn every_metric_of_the_dashboard_is_there() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("c")).result();
    let server = Server::of(&site, &["--reap", "1h", "--node", "node-1"]);
    let families = Scrape::read(&server.get("/metrics")).families;
    let file = whereabouts_fixtures::binaries::top().join("deploy/grafana-dashboard.json");
    let text = fs::read_to_string(file).expect("it is there");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let mut asked = BTreeSet::new();
    for panel in panels {
        for target in panel["targets"]
            .as_array()
            .expect("a panel asks for something")
        {
            let expression = target["expr"].as_str().expect("an expression");
            let is_inside = |one: char| one.is_ascii_alphanumeric() || one == '_';
            let names = expression.split(|one| !is_inside(one));
            let names: Vec<_> = names
                .filter(|one| one.starts_with("whereabouts_"))
                .collect();
            assert!(!names.is_empty(), "{expression}");
            asked.extend(names.into_iter().map(str::to_owned));
        }
    }
    assert!(asked.len() > 8, "{asked:?}");
    for name in asked {
        assert!(families.contains_key(&name), "no {name} in {families:?}");
    }
}
