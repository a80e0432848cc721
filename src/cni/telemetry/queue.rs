//! The link between the trace of a requester and that of its holder. A ticket carries the span of
//! the waiting requester. For each request that the holder serves, it adds a span to the
//! requester's trace. That span and the span of the batch link to each other. So no requester needs
//! to learn its holder, and a claim needs no further byte.

use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use whereabouts_protocol::traces::Traces;

use super::report::Tally;
use super::{TRACER, context_of};
use whereabouts_core::claim::Attachment;
use whereabouts_store::snapshot::QueueEntry;
use whereabouts_store::trace_context::TraceContext;

/// The traces of this execution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced<'a>(pub(crate) &'a Tally);

impl Traces for Traced<'_> {
    fn conflict(&self) {
        self.0.conflict();
    }

    fn here(&self) -> Option<TraceContext> {
        let context = context_of(&Span::current())?;
        TraceContext::new(context.trace_id().to_bytes(), context.span_id().to_bytes())
    }

    fn served(
        &self,
        holder: &Attachment,
        since: Duration,
        size: usize,
        tickets: &[(usize, &QueueEntry)],
    ) {
        served(holder, since, size, tickets);
    }
}

fn served(holder: &Attachment, since: Duration, size: usize, tickets: &[(usize, &QueueEntry)]) {
    let batch_span = Span::current();
    let (Some(tracer), Some(batch)) = (TRACER.get(), context_of(&batch_span)) else {
        return;
    };
    for &(place, queued) in tickets {
        let Ok((id, ticket)) = &queued.request else {
            continue;
        };
        let Some(waiting) = ticket.trace().map(remote) else {
            continue;
        };
        let whom = KeyValue::new("container.id", id.attachment.container.to_string());
        batch_span.add_link_with_attributes(waiting.clone(), vec![whom]);
        let by = holder.container.to_string();
        let span = tracer
            .span_builder("served")
            .with_kind(SpanKind::Consumer)
            .with_start_time(UNIX_EPOCH + since)
            .with_links(vec![Link::new(batch.clone(), Vec::new(), 0)])
            .with_attributes([
                KeyValue::new("whereabouts.served_by", by),
                KeyValue::new("whereabouts.queue.position", count(place)),
                KeyValue::new("whereabouts.batch.size", count(size)),
            ]);
        let within = Context::new().with_remote_span_context(waiting);
        tracer.build_with_context(span, &within).end();
    }
}

fn remote(context: TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace()),
        SpanId::from_bytes(context.span()),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    )
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
