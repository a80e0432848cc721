//! The counters of the agent.

use std::sync::atomic::{AtomicU64, Ordering};

use super::exposition::{Exposition, Kind};

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted. Each span that is taken is later sent, refused or lost.
#[derive(Default)]
pub(super) struct Counters {
    /// Datagrams whose spans were taken.
    pub(super) datagrams_taken: Counter,
    /// Datagrams that are not spans.
    pub(super) datagrams_malformed: Counter,
    /// Datagrams for which there was no room.
    pub(super) datagrams_dropped: Counter,
    /// Spans that the collector has.
    pub(super) spans_sent: Counter,
    /// Spans for which there was no room.
    pub(super) spans_dropped: Counter,
    /// Spans that the collector did not take, however often they were sent.
    pub(super) spans_lost: Counter,
    /// Requests that the collector has taken.
    pub(super) exports_done: Counter,
    /// Requests that it has not, repeated ones among them.
    pub(super) exports_failed: Counter,
}

impl Counters {
    /// Adds all of them, and the bytes that wait, to a scrape.
    pub(super) fn tell(&self, backlog_bytes: usize, text: &mut Exposition) {
        let families = [
            (
                "whereabouts_agent_datagrams_total",
                "Datagrams from plugins.",
                vec![
                    ("taken", &self.datagrams_taken),
                    ("malformed", &self.datagrams_malformed),
                    ("dropped", &self.datagrams_dropped),
                ],
            ),
            (
                "whereabouts_agent_spans_total",
                "Spans by what became of them.",
                vec![
                    ("sent", &self.spans_sent),
                    ("dropped", &self.spans_dropped),
                    ("lost", &self.spans_lost),
                ],
            ),
            (
                "whereabouts_agent_exports_total",
                "Requests to the collector.",
                vec![
                    ("done", &self.exports_done),
                    ("failed", &self.exports_failed),
                ],
            ),
        ];
        for (name, help, samples) in families {
            let samples = samples.into_iter();
            let samples = samples
                .map(|(result, counter)| (vec![("result", result)], counter.get().to_string()));
            text.family(name, Kind::Counter, help, samples);
        }
        text.value(
            "whereabouts_agent_backlog_bytes",
            Kind::Gauge,
            "Bytes of spans that wait for the collector.",
            backlog_bytes,
        );
    }
}
