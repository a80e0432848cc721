//! What the agent counts, in Prometheus' text format (version 0.0.4).

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
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
    /// All of them, and the bytes that wait.
    pub(super) fn text(&self, backlog_bytes: usize) -> String {
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
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("a string takes any text");
        };
        for (name, help, samples) in families {
            line(format_args!("# HELP {name} {help}"));
            line(format_args!("# TYPE {name} counter"));
            for (result, counter) in samples {
                line(format_args!(
                    "{name}{{result=\"{result}\"}} {}",
                    counter.get()
                ));
            }
        }
        let name = "whereabouts_agent_backlog_bytes";
        line(format_args!(
            "# HELP {name} Bytes of spans that wait for the collector."
        ));
        line(format_args!("# TYPE {name} gauge"));
        line(format_args!("{name} {backlog_bytes}"));
        text
    }
}
