//! Each verb is one trace: which spans there are, how they hang together, and what they say.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use crate::plugin::{Network, Pod, Site, log_folder};
use crate::support::collector::{Collector, Span};
use crate::support::dead_endpoint;

/// A flush bound that is enough on a busy machine.
pub(super) const FLUSH_MS: u64 = 5_000;

/// A network that is traced.
pub(super) fn traced(network: &Network, collector: &Collector) -> Network {
    let keys = json!({"otlp_endpoint": collector.endpoint, "trace_flush_ms": FLUSH_MS});
    network.clone().ipam(keys)
}

/// The spans of one trace as lines, each with its parent's name, in the order of their begin.
fn outline(spans: &[Span]) -> Vec<String> {
    let names: BTreeMap<&str, &str> = spans
        .iter()
        .map(|span| (span.id.as_str(), span.name.as_str()))
        .collect();
    let mut spans: Vec<&Span> = spans.iter().collect();
    spans.sort_by_key(|span| (span.start, u64::MAX - span.end));
    let line = |span: &&Span| match names.get(span.parent.as_str()) {
        Some(parent) => format!("{parent} > {}", span.name),
        None => span.name.clone(),
    };
    spans.iter().map(line).collect()
}

#[test]
fn an_add_is_one_trace_of_nine_spans() {
    let (site, collector) = (Site::shared(), Collector::start());
    let network = traced(&site.network("10.0.0.0/24"), &collector);
    assert_eq!(network.add(&Pod::new("c")).address(), "10.0.0.1/24");
    let spans = collector.spans_of(1);
    let expected = [
        "ADD",
        "ADD > parse",
        "ADD > read",
        "read > etcd Txn",
        "etcd Txn > connect",
        "ADD > decide",
        "ADD > commit",
        "commit > etcd Txn",
        "ADD > answer",
    ];
    assert_eq!(outline(&spans), expected);
    let add = spans.iter().find(|span| span.is_verb()).expect("an ADD");
    assert_eq!((add.parent.as_str(), add.status.as_str()), ("", "UNSET"));
    for span in &spans {
        assert_eq!(span.trace, add.trace);
        assert!(add.start <= span.start && span.start <= span.end && span.end <= add.end);
    }
    for (name, value) in [
        ("container.id", "c"),
        ("network.interface.name", "eth0"),
        ("k8s.namespace.name", "space"),
        ("k8s.pod.name", "pod-c"),
        ("whereabouts.network", "net"),
        ("whereabouts.range", "10.0.0.0/24"),
        ("whereabouts.pool", "(shared)"),
        ("whereabouts.addresses", "10.0.0.1/24"),
    ] {
        assert_eq!(add.attribute(name), value, "{name}");
    }
    assert_eq!(add.resource["service.name"], "whereabouts");
    assert_eq!(add.resource["k8s.node.name"], "node-1");
    let commit = spans.iter().find(|span| span.name == "commit");
    let commit = commit.expect("it commits");
    assert_eq!(commit.attribute("whereabouts.outcome"), "done");
    assert_eq!(commit.attribute("whereabouts.attempts"), "1");
    assert_ne!(commit.attribute("whereabouts.revision"), "");
    let request = spans.iter().find(|span| span.name == "etcd Txn");
    let request = request.expect("it asks etcd");
    assert_eq!(request.kind, "CLIENT");
    for (name, value) in [
        ("db.system.name", "etcd"),
        ("db.operation.name", "Txn"),
        ("rpc.method", "etcdserverpb.KV/Txn"),
        ("rpc.response.status_code", "OK"),
        ("server.address", "127.0.0.1"),
        ("error.type", ""),
    ] {
        assert_eq!(request.attribute(name), value, "{name}");
    }
    let port = request.attribute("server.port");
    assert_eq!(
        site.access().endpoints,
        [format!("http://127.0.0.1:{port}")]
    );
}

#[test]
fn every_verb_is_a_trace_of_its_own() {
    let (site, collector) = (Site::shared(), Collector::start());
    let network = traced(&site.network("10.0.0.0/24"), &collector);
    let pod = Pod::new("c");
    let previous = network.add(&pod).result();
    network.check(&pod, &previous).assert_silent();
    network.status().assert_silent();
    network.gc(Some(&[&pod])).assert_silent();
    network.del(&pod).assert_silent();
    let spans = collector.spans_of(5);
    for span in &spans {
        assert_eq!(span.resource["k8s.node.name"], "node-1", "{}", span.name);
    }
    let mut verbs: Vec<&Span> = spans.iter().filter(|span| span.is_verb()).collect();
    verbs.sort_by_key(|span| span.start);
    let names: Vec<&str> = verbs.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["ADD", "CHECK", "STATUS", "GC", "DEL"]);
    let steps = |verb: &Span| {
        let same = |span: &&Span| span.trace == verb.trace;
        let own: Vec<Span> = spans.iter().filter(same).cloned().collect();
        outline(&own)
    };
    let read = |verb: &str| {
        let first = ["parse", "read"].map(|step| format!("{verb} > {step}"));
        let [parse, read] = first;
        vec![
            verb.to_owned(),
            parse,
            read,
            "read > etcd Txn".to_owned(),
            "etcd Txn > connect".to_owned(),
        ]
    };
    assert_eq!(steps(verbs[2]), read("STATUS"));
    let release = [
        "DEL > read",
        "read > etcd Txn",
        "DEL > decide",
        "DEL > commit",
        "commit > etcd Txn",
    ];
    let expected: Vec<String> = read("DEL")
        .into_iter()
        .chain(release.map(str::to_owned))
        .collect();
    assert_eq!(steps(verbs[4]), expected);
}

