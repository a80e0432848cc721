//! The reports of executions: the agent counts each, traced or not, and no plugin waits for it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::json;

use super::agent::Agent;
use crate::plugin::{Network, Pod, Site};

fn reporting(network: Network, socket: &Path) -> Network {
    network.ipam(json!({"metrics_socket": socket}))
}

fn executions(verb: &str, code: u32) -> String {
    format!("whereabouts_executions_total{{verb=\"{verb}\",code=\"{code}\"}}")
}

fn reports(result: &str) -> String {
    format!("whereabouts_agent_reports_total{{result=\"{result}\"}}")
}

#[test]
fn each_execution_is_counted_by_verb_and_code_without_a_trace() {
    let site = Site::shared();
    let agent = Agent::without_collector();
    // Two addresses.
    let network = reporting(site.network("10.0.0.0/30"), &agent.socket());
    let [a, b, c] = ["a", "b", "c"].map(Pod::new);
    network.add(&a).result();
    // A runtime that does not sample its trace.
    let unsampled = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00";
    let add = network.call("ADD", &b).variable("TRACEPARENT", unsampled);
    add.run().result();
    network.add(&c).assert_error(101, &[]);
    network.del(&a).assert_silent();
    network.gc(Some(&[&b]));
    network.status();
    let wrong = network.clone().ipam(json!({"range": "no range"}));
    wrong.add(&c).assert_error(7, &[]);
    agent.await_metric(&reports("taken"), 7);
    for (verb, code, count) in [
        ("ADD", 0, 2),
        ("ADD", 101, 1),
        ("ADD", 7, 1),
        ("DEL", 0, 1),
        ("GC", 0, 1),
        ("STATUS", 0, 1),
    ] {
        assert_eq!(
            agent.metric(&executions(verb, code)),
            count,
            "{verb} {code}"
        );
    }
    let full = "whereabouts_full_range_refusals_total\
        {range=\"10.0.0.0/30\",pool=\"\",own_pool=\"false\"}";
    assert_eq!(agent.metric(full), 1);
    let within_deadline = "whereabouts_execution_seconds_bucket{verb=\"ADD\",le=\"60\"}";
    assert_eq!(agent.metric(within_deadline), 4);
    let within_nothing = "whereabouts_execution_seconds_bucket{verb=\"ADD\",le=\"0.0025\"}";
    assert!(agent.metric(within_nothing) < 4, "a process takes longer");
    assert_eq!(agent.metric(&reports("malformed")), 0);
    assert_eq!(agent.metric(&reports("lost")), 0);
}

#[test]
fn the_claims_that_a_gc_released_and_the_commits_that_were_refused_are_counted() {
    let site = Site::shared();
    let agent = Agent::without_collector();
    let network = reporting(site.network("10.0.0.0/24"), &agent.socket());
    let pods: Vec<Pod> = (0..24)
        .map(|number| Pod::new(&format!("pod-{number}")))
        .collect();
    // All of them want the lowest address, and one of them at a time gets it.
    let calls: Vec<_> = pods
        .iter()
        .map(|pod| network.call("ADD", pod).start())
        .collect();
    for call in calls {
        call.finish().result();
    }
    agent.await_metric(&executions("ADD", 0), 24);
    let conflicts = agent.metric("whereabouts_commit_conflicts_total{verb=\"ADD\"}");
    assert!(conflicts > 0, "24 processes at once never met");
    let valid: Vec<&Pod> = pods.iter().take(4).collect();
    network.gc(Some(&valid));
    agent.await_metric(&executions("GC", 0), 1);
    assert_eq!(agent.metric("whereabouts_gc_released_claims_total"), 20);
}

#[test]
fn reports_that_an_agent_does_not_take_are_counted_and_cost_an_add_nothing() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("agent.sock");
    let network = reporting(site.network("10.0.0.0/24"), &socket);
    network.add(&Pod::new("no-agent")).result();
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    let unread = UnixDatagram::bind(&socket).expect("a socket");
    let filler = UnixDatagram::unbound().expect("a socket");
    filler.set_nonblocking(true).expect("it need not block");
    while filler.send_to(b"x", &socket).is_ok() {}
    let lost = folder.path().join("agent.sock.lost");
    fs::write(&lost, "").expect("a file");
    for container in ["a", "b"] {
        network.add(&Pod::new(container)).result();
    }
    assert_eq!(fs::read(&lost).expect("it is there").len(), 2);
    drop(unread);
    network.add(&Pod::new("nobody-reads")).result();
    let agent = Agent::at(&socket);
    assert_eq!(agent.metric(&reports("lost")), 3);
    network.add(&Pod::new("c")).result();
    agent.await_metric(&executions("ADD", 0), 1);
    assert_eq!(agent.metric(&reports("lost")), 3);
}

#[test]
fn spans_without_a_collector_are_dropped_and_counted() {
    let site = Site::shared();
    let agent = Agent::without_collector();
    let network = agent.traced(&site.network("10.0.0.0/24"));
    network.add(&Pod::new("c")).result();
    agent.await_metric("whereabouts_agent_datagrams_total{result=\"dropped\"}", 1);
}
