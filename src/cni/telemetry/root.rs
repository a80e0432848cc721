//! The span of a whole execution and its attributes. An attribute has the name of OpenTelemetry's
//! semantic conventions if there is one. Otherwise its name begins with `whereabouts.`.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, Status, Tracer};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::EnvResourceDetector;
use tracing::field::{Empty, display};
use tracing::{Span, error_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{Subject, TRACER, context_of};
use crate::error::Error;
use crate::request::{AddRequest, DelRequest, Request, Tracing, pod_of};
use whereabouts_core::address::Name;
use whereabouts_core::claim::{Attachment, Held, Owner, RangeId, Want};
use whereabouts_core::escaped;
use whereabouts_core::limits;
use whereabouts_core::verbs::{CheckRequest, GcRequest, StatusRequest};

/// The resource: the program on its node. Its service name is fixed: `OTEL_SERVICE_NAME` would name
/// the runtime, whose variables a plugin inherits.
pub(super) fn resource(tracing: &Tracing) -> Resource {
    let node = tracing.node.clone();
    let node = node.map(|node| KeyValue::new("k8s.node.name", node));
    Resource::builder_empty()
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_service_name("whereabouts")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(node)
        .build()
}

/// The span of the verb. Its fields are for the log, which has them at every level. `trace_id` stays empty without a
/// trace.
pub(super) fn span(subject: Subject<'_>) -> Span {
    let about = subject.request.map(About::of).unwrap_or_default();
    let attachment = about.attachment.map(display);
    // A refused configuration has no attachment, but the variables of one.
    let [network, container, interface] = match about.attachment {
        Some(_) => [None, None, None],
        None => [
            about.network.map(ToString::to_string),
            shown(subject, "CNI_CONTAINERID"),
            shown(subject, "CNI_IFNAME"),
        ],
    };
    let pod = subject.invocation.variable("CNI_ARGS");
    let pod = pod.and_then(|args| pod_of(&args.to_string_lossy()));
    let pod = pod.map(|pod| display(cut(&escaped::line(&pod))));
    let [network, container, interface] = [network, container, interface]
        .map(|text| text.map(|text| display(escaped::line(&text).into_owned())));
    macro_rules! named {
        ($name:literal) => {
            error_span!(
                $name,
                attachment,
                network,
                container,
                interface,
                pod,
                trace_id = Empty
            )
        };
    }
    match subject
        .invocation
        .variable("CNI_COMMAND")
        .and_then(|verb| verb.to_str())
    {
        Some("ADD") => named!("ADD"),
        Some("DEL") => named!("DEL"),
        Some("CHECK") => named!("CHECK"),
        Some("GC") => named!("GC"),
        Some("STATUS") => named!("STATUS"),
        Some(_) | None => named!("unknown verb"),
    }
}

/// Makes `span` the root of this process' spans, below the span of the runtime if there is one.
pub(super) fn open(span: &Span, subject: Subject<'_>, parsed: SystemTime) {
    let parent = TraceContextPropagator::new().extract(&Variables(subject));
    // It fails only for a span that was begun before.
    let _ = span.set_parent(parent);
    for KeyValue { key, value, .. } in attributes(subject) {
        span.set_attribute(key, value);
    }
    let Some(context) = context_of(span) else {
        return;
    };
    span.record("trace_id", display(context.trace_id()));
    if let Some(tracer) = TRACER.get() {
        let parsing = tracer.span_builder("parse").with_start_time(subject.begun);
        let mut parsing = tracer.build_with_context(parsing, &span.context());
        parsing.end_with_timestamp(parsed);
    }
}

/// Records a failure on the span of the verb.
pub(super) fn failed(span: &Span, error: &Error) {
    span.set_attribute("error.type", error.code().to_string());
    span.set_status(Status::error(error.summary()));
}

/// Records the addresses of an ADD.
pub(crate) fn granted(held: &[Held]) {
    let span = Span::current();
    if context_of(&span).is_some() {
        let addresses = joined(held.iter().map(Held::interface_address));
        span.set_attribute("whereabouts.addresses", addresses);
    }
}

fn attributes(subject: Subject<'_>) -> Vec<KeyValue> {
    let about = subject.request.map(About::of).unwrap_or_default();
    let variable = |name| shown(subject, name);
    let of_owner =
        |field: fn(&Owner) -> &Option<String>| about.owner.and_then(|owner| field(owner).clone());
    let ranges = joined(about.ranges.iter().map(|range| range.cidr));
    let pools: BTreeSet<_> = about.ranges.iter().map(|range| &range.pool).collect();
    let pools = joined(pools);
    let filled = |text: String| (!text.is_empty()).then_some(text);
    [
        ("container.id", variable("CNI_CONTAINERID")),
        ("network.interface.name", variable("CNI_IFNAME")),
        ("k8s.namespace.name", of_owner(|owner| &owner.pod_namespace)),
        ("k8s.pod.name", of_owner(|owner| &owner.pod_name)),
        ("k8s.pod.uid", of_owner(|owner| &owner.pod_uid)),
        (
            "whereabouts.network",
            about.network.map(ToString::to_string),
        ),
        ("whereabouts.range", filled(ranges)),
        ("whereabouts.pool", filled(pools)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(KeyValue::new(key, value?)))
    .collect()
}

/// The variable `name`, cut to what is shown.
fn shown(subject: Subject<'_>, name: &str) -> Option<String> {
    let value = subject.invocation.variable(name)?.to_string_lossy();
    Some(cut(&value))
}

fn cut(text: &str) -> String {
    text.chars().take(limits::SHOWN_CHARACTERS).collect()
}

/// The parts of a request that become attributes.
#[derive(Default)]
struct About<'a> {
    attachment: Option<&'a Attachment>,
    network: Option<&'a Name>,
    owner: Option<&'a Owner>,
    ranges: Vec<&'a RangeId>,
}

impl<'a> About<'a> {
    fn of(request: &'a Request) -> Self {
        match request {
            Request::Add(AddRequest { ask: Some(ask), .. }) => Self {
                owner: Some(&ask.owner),
                ranges: ranges_of(&ask.wants),
                ..Self::of_attachment(&ask.attachment)
            },
            Request::Add(AddRequest { ask: None, .. }) => Self::default(),
            Request::Del(DelRequest {
                attachment, queues, ..
            }) => Self {
                ranges: queues.iter().collect(),
                ..Self::of_attachment(attachment)
            },
            Request::Check(CheckRequest { attachment, .. }) => Self::of_attachment(attachment),
            Request::Gc(GcRequest { network, .. }) => Self {
                network: Some(network),
                ..Self::default()
            },
            Request::Status(StatusRequest { wants, .. }) => Self {
                ranges: ranges_of(wants),
                ..Self::default()
            },
        }
    }

    fn of_attachment(attachment: &'a Attachment) -> Self {
        Self {
            attachment: Some(attachment),
            network: Some(&attachment.network),
            ..Self::default()
        }
    }
}

fn ranges_of(wants: &[Want]) -> Vec<&RangeId> {
    wants.iter().map(|want| &want.range).collect()
}

fn joined<T: Display>(parts: impl IntoIterator<Item = T>) -> String {
    let parts: Vec<String> = parts.into_iter().map(|part| part.to_string()).collect();
    parts.join(",")
}

/// The W3C's headers in the variables of an environment (OpenTelemetry: environment variables as
/// context propagation carriers).
struct Variables<'a>(Subject<'a>);

impl Extractor for Variables<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.invocation.variable(&key.to_ascii_uppercase())?;
        value.to_str()
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .invocation
            .variables
            .keys()
            .map(String::as_str)
            .collect()
    }
}