#[test]
fn a_trace_goes_on_with_the_runtimes_and_one_that_is_not_sampled_is_not_sent() {
    let (site, collector) = (Site::shared(), Collector::start());
    let network = traced(&site.network("10.0.0.0/24"), &collector);
    let add = |container: &str, parent: &str| {
        let call = network.call("ADD", &Pod::new(container));
        call.variable("TRACEPARENT", parent).run().result();
    };
    add(
        "unsampled",
        "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00",
    );
    add(
        "sampled",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    add("broken", "00-zz-00f067aa0ba902b7-01");
    let spans = collector.spans_of(2);
    let roots: Vec<&Span> = spans.iter().filter(|span| span.is_verb()).collect();
    let [sampled, broken] = roots.as_slice() else {
        panic!("two of three: {roots:?}");
    };
    assert_eq!(sampled.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(sampled.parent, "00f067aa0ba902b7");
    assert_eq!(broken.attribute("container.id"), "broken");
    assert_eq!(broken.parent, "", "a trace of its own");
}

#[test]
fn log_lines_and_an_errors_details_name_the_trace() {
    let (site, collector) = (Site::shared(), Collector::start());
    let folder = log_folder();
    let log = folder.path().join("log");
    let network = site.network("10.0.0.7/32");
    network.add(&Pod::new("first")).result();
    let network = network.ipam(json!({"log_file": log, "timeout": 4}));
    let network = traced(&network, &collector);
    let full = network.add(&Pod::new("full"));
    let wrong = network.clone().ipam(json!({"rangeStart": "10.0.0.0"}));
    let wrong = wrong.add(&Pod::new("wrong"));
    let unreachable = network.ipam(json!({"etcd_host": dead_endpoint()}));
    let unreachable = unreachable.add(&Pod::new("unreachable"));
    let log = fs::read_to_string(log).expect("it was written");
    let spans = collector.spans_of(3);
    for (container, answer, code) in [
        ("full", full, 101),
        ("wrong", wrong, 7),
        ("unreachable", unreachable, 11),
    ] {
        let is_it = |span: &&Span| span.is_verb() && span.attribute("container.id") == container;
        let verb = spans.iter().find(is_it).expect("it is traced");
        answer.assert_error(code, &[&format!("(trace {})", verb.trace)]);
        let named = |line: &&str| line.contains(&format!("trace_id={}", verb.trace));
        assert!(log.lines().any(|line| named(&line)), "{log}");
        assert_eq!(verb.status, "ERROR");
        assert_eq!(verb.attribute("error.type"), code.to_string());
        assert_eq!(verb.resource["k8s.node.name"], "node-1", "{container}");
    }
    for name in ["etcd Txn", "read"] {
        let failed = |span: &Span| span.name == name && span.status == "ERROR";
        assert!(spans.iter().any(failed), "{name} failed");
    }
    let failed = spans
        .iter()
        .filter(|span| span.name == "etcd Txn" && span.status == "ERROR");
    for request in failed {
        assert_eq!(request.attribute("error.type"), "UNAVAILABLE");
    }
}

#[test]
fn without_tracing_neither_a_log_line_nor_an_error_names_a_trace() {
    let site = Site::shared();
    let folder = log_folder();
    let log = folder.path().join("log");
    let network = site.network("10.0.0.0/24").ipam(json!({"log_file": log}));
    network.add(&Pod::new("c")).result();
    let wrong = network
        .ipam(json!({"rangeStart": "10.0.0.0"}))
        .add(&Pod::new("wrong"));
    wrong.assert_error(7, &["rangeStart"]);
    let text = fs::read_to_string(&log).expect("it was written");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        !text.contains("trace") && !wrong.stdout.contains("trace"),
        "{text}"
    );
}

#[test]
fn neither_a_password_nor_a_header_nor_stdin_is_in_a_span() {
    const SECRET: &str = "p4ssw0rd-never-shown";
    let (site, collector) = (Site::shared(), Collector::start());
    // Headers go to no collector of a network configuration.
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"trace_flush_ms": FLUSH_MS}));
    let secret = json!({"etcd_username": "root", "etcd_password": SECRET});
    let network = network.ipam(secret).config(json!({"marker": SECRET}));
    let header = format!("authorization=Bearer {SECRET}");
    let call = |network: &Network| {
        let call = network.call("ADD", &Pod::new("c"));
        let call = call.variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint);
        call.variable("OTEL_EXPORTER_OTLP_HEADERS", &header).run()
    };
    // etcd has no users, so that it does not mind.
    call(&network).result();
    let wrong = network.ipam(json!({"etcd_host": format!("http://me:{SECRET}@127.0.0.1:1")}));
    call(&wrong).assert_error(7, &["etcd_host"]);
    assert_eq!(
        collector
            .spans_of(2)
            .iter()
            .filter(|span| span.is_verb())
            .count(),
        2
    );
    assert!(!collector.text().contains(SECRET), "{}", collector.text());
}
