//! What the span of a request says, by OpenTelemetry's semantic conventions for databases and for gRPC.
//!
//! Nothing here is evaluated, and nothing allocated, while nobody traces.

use tonic::Code;
use tracing::Span;
use tracing::field::display;

use super::failure::{FailedRequest, Failure};

/// The methods of etcd's API that this client calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Txn,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseRevoke,
    LeaseTimeToLive,
    Watch,
}

impl Method {
    /// The method with its service (`rpc.method`).
    pub(super) fn full_name(self) -> &'static str {
        match self {
            Self::Txn => "etcdserverpb.KV/Txn",
            Self::LeaseGrant => "etcdserverpb.Lease/LeaseGrant",
            Self::LeaseKeepAlive => "etcdserverpb.Lease/LeaseKeepAlive",
            Self::LeaseRevoke => "etcdserverpb.Lease/LeaseRevoke",
            Self::LeaseTimeToLive => "etcdserverpb.Lease/LeaseTimeToLive",
            Self::Watch => "etcdserverpb.Watch/Watch",
        }
    }

    /// The method alone (`db.operation.name`).
    pub(super) fn operation(self) -> &'static str {
        let name = self.full_name();
        name.split_once('/')
            .map_or(name, |(_, operation)| operation)
    }
}

/// The host of an endpoint's URL (`server.address`), without brackets.
pub(super) fn host(url: &str) -> &str {
    let host = parts(url).0;
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// The port of an endpoint's URL (`server.port`).
pub(super) fn port(url: &str) -> Option<u16> {
    parts(url).1.parse().ok()
}

/// Host and port: an endpoint has a scheme and a port, and no path.
fn parts(url: &str) -> (&str, &str) {
    let authority = url
        .split_once("://")
        .map_or(url, |(_, authority)| authority);
    authority.rsplit_once(':').unwrap_or((authority, ""))
}

/// A request that is still to be answered. If it is dropped, its span says that it was cancelled: that is no
/// error of its own, as its caller may have had an answer from another endpoint.
pub(super) struct Unanswered(());

impl Unanswered {
    /// Of the current span.
    pub(super) fn new() -> Self {
        Self(())
    }

    /// Notes how the request ended.
    pub(super) fn end<T>(self, result: Result<T, FailedRequest>) -> Result<T, Failure> {
        std::mem::forget(self);
        let span = Span::current();
        let FailedRequest { failure, code } = match result {
            Ok(value) => {
                span.record("rpc.response.status_code", name(Code::Ok));
                return Ok(value);
            }
            Err(failed) => failed,
        };
        span.record("rpc.response.status_code", code.map(name));
        span.record("error.type", code.map_or("_OTHER", name));
        span.record("otel.status_description", display(&failure));
        Err(failure)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        Span::current().record("rpc.response.status_code", name(Code::Cancelled));
    }
}

/// A code as gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_told_by_host_and_port() {
        for (url, expected) in [
            ("http://127.0.0.1:2379", ("127.0.0.1", Some(2379))),
            ("https://etcd.example:1", ("etcd.example", Some(1))),
            ("https://[fd00::1]:2379", ("fd00::1", Some(2379))),
        ] {
            assert_eq!((host(url), port(url)), expected);
        }
    }

    #[test]
    fn an_operation_is_the_method_without_its_service() {
        assert_eq!(Method::Txn.operation(), "Txn");
        assert_eq!(Method::LeaseKeepAlive.operation(), "LeaseKeepAlive");
    }
}
