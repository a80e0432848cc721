//! The buffer of ended spans until they are sent.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use whereabouts_core::limits;

/// The buffer of ended spans.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Ended>>);

/// At most [`limits::SPANS`] ended spans, always with the last one, and the number of further
/// spans.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) spans: Vec<SpanData>,
    pub(super) dropped: usize,
}

impl Kept {
    /// Takes all spans so far.
    pub(super) fn take(&self) -> Ended {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SpanProcessor for Kept {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.spans.len() == limits::SPANS {
            ended.spans.pop();
            ended.dropped += 1;
        }
        ended.spans.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    #[test]
    fn what_is_beyond_the_bound_is_counted_and_the_last_to_end_is_kept() {
        let kept = Kept::default();
        let processor = kept.clone();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .build();
        let tracer = provider.tracer("test");
        for number in 0..limits::SPANS + 3 {
            drop(tracer.start(format!("{number}")));
        }
        let Ended { spans, dropped } = kept.take();
        assert_eq!((spans.len(), dropped), (limits::SPANS, 3));
        let last = spans.last().expect("there are spans");
        assert_eq!(last.name, (limits::SPANS + 2).to_string());
        assert_eq!(kept.take().spans.len(), 0);
    }
}
