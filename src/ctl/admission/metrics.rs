//! The metrics of the webhook.

use std::time::Duration;

use super::review::Judgement;
use crate::serve::counters::Counter;
use crate::serve::exposition::{Exposition, Kind};

/// The answers.
#[derive(Default)]
pub(super) struct Metrics {
    allowed: Counter,
    warned: Counter,
    denied: Counter,
    /// Requests that are no reviews.
    pub(super) refused: Counter,
    micros: Counter,
}

impl Metrics {
    /// Counts a judgement that took so long.
    pub(super) fn take(&self, judgement: &Judgement, took: Duration) {
        let counter = match (judgement.is_allowed(), judgement.warnings.is_empty()) {
            (false, _) => &self.denied,
            (true, false) => &self.warned,
            (true, true) => &self.allowed,
        };
        counter.add(1);
        self.micros
            .add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of it to a scrape. `has_certificate` tells whether anybody can be served.
    pub(super) fn tell(&self, text: &mut Exposition, has_certificate: bool) {
        let counts = [
            ("allowed", &self.allowed),
            ("warned", &self.warned),
            ("denied", &self.denied),
            ("refused", &self.refused),
        ];
        let counts =
            counts.map(|(result, count)| (vec![("result", result)], count.get().to_string()));
        text.family(
            "whereabouts_admission_reviews_total",
            Kind::Counter,
            "Reviews of the webhook, by their result; refused ones were no reviews.",
            counts,
        );
        #[expect(clippy::cast_precision_loss, reason = "exact for centuries")]
        let seconds = self.micros.get() as f64 / 1e6;
        text.value(
            "whereabouts_admission_seconds_total",
            Kind::Counter,
            "The time that all reviews took.",
            seconds,
        );
        text.value(
            "whereabouts_admission_certificate",
            Kind::Gauge,
            "Whether the webhook has a certificate to show.",
            u8::from(has_certificate),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reviews_are_counted_by_their_result() {
        let metrics = Metrics::default();
        let judgement = |refusals: usize, warnings: usize| Judgement {
            refusals: vec![String::new(); refusals],
            warnings: vec![String::new(); warnings],
        };
        for (refusals, warnings) in [(0, 0), (0, 0), (0, 2), (1, 1)] {
            let took = Duration::from_millis(5);
            metrics.take(&judgement(refusals, warnings), took);
        }
        metrics.refused.add(3);
        let mut text = Exposition::default();
        metrics.tell(&mut text, false);
        let text = text.text();
        for line in [
            "whereabouts_admission_reviews_total{result=\"allowed\"} 2",
            "whereabouts_admission_reviews_total{result=\"warned\"} 1",
            "whereabouts_admission_reviews_total{result=\"denied\"} 1",
            "whereabouts_admission_reviews_total{result=\"refused\"} 3",
            "whereabouts_admission_seconds_total 0.02",
            "whereabouts_admission_certificate 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
