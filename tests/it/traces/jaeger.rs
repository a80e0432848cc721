//! The view of a user of Jaeger. These tests need a Jaeger, which takes minutes to build: tests/jaeger.sh runs them.

use std::collections::BTreeSet;

use serde_json::json;

use super::queue::{WAITERS, assert_linked, serve_in_line};
use super::verbs::FLUSH_MS;
use crate::plugin::{Network, Pod, Site};
use crate::support::collector::Span;
use crate::support::dead_endpoint;
use crate::support::etcd::Cluster;
use crate::support::jaeger::Jaeger;

fn traced(network: &Network, jaeger: &Jaeger) -> Network {
    let keys = json!({"otlp_endpoint": jaeger.endpoint, "trace_flush_ms": FLUSH_MS});
    network.clone().ipam(keys)
}

fn requests(spans: &[Span]) -> impl Iterator<Item = &Span> {
    spans.iter().filter(|span| span.name.starts_with("etcd"))
}

/// The verbs among spans, each as its name and its container.
fn verbs(spans: &[Span]) -> Vec<String> {
    let verbs = spans.iter().filter(|span| span.is_verb());
    let mut verbs: Vec<String> = verbs
        .map(|span| format!("{} {}", span.name, span.attribute("container.id")))
        .collect();
    verbs.sort();
    verbs
}

#[test]
fn jaeger_lists_operations_that_say_what_is_done_and_finds_traces_by_their_tags() {
    let (site, jaeger) = (Site::shared(), Jaeger::start());
    let network = traced(&site.network("10.0.0.0/24"), &jaeger);
    let pod = Pod::new("a");
    let previous = network.add(&pod).result();
    network.add(&Pod::new("b")).result();
    network.check(&pod, &previous).assert_silent();
    network.status().assert_silent();
    network.gc(Some(&[&pod])).assert_silent();
    network.del(&pod).assert_silent();
    let spans = jaeger.spans_of(6);
    assert_eq!(jaeger.services(), json!(["whereabouts"]));
    let operations = jaeger.operations();
    for (name, kind) in [
        ("ADD", "server"),
        ("CHECK", "server"),
        ("DEL", "server"),
        ("GC", "server"),
        ("STATUS", "server"),
        ("commit", "internal"),
        ("etcd Txn", "client"),
        ("read", "internal"),
    ] {
        let is_it = |one: &(String, String)| one.0 == name && one.1 == kind;
        assert!(
            operations.iter().any(is_it),
            "{name} {kind}: {operations:?}"
        );
    }
    for span in &spans {
        assert_eq!(span.resource["k8s.node.name"], "node-1", "{}", span.name);
        assert_ne!(span.resource["service.version"], "");
        assert_eq!(span.status, "", "{}", span.name);
    }
    let url = &site.access().endpoints[0];
    for request in requests(&spans) {
        assert_eq!(request.kind, "CLIENT");
        let server = ["server.address", "server.port"].map(|name| request.attribute(name));
        assert_eq!(format!("http://{}:{}", server[0], server[1]), *url);
        for (name, value) in [
            ("db.system.name", "etcd"),
            ("db.operation.name", "Txn"),
            ("rpc.system.name", "grpc"),
            ("rpc.method", "etcdserverpb.KV/Txn"),
            ("rpc.response.status_code", "OK"),
        ] {
            assert_eq!(request.attribute(name), value, "{name}");
        }
    }
    for (tags, expected) in [
        (json!({"k8s.pod.name": "pod-b"}), "ADD b"),
        (json!({"whereabouts.addresses": "10.0.0.2/24"}), "ADD b"),
        (
            json!({"container.id": "b", "k8s.node.name": "node-1"}),
            "ADD b",
        ),
    ] {
        assert_eq!(
            verbs(&jaeger.search(Some("ADD"), &tags)),
            [expected],
            "{tags}"
        );
    }
    assert_eq!(verbs(&jaeger.search(Some("DEL"), &json!({}))), ["DEL a"]);
}

#[test]
fn jaeger_marks_what_failed_and_nothing_else() {
    let (site, jaeger) = (Site::shared(), Jaeger::start());
    let network = traced(&site.network("10.0.0.7/32"), &jaeger).ipam(json!({"timeout": 4}));
    network.add(&Pod::new("first")).result();
    network.add(&Pod::new("full")).assert_error(101, &[]);
    let wrong = network.clone().ipam(json!({"rangeStart": "10.0.0.0"}));
    wrong.add(&Pod::new("wrong")).assert_error(7, &[]);
    let dead = dead_endpoint();
    let unreachable = network.ipam(json!({"etcd_host": dead}));
    unreachable
        .add(&Pod::new("unreachable"))
        .assert_error(11, &[]);
    let spans = jaeger.spans_of(4);
    let is_marked = |span: &&Span| span.attribute("error") == "true";
    let failed: Vec<Span> = spans.iter().filter(is_marked).cloned().collect();
    assert_eq!(verbs(&failed), ["ADD full", "ADD unreachable", "ADD wrong"]);
    for (container, code) in [("full", "101"), ("wrong", "7"), ("unreachable", "11")] {
        let is_it = |span: &&Span| span.is_verb() && span.attribute("container.id") == container;
        let verb = failed.iter().find(is_it).expect("it is traced");
        assert_eq!(verb.attribute("otel.status_code"), "ERROR");
        assert_ne!(verb.attribute("otel.status_description"), "");
        assert_eq!(verb.attribute("error.type"), code);
        assert_eq!(verb.resource["k8s.node.name"], "node-1", "{container}");
        let found = jaeger.search(Some("ADD"), &json!({"error.type": code}));
        assert_eq!(verbs(&found), [format!("ADD {container}")]);
    }
    let lost = jaeger.search(Some("etcd Txn"), &json!({"error.type": "UNAVAILABLE"}));
    assert_eq!(verbs(&lost), ["ADD unreachable"]);
    let port = dead.rsplit_once(':').expect("a URL with a port").1;
    for request in requests(&lost) {
        for (name, value) in [
            ("error", "true"),
            ("error.type", "UNAVAILABLE"),
            ("rpc.response.status_code", "UNAVAILABLE"),
            ("server.port", port),
        ] {
            assert_eq!(request.attribute(name), value, "{name}");
        }
        assert!(
            request
                .attribute("otel.status_description")
                .contains("refused")
        );
    }
    let read = lost.iter().find(|span| span.name == "read");
    assert_eq!(read.expect("it reads").attribute("error"), "true");
}

#[test]
fn jaeger_links_each_pod_that_was_served_with_the_batch_of_its_holder() {
    let site = Site::of(Cluster::start(1));
    let jaeger = Jaeger::start();
    let network = traced(&site.network("10.0.0.0/24"), &jaeger);
    let pods = serve_in_line(&site, &network);
    for pod in &pods {
        network.del(pod).assert_silent();
    }
    let spans = jaeger.spans_of(2 * pods.len());
    assert_linked(&spans);
    let operations: BTreeSet<(String, String)> = jaeger.operations().into_iter().collect();
    for (name, kind) in [
        ("queue", "internal"),
        ("join", "internal"),
        ("batch", "internal"),
        ("served", "consumer"),
    ] {
        let operation = (name.to_owned(), kind.to_owned());
        assert!(
            operations.contains(&operation),
            "{name} {kind}: {operations:?}"
        );
    }
    // The trace of each served pod names the holder.
    let served = jaeger.search(Some("served"), &json!({}));
    assert_eq!(verbs(&served).len(), WAITERS);
}
