//! The destination of an invocation's spans, and the bound for sending them.
//!
//! Keys of the config win over OpenTelemetry's variables, which a plugin inherits from its runtime.
//! A wrong variable leads to a remark, never to an error.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::endpoint::{Endpoint, EndpointError, OTLP_PORT, Scheme};
use super::error::RequestError;
use super::findings::Findings;
use super::json::{Object, Text};
use super::{Collector, LogLevel, NamedBy, Tracing, file};
use crate::invocation::Invocation;
use whereabouts_core::limits;
use whereabouts_etcd::Secret;

/// The two variables of one setting. The variable for traces alone is the first, and wins.
type Setting = [&'static str; 2];

const ENDPOINT: Setting = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const PROTOCOL: Setting = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];
const HEADERS: Setting = [
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
];
const TIMEOUT: Setting = [
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];

/// Takes `otlp_endpoint`, `trace_socket` and `trace_flush_ms` out. `named_by` is the author of
/// `otlp_endpoint`. The variables complete the keys. `None` means that nothing is traced.
pub(super) fn tracing(
    ipam: &mut Object,
    named_by: NamedBy,
    invocation: &Invocation,
    findings: &mut Findings,
) -> Result<Option<Tracing>, RequestError> {
    let url = |text: Text| collector_url(&text.text).map_err(|error| wrong_endpoint(&text, error));
    let configured = ipam.text("otlp_endpoint");
    let configured = configured.and_then(|text| text.map(url).transpose());
    let configured = findings.tolerate(configured)?;
    let socket = socket(ipam, "trace_socket", findings)?;
    let flush = ipam.take("trace_flush_ms");
    let flush = flush.map(|node| node.number(1, limits::LONGEST_TRACE_FLUSH_MS));
    let flush = findings.tolerate(flush.transpose())?;
    if is_switched_off(invocation) {
        return Ok(None);
    }
    // The headers may be secrets of the node.
    let with_headers = configured.is_none() || named_by == NamedBy::Node;
    let endpoint = configured.or_else(|| inherited_endpoint(invocation, findings));
    if socket.is_none() && endpoint.is_none() {
        return Ok(None);
    }
    let flush = flush.unwrap_or(limits::TRACE_FLUSH_MS);
    let flush = inherited_timeout(invocation).map_or(flush, |timeout| flush.min(timeout));
    Ok(Some(Tracing {
        socket,
        collector: endpoint.map(|url| Collector {
            url,
            headers: if with_headers {
                headers(invocation, findings)
            } else {
                Vec::new()
            },
        }),
        flush: Duration::from_millis(flush),
        // It is read later.
        node: None,
    }))
}

/// Takes the path of a socket of the agent out.
pub(super) fn socket(
    ipam: &mut Object,
    key: &'static str,
    findings: &mut Findings,
) -> Result<Option<PathBuf>, RequestError> {
    let path = |text: Text| file::path(&text);
    let socket = ipam.text(key);
    let socket = socket.and_then(|text| text.map(path).transpose());
    findings.tolerate(socket)
}

/// The URL of a collector that speaks OTLP over gRPC.
pub(super) fn collector_url(text: &str) -> Result<String, EndpointError> {
    let Endpoint { scheme, authority } = Endpoint::parse(text, OTLP_PORT)?;
    let scheme = scheme.unwrap_or(Scheme::Http).as_str();
    Ok(format!("{scheme}://{authority}"))
}

fn wrong_endpoint(text: &Text, error: EndpointError) -> RequestError {
    match error {
        EndpointError::UserInfo => RequestError::HiddenValue {
            key: text.key.clone(),
            reason: format!(
                "the collector has a user or a password; use headers in {} instead",
                HEADERS[1]
            ),
        },
        EndpointError::Scheme | EndpointError::Path | EndpointError::Host | EndpointError::Port => {
            text.wrong(error)
        }
    }
}

fn is_switched_off(invocation: &Invocation) -> bool {
    let is = |name, value: &str| {
        let found = invocation.variable(name).and_then(|found| found.to_str());
        found.is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none")
}

/// The collector that OpenTelemetry's variables name.
pub(super) fn inherited_endpoint(
    invocation: &Invocation,
    findings: &mut Findings,
) -> Option<String> {
    let (name, text) = inherited(invocation, ENDPOINT)?;
    if let Some((protocol, value)) = inherited(invocation, PROTOCOL)
        && value != "grpc"
    {
        let text = format!("{name} is not used: the protocol {protocol} is not grpc");
        findings.remark(LogLevel::Warn, text);
        return None;
    }
    match collector_url(text) {
        Ok(url) => Some(url),
        Err(error) => {
            findings.remark(LogLevel::Warn, format!("{name} is not used: it {error}"));
            None
        }
    }
}

/// A timeout of the runtime can only shorten the bound.
fn inherited_timeout(invocation: &Invocation) -> Option<u64> {
    let (_, text) = inherited(invocation, TIMEOUT)?;
    text.parse().ok().filter(|timeout| *timeout > 0)
}

/// The headers of `name=value,name=value`, percent-encoded. An invalid header is left out. Its
/// value is not shown, because it may be a secret.
pub(super) fn headers(invocation: &Invocation, findings: &mut Findings) -> Vec<(String, Secret)> {
    let Some((name, text)) = inherited(invocation, HEADERS) else {
        return Vec::new();
    };
    let header = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let is_plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let name = name.trim().to_ascii_lowercase();
        let fits = !name.is_empty() && is_plain(&name) && is_plain(&value);
        fits.then(|| (name, Secret::new(value.into_owned())))
    };
    let mut headers = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        match header(part) {
            Some(header) => headers.push(header),
            None => findings.remark(
                LogLevel::Warn,
                format!("{name} has a part that is no header"),
            ),
        }
    }
    headers
}

