//! What an execution tells of itself: lines in a log on this machine, and spans for a collector.
//!
//! Nothing here can fail a verb or change what it answers. Spans are kept until the answer is out,
//! and then sent in one go, within a bound. Without a log and without tracing there is no
//! subscriber: an attribute like `#[instrument]` then costs one comparison.
//!
//! ```text
//! #[instrument] --> kept ----> send --+--> datagram to the agent on this node --> otlp
//!   root                              `--> otlp, within trace_flush_ms
//! ```

mod kept;
mod log;
pub mod otlp;
mod queue;
mod root;
mod send;

use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, TraceContextExt, TracerProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber, error};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use self::send::Outbox;
use crate::error::Error;
use crate::invocation::Invocation;
use crate::request::{Logging, Request, Tracing};

pub use log::log_remarks;
pub use queue::Traced;
pub use root::granted;

/// The target of what is logged even with `log_level: panic`.
pub const PANIC: &str = "whereabouts::panic";

/// What makes spans, once something is traced.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What an execution is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What it was called with.
    pub invocation: &'a Invocation,
    /// What that asks for, if it is a request.
    pub request: Option<&'a Request>,
    /// When the process began.
    pub begun: SystemTime,
}

/// The telling of one execution, from the end of its parsing on.
#[derive(Debug)]
pub struct Telemetry {
    /// The span of the verb.
    pub span: Span,
    /// Why nothing is logged, though it should be.
    pub log_error: Option<std::io::Error>,
    outbox: Option<Outbox>,
}

impl Telemetry {
    /// Logs and traces from here on.
    pub fn start(logging: &Logging, tracing: Option<&Tracing>, subject: Subject<'_>) -> Self {
        let parsed = SystemTime::now();
        let (log, log_error) = match log::open(logging) {
            Ok(file) => (file.map(|file| log::layer(file, logging.level)), None),
            Err(error) => (None, Some(error)),
        };
        let mut outbox =
            tracing.map(|tracing| Outbox::new(tracing, root::resource(subject), subject.begun));
        if log.is_some() || outbox.is_some() {
            let tracer = outbox.as_ref().map(tracer);
            let subscriber = tracing_subscriber::registry()
                .with(log)
                .with(tracer.map(layer));
            // It fails only where there is one already: in tests.
            let _ = tracing::subscriber::set_global_default(subscriber);
        }
        let span = root::span(subject);
        if let Some(outbox) = &mut outbox {
            root::open(&span, subject, parsed);
            outbox.set_root(context_of(&span));
        }
        Self {
            span,
            log_error,
            outbox,
        }
    }

    /// Tells of a failure, and what a person should be told of it: with the trace, if there is one.
    pub fn failed(&self, error: &Error) -> String {
        let (code, summary, details) = (error.code(), error.summary(), error.details());
        error!(code, "{summary}: {details}");
        root::failed(&self.span, error);
        match context_of(&self.span) {
            Some(context) => format!("{details} (trace {})", context.trace_id()),
            None => details,
        }
    }

    /// Ends it: what is left to do, when the answer is out.
    pub fn end(self) -> Unsent {
        Unsent(self.outbox)
    }
}

/// Spans that are still to be sent.
#[must_use]
#[derive(Debug)]
pub struct Unsent(Option<Outbox>);

impl Unsent {
    /// Of an execution that is not told of.
    pub fn nothing() -> Self {
        Self(None)
    }

    /// Sends them, within the configured bound.
    pub fn send(self) {
        if let Some(outbox) = self.0 {
            outbox.send();
        }
    }
}

fn context_of(span: &Span) -> Option<SpanContext> {
    let context = span.context().span().span_context().clone();
    context.is_sampled().then_some(context)
}

fn tracer(outbox: &Outbox) -> SdkTracer {
    let provider = SdkTracerProvider::builder()
        .with_span_processor(outbox.kept())
        .with_resource(outbox.resource())
        .build();
    TRACER
        .get_or_init(|| provider.tracer("whereabouts"))
        .clone()
}

/// What turns spans into OpenTelemetry's: this program's own, never those of h2, hyper or tonic.
fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(tracer: SdkTracer) -> impl Layer<S> {
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target("whereabouts", LevelFilter::DEBUG))
}
