//! No collector can fail, change or delay a verb beyond the bound: down, hanging, slow.

use std::time::{Duration, Instant};

use serde_json::json;

use super::verbs::traced;
use crate::plugin::{Pod, SilentNames, Site};
use crate::support::collector::Collector;
use crate::support::{HangingEndpoint, dead_endpoint};

/// A bound that can be told from what an ADD itself takes, also on a busy machine.
const FLUSH_MS: u64 = 3_000;

/// The answer of an ADD with this collector, and its duration.
fn add(site: &Site, container: &str, endpoint: &str) -> (String, Duration) {
    let keys = json!({"otlp_endpoint": endpoint, "trace_flush_ms": FLUSH_MS});
    let network = site.network("10.0.0.0/24").ipam(keys);
    let begin = Instant::now();
    let answer = network.add(&Pod::new(container));
    assert_eq!(answer.stderr, "");
    (answer.address(), begin.elapsed())
}

#[test]
fn a_collector_that_is_down_costs_an_add_nothing() {
    let site = Site::shared();
    let (address, took) = add(&site, "c", &dead_endpoint());
    assert_eq!(address, "10.0.0.1/24");
    assert!(took < Duration::from_millis(FLUSH_MS), "{took:?}");
}

#[test]
fn a_collector_that_hangs_costs_an_add_its_bound_and_no_more() {
    let site = Site::shared();
    let hanging = HangingEndpoint::start();
    let (address, took) = add(&site, "c", &hanging.url());
    assert_eq!(address, "10.0.0.1/24");
    let bound = Duration::from_millis(FLUSH_MS);
    assert!(took >= bound && took < 2 * bound, "{took:?}");
}

/// To look a name up takes the C library some 10 s then, on a thread that nothing can end.
#[test]
fn a_collector_whose_name_is_not_answered_for_costs_an_add_its_bound_and_no_more() {
    let site = Site::shared();
    let names = SilentNames::start();
    let keys = json!({"otlp_endpoint": "collector.example", "trace_flush_ms": FLUSH_MS});
    let network = site.network("10.0.0.0/24").ipam(keys);
    let call = names.around(network.call("ADD", &Pod::new("c")));
    let begin = Instant::now();
    assert_eq!(call.run().address(), "10.0.0.1/24");
    let (took, bound) = (begin.elapsed(), Duration::from_millis(FLUSH_MS));
    assert!(took >= bound && took < 2 * bound, "{took:?}");
}

#[test]
fn a_collector_that_is_slow_costs_an_add_its_bound_and_has_the_spans_later() {
    let (site, collector) = (Site::shared(), Collector::start());
    collector.pause();
    let (address, took) = add(&site, "c", &collector.endpoint);
    assert_eq!(address, "10.0.0.1/24");
    let bound = Duration::from_millis(FLUSH_MS);
    assert!(took >= bound && took < 2 * bound, "{took:?}");
    collector.resume();
    let network = traced(&site.network("10.0.0.0/24"), &collector);
    network.add(&Pod::new("d")).result();
    collector.spans_of(1);
}

#[test]
fn an_error_is_the_same_with_a_collector_that_is_down() {
    let site = Site::shared();
    let network = site.network("10.0.0.7/32");
    network.add(&Pod::new("first")).result();
    let plain = network.add(&Pod::new("c"));
    let down = json!({"otlp_endpoint": dead_endpoint(), "trace_socket": "/run/whereabouts-nowhere/trace.sock"});
    let traced = network.ipam(down).add(&Pod::new("c"));
    assert_eq!(traced.exit_code, plain.exit_code);
    let (mut traced, plain) = (traced.json(), plain.json());
    let details = traced["details"].as_str().expect("it has details");
    let (details, _) = details.split_once(" (trace ").expect("it names the trace");
    traced["details"] = json!(details);
    assert_eq!(traced, plain);
}

#[test]
fn what_a_runtime_hands_on_in_opentelemetrys_variables_is_enough() {
    let (site, collector) = (Site::shared(), Collector::start());
    let network = site.network("10.0.0.0/24");
    let call = |container| {
        let call = network.call("ADD", &Pod::new(container));
        let endpoint = format!("http://{}/", collector.endpoint);
        call.variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "5000")
    };
    call("off")
        .variable("OTEL_SDK_DISABLED", "true")
        .run()
        .result();
    call("never")
        .variable("OTEL_TRACES_SAMPLER", "always_off")
        .run()
        .result();
    let service = call("on").variable("OTEL_SERVICE_NAME", "containerd");
    let service = service.variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=test,service.name=containerd",
    );
    service.run().result();
    let spans = collector.spans_of(1);
    assert!(
        spans.iter().all(|span| span.trace == spans[0].trace),
        "one trace"
    );
    let add = spans.iter().find(|span| span.is_verb()).expect("an ADD");
    assert_eq!(add.attribute("container.id"), "on");
    assert_eq!(add.resource["service.name"], "whereabouts");
    assert_eq!(add.resource["deployment.environment.name"], "test");
}
