//! Logging, tracing and metrics of one execution: lines in a log on this machine, spans for a collector, and a report
//! for the agent on this node.
//!
//! This module cannot fail a verb or change its answer. It keeps spans until the answer is printed,
//! and then sends them together, within a bound. Without a log and without tracing there is no
//! subscriber. An attribute like `#[instrument]` then costs one comparison.
//!
//! ```text
//! #[instrument] --> kept ----> send --+--> datagram to the agent on this node --> otlp
//!   root                              `--> otlp, within trace_flush_ms
//! report -----------------------> datagram to the agent on this node
//! ```

mod kept;
mod log;
pub mod otlp;
mod queue;
pub mod report;
mod root;
mod send;

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use opentelemetry::InstrumentationScope;
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

pub(crate) use log::log_remarks;
pub(crate) use queue::Traced;
pub(crate) use report::{Tally, Unreported};
pub(crate) use root::granted;

/// The target of events that are logged even with `log_level: panic`.
pub(crate) const PANIC: &str = "whereabouts::panic";

/// The version of OpenTelemetry's semantic conventions that names of attributes are from.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.40.0";

/// The tracer, if spans are traced.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The subject of logging and tracing: one execution.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The invocation.
    pub(crate) invocation: &'a Invocation,
    /// The request, if the invocation is a valid one.
    pub(crate) request: Option<&'a Request>,
    /// The time at which the process began.
    pub(crate) begun: SystemTime,
    /// The same moment on the monotonic clock.
    pub(crate) started: Instant,
}

/// The logging and tracing of one execution, from the end of its parsing on.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// The span of the verb.
    pub(crate) span: Span,
    /// The reason why a configured log is not written.
    pub(crate) log_error: Option<std::io::Error>,
    outbox: Option<Outbox>,
}

impl Telemetry {
    /// Starts logging and tracing.
    pub(crate) fn start(
        logging: &Logging,
        tracing: Option<&Tracing>,
        subject: Subject<'_>,
    ) -> Self {
        let parsed = SystemTime::now();
        let (log, log_error) = match log::open(logging) {
            Ok(file) => (file.map(|file| log::layer(file, logging.level)), None),
            Err(error) => (None, Some(error)),
        };
        let mut outbox =
            tracing.map(|tracing| Outbox::new(tracing, root::resource(tracing), subject.begun));
        if log.is_some() || outbox.is_some() {
            let tracer = outbox.as_ref().map(tracer);
            let subscriber = tracing_subscriber::registry()
                .with(log)
                .with(tracer.map(layer));
            // Only a test can have a subscriber already.
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

    /// Logs and traces a failure, and returns the details for a person, with the id of the trace.
    pub(crate) fn failed(&self, error: &Error) -> String {
        let (code, summary, details) = (error.code(), error.summary(), error.details());
        error!(code, "{summary}: {details}");
        root::failed(&self.span, error);
        match context_of(&self.span) {
            Some(context) => format!("{details} (trace {})", context.trace_id()),
            None => details,
        }
    }

    /// Ends logging and tracing. The returned spans and the report are sent after the answer is printed.
    pub(crate) fn end(self, report: Option<Unreported>) -> Unsent {
        Unsent {
            report,
            outbox: self.outbox,
        }
    }
}

/// The report and the spans that must still be sent.
#[must_use]
#[derive(Debug, Default)]
pub struct Unsent {
    report: Option<Unreported>,
    outbox: Option<Outbox>,
}

impl Unsent {
    /// Sends the report at once, and the spans within the configured bound.
    pub fn send(self) {
        if let Some(report) = self.report {
            report.send();
        }
        if let Some(outbox) = self.outbox {
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
    let scope = InstrumentationScope::builder("whereabouts")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA)
        .build();
    TRACER
        .get_or_init(|| provider.tracer_with_scope(scope))
        .clone()
}

/// The layer that turns spans into OpenTelemetry's. It takes the spans of this program only, not
/// those of h2, hyper or tonic.
fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(tracer: SdkTracer) -> impl Layer<S> {
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target("whereabouts", LevelFilter::DEBUG))
}