fn inherited(invocation: &Invocation, setting: Setting) -> Option<(&'static str, &str)> {
    setting.into_iter().find_map(|name| {
        let value = invocation.variable(name)?.to_str()?.trim();
        (!value.is_empty()).then_some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample::{Sample, assert_found};
    use super::*;

    fn sample<const N: usize>(ipam: Value, variables: [(&str, &str); N]) -> Sample {
        let sample = Sample::of("ADD").ipam(json!({"range": "10.0.0.0/24"}));
        let set = |sample: Sample, (name, value): (&str, &str)| sample.variable(name, value);
        variables.into_iter().fold(sample.ipam(ipam), set)
    }

    /// `expected` is the socket, the collector with its headers, and the bound; or `off`.
    fn check<const N: usize>(
        ipam: Value,
        variables: [(&str, &str); N],
        expected: Result<&str, (u32, &str)>,
    ) {
        let parsed = sample(ipam, variables).parsed();
        let show = |tracing: Tracing| {
            let socket = tracing.socket.unwrap_or_default();
            let collector = tracing.collector.map(|Collector { url, headers }| {
                let text = |(name, value): (String, Secret)| format!(" {name}={}", value.reveal());
                url + &headers.into_iter().map(text).collect::<String>()
            });
            let collector = collector.unwrap_or_default();
            format!("{}|{collector}|{:?}", socket.display(), tracing.flush)
        };
        let found = parsed.map(|parsed| parsed.tracing.map_or("off".to_owned(), show));
        assert_found(found, expected);
    }

    #[test]
    fn nothing_is_traced_unless_a_key_or_a_variable_says_where_to() {
        check(json!({}), [], Ok("off"));
        check(json!({"trace_flush_ms": 5}), [], Ok("off"));
        let key = json!({"otlp_endpoint": "jaeger"});
        check(key, [], Ok("|http://jaeger:4317|100ms"));
        let keys = json!({"trace_socket": "/run/whereabouts/trace", "trace_flush_ms": 7});
        check(keys, [], Ok("/run/whereabouts/trace||7ms"));
    }

    #[test]
    fn the_variable_for_traces_wins_over_the_general_one_and_the_key_over_both() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:2");
        check(json!({}), [general], Ok("|http://general:1|100ms"));
        check(json!({}), [general, traces], Ok("|https://traces:2|100ms"));
        let key = json!({"otlp_endpoint": "http://key:3"});
        check(key, [general, traces], Ok("|http://key:3|100ms"));
    }

    #[test]
    fn opentelemetrys_switches_headers_and_timeout_count() {
        let key = || json!({"otlp_endpoint": "c"});
        check(key(), [("OTEL_SDK_DISABLED", "TRUE")], Ok("off"));
        check(key(), [("OTEL_TRACES_EXPORTER", "none")], Ok("off"));
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        let headers = (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "Authorization=Bearer%20x, b=c=d,,",
        );
        check(
            json!({}),
            [endpoint, headers],
            Ok("|http://c:4317 authorization=Bearer x b=c=d|100ms"),
        );
        let timeout = |ms| [("OTEL_EXPORTER_OTLP_TIMEOUT", ms)];
        check(key(), timeout("40"), Ok("|http://c:4317|40ms"));
        check(key(), timeout("10000"), Ok("|http://c:4317|100ms"));
    }

    #[test]
    fn a_key_that_is_wrong_is_code_7_and_a_wrong_variable_is_a_remark() {
        let expected = "ipam.otlp_endpoint: \"ftp://c\" is no endpoint";
        check(json!({"otlp_endpoint": "ftp://c"}), [], Err((7, expected)));
        let secret = sample(json!({"otlp_endpoint": "http://u:secret@c"}), []).parsed();
        let details = secret.expect_err("it has a password").details();
        assert!(!details.contains("secret"), "{details}");
        for wrong in [json!(0), json!(60_000), json!("1")] {
            let keys = json!({"trace_flush_ms": wrong});
            check(keys, [], Err((7, "ipam.trace_flush_ms: ")));
        }
        let relative = json!({"trace_socket": "w.sock"});
        check(relative, [], Err((7, "is not an absolute path")));

        let remarks = |variables: [(&str, &str); 2]| sample(json!({}), variables).remarks();
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:secret@c");
        let header = ("OTEL_EXPORTER_OTLP_HEADERS", "secret");
        let found = remarks([endpoint, header]);
        assert!(
            found.contains("OTEL_EXPORTER_OTLP_ENDPOINT is not used"),
            "{found}"
        );
        assert!(!found.contains("secret"), "{found}");
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
        let found = remarks([endpoint, header]);
        assert!(found.contains("a part that is no header"), "{found}");
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        assert!(remarks([endpoint, protocol]).contains("is not grpc"));
    }
}
