//! The holder and its waiters: the batch of a holder is linked with the requests that it serves.

use std::collections::BTreeSet;

use super::verbs::traced;
use crate::plugin::{Answer, Foreigner, Network, Pod, Running, Site, pods};
use crate::support::collector::{Collector, Span};
use crate::support::etcd::Cluster;
use crate::support::poll;

const CIDR: &str = "10.0.0.0/24";
pub(super) const WAITERS: usize = 20;

#[test]
fn a_batch_of_20_waiters_is_linked_with_20_traces_and_each_of_them_with_the_batch() {
    let site = Site::of(Cluster::start(1));
    let collector = Collector::start();
    let network = traced(&site.network(CIDR), &collector);
    serve_in_line(&site, &network);
    assert_linked(&collector.spans_of(WAITERS + 1));
}

/// Lets pods queue for addresses of a range, until one of them serves all the others.
pub(super) fn serve_in_line(site: &Site, network: &Network) -> Vec<Pod> {
    let foreigner = Foreigner::hold(site, CIDR);
    // The holder, and those that it serves.
    let pods = pods(WAITERS + 1);
    let running: Vec<Running> = pods
        .iter()
        .map(|pod| network.call("ADD", pod).start())
        .collect();
    poll("all stand in the queue", || {
        (site.audit().tickets == WAITERS + 1).then_some(())
    });
    // It serves nobody: the oldest of them does.
    foreigner.leave(site);
    let addresses: BTreeSet<String> = running
        .into_iter()
        .map(Running::finish)
        .map(|answer: Answer| answer.address())
        .collect();
    assert_eq!(addresses.len(), WAITERS + 1);
    pods
}

/// One batch served all but its holder. It is linked with each of their traces, and each of them with it.
pub(super) fn assert_linked(spans: &[Span]) {
    let serving: Vec<&Span> = spans
        .iter()
        .filter(|span| span.name == "batch" && !span.links.is_empty())
        .collect();
    let [batch] = serving.as_slice() else {
        panic!("one batch serves them all: {serving:?}");
    };
    let traces: BTreeSet<&str> = batch
        .links
        .iter()
        .map(|(trace, _)| trace.as_str())
        .collect();
    assert_eq!(traces.len(), WAITERS);
    let verb_of = |trace: &str| {
        let is_it = |span: &&Span| span.is_verb() && span.trace == trace;
        spans.iter().find(is_it).expect("each trace has its verb")
    };
    let holder = verb_of(&batch.trace).attribute("container.id");
    let mut positions = BTreeSet::new();
    for (trace, waiting) in &batch.links {
        let waiting = spans.iter().find(|span| span.id == *waiting);
        let waiting = waiting.expect("the span that waits was sent");
        assert_eq!((&waiting.trace, waiting.name.as_str()), (trace, "queue"));
        let served: Vec<&Span> = spans
            .iter()
            .filter(|span| span.name == "served" && span.trace == *trace)
            .collect();
        let [served] = served.as_slice() else {
            panic!("each is served once: {served:?}");
        };
        assert_eq!(served.parent, waiting.id);
        assert_eq!(served.links, [(batch.trace.clone(), batch.id.clone())]);
        assert_eq!(served.attribute("whereabouts.served_by"), holder);
        assert_eq!(
            served.attribute("whereabouts.batch.size"),
            (WAITERS + 1).to_string()
        );
        assert!(positions.insert(served.attribute("whereabouts.queue.position").to_owned()));
        assert_ne!(verb_of(trace).attribute("whereabouts.addresses"), "");
    }
    assert_eq!(positions.len(), WAITERS);
}
