//! The two ways of sending spans. A datagram to the agent on this node costs no time. A request to
//! the collector is awaited for a bounded time.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanKind};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use tracing::warn;

use super::kept::{Ended, Kept};
use super::otlp::{ExportError, Exporter};
use super::report::connect;
use crate::request::{Collector, Tracing};
use whereabouts_core::limits;

/// The spans of this execution, and their destination.
#[derive(Debug)]
pub(super) struct Outbox {
    tracing: Tracing,
    resource: Resource,
    kept: Kept,
    begun: SystemTime,
    root: Option<SpanContext>,
}

/// The reason why spans are lost.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the agent at {socket} has taken {taken} datagrams: {error}")]
    Agent {
        socket: String,
        taken: usize,
        error: io::Error,
    },
    #[error(transparent)]
    Collector(#[from] ExportError),
    #[error("the collector has not answered in {0:?}")]
    Late(Duration),
    #[error("no runtime could be started for the export: {0}")]
    Runtime(io::Error),
}

impl Outbox {
    /// An empty outbox for a process that began at `begun`.
    pub(super) fn new(tracing: &Tracing, resource: Resource, begun: SystemTime) -> Self {
        Self {
            tracing: tracing.clone(),
            resource,
            kept: Kept::default(),
            begun,
            root: None,
        }
    }

    /// The buffer of the ended spans.
    pub(super) fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// The resource of the spans.
    pub(super) fn resource(&self) -> Resource {
        self.resource.clone()
    }

    /// Sets the span of the whole execution; `None` if it is not sampled.
    pub(super) fn set_root(&mut self, root: Option<SpanContext>) {
        self.root = root;
    }

    /// Sends the ended spans. Spans that cannot be sent are lost, and the log reports the loss.
    pub(super) fn send(self) {
        let ended = self.finished();
        if ended.is_empty() {
            return;
        }
        let resource = ResourceAttributesWithSchema::from(&self.resource);
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(ended, &resource),
        };
        if let Err(lost) = send(&self.tracing, request) {
            warn!("spans are lost: {lost}");
        }
    }

    /// The spans. The root gets the attributes that only the whole process has.
    fn finished(&self) -> Vec<SpanData> {
        let Ended { mut spans, dropped } = self.kept.take();
        let root = spans
            .iter_mut()
            .find(|span| Some(&span.span_context) == self.root.as_ref());
        if let Some(root) = root {
            root.start_time = self.begun;
            root.span_kind = SpanKind::Server;
            // Fields without a dot are for the log only.
            root.attributes
                .retain(|attribute| attribute.key.as_str().contains('.'));
            if dropped > 0 {
                let dropped = i64::try_from(dropped).unwrap_or(i64::MAX);
                root.attributes
                    .push(KeyValue::new("whereabouts.dropped_spans", dropped));
            }
        }
        spans
    }
}

fn send(tracing: &Tracing, request: ExportTraceServiceRequest) -> Result<(), Lost> {
    match (&tracing.socket, &tracing.collector) {
        (Some(socket), None) => hand_over(socket, request),
        (None, Some(collector)) => export(collector, tracing.flush, &request),
        (Some(socket), Some(collector)) => match hand_over(socket, request.clone()) {
            Err(Lost::Agent { taken: 0, .. }) => export(collector, tracing.flush, &request),
            handed_over => handed_over,
        },
        (None, None) => Ok(()),
    }
}

/// Hands spans to the agent without waiting. The agent accepts them at once, or they are lost.
fn hand_over(socket: &Path, request: ExportTraceServiceRequest) -> Result<(), Lost> {
    let mut taken = 0;
    let hand_over = || {
        let agent = connect(socket)?;
        for datagram in datagrams(request) {
            agent.send(&datagram)?;
            taken += 1;
        }
        Ok(())
    };
    let result = hand_over();
    result.map_err(|error| Lost::Agent {
        socket: socket.display().to_string(),
        taken,
        error,
    })
}

/// The datagrams for the spans of a request. Only the holder of a long queue needs more than one.
fn datagrams(request: ExportTraceServiceRequest) -> Vec<Vec<u8>> {
    let scopes = request.resource_spans.first().map(|one| &one.scope_spans);
    let spans = scopes
        .and_then(|scopes| scopes.first())
        .map_or(0, |scope| scope.spans.len());
    if request.encoded_len() <= limits::TRACE_DATAGRAM_BYTES || spans < 2 {
        return vec![request.encode_to_vec()];
    }
    let (mut first, mut second) = (request.clone(), request);
    first.resource_spans[0].scope_spans[0]
        .spans
        .truncate(spans / 2);
    second.resource_spans[0].scope_spans[0]
        .spans
        .drain(..spans / 2);
    let parts = [first, second].into_iter();
    parts.flat_map(datagrams).collect()
}

/// Sends spans to the collector, and waits for its answer within the bound.
fn export(
    collector: &Collector,
    bound: Duration,
    request: &ExportTraceServiceRequest,
) -> Result<(), Lost> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Lost::Runtime)?;
    let request = request.encode_to_vec().into();
    let exported = runtime.block_on(async {
        let export = async { Exporter::new(collector)?.export(request).await };
        match tokio::time::timeout(bound, export).await {
            Ok(exported) => exported.map_err(Lost::from),
            Err(_) => Err(Lost::Late(bound)),
        }
    });
    // The name lookup of a resolver thread has no deadline, so the runtime does not wait for it.
    runtime.shutdown_background();
    exported
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    #[test]
    fn spans_are_parted_into_datagrams_that_have_room_for_them() {
        let name = "x".repeat(1000);
        let spans: Vec<Span> = (0..600_u64)
            .map(|number| Span {
                name: name.clone(),
                span_id: number.to_be_bytes().to_vec(),
                ..Span::default()
            })
            .collect();
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans {
                    spans: spans.clone(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let datagrams = datagrams(request);
        assert!(datagrams.len() > 4, "{}", datagrams.len());
        let mut found = Vec::new();
        for datagram in datagrams {
            assert!(datagram.len() <= limits::TRACE_DATAGRAM_BYTES);
            let request = ExportTraceServiceRequest::decode(&*datagram).expect("a request");
            found.extend(request.resource_spans[0].scope_spans[0].spans.clone());
        }
        assert_eq!(found, spans);
    }
}
