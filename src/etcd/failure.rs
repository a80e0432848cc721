//! The meaning of a failed call: is the request or the endpoint at fault, and may etcd still carry
//! the request out?
//!
//! In doubt, the answer to the second question is yes. It is no only if no connection was made, or
//! if etcd refuses a request before its effect or instead of it. etcd distinguishes its errors by
//! their text alone (`api/v3rpc/rpctypes/error.go`).

use std::error::Error;
use std::fmt;

use etcd_client::Error as ClientError;
use tonic::{Code, ConnectError, Status};

use whereabouts_store::{CommitError, Unavailable};

/// The reason why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// etcd refuses the request, as any endpoint would. The request was not carried out.
    Refused(Unavailable),
    /// The endpoint has not carried the request out and will not.
    Unsent(Unavailable),
    /// The endpoint failed. The request may have been carried out, or may be later.
    Lost(String),
    /// The request was carried out, but the client does not accept so long an answer.
    LongAnswer(String),
}

/// A failure, and the code with which gRPC tells of it, if it does.
#[derive(Debug)]
pub(super) struct FailedRequest {
    pub(super) failure: Failure,
    pub(super) code: Option<Code>,
}

impl From<Failure> for FailedRequest {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            code: None,
        }
    }
}

impl From<ClientError> for FailedRequest {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::GRpcStatus(status) => Some(status.code()),
            _ => None,
        };
        Self {
            failure: error.into(),
            code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Unsent(why) => why.fmt(f),
            Self::Lost(reason) | Self::LongAnswer(reason) => f.write_str(reason),
        }
    }
}

impl Failure {
    /// The meaning of the failure for a commit.
    pub(super) fn of_commit(self) -> CommitError {
        match self {
            // This answer does not exclude the commit: a member may notice the exceeded space while
            // it applies the transaction.
            Self::Refused(why @ Unavailable::NoSpace) => CommitError::Unknown(why.to_string()),
            Self::Refused(why) | Self::Unsent(why) => CommitError::Unavailable(why),
            Self::Lost(reason) | Self::LongAnswer(reason) => CommitError::Unknown(reason),
        }
    }

    /// The meaning of the failure for a request that can be repeated without harm.
    pub(super) fn of_request(self) -> Unavailable {
        match self {
            Self::Refused(why) | Self::Unsent(why) => why,
            Self::Lost(reason) => Unavailable::Later(reason),
            Self::LongAnswer(_) => Unavailable::TooLarge,
        }
    }

    /// The same failure, with the URL of the endpoint.
    pub(super) fn at(self, url: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(why),
            Self::Unsent(Unavailable::Later(reason)) => {
                Self::Unsent(Unavailable::Later(format!("{url}: {reason}")))
            }
            Self::Unsent(Unavailable::NotNow(reason)) => {
                Self::Unsent(Unavailable::NotNow(format!("{url}: {reason}")))
            }
            Self::Unsent(Unavailable::Denied(reason)) => {
                Self::Unsent(Unavailable::Denied(format!("{url}: {reason}")))
            }
            Self::Unsent(why) => Self::Unsent(why),
            Self::Lost(reason) => Self::Lost(format!("{url}: {reason}")),
            Self::LongAnswer(reason) => Self::LongAnswer(format!("{url}: {reason}")),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::GRpcStatus(status) => of_status(&status),
            // These errors occur during the setup of a client, before it sends anything.
            ClientError::InvalidArgs(_) | ClientError::InvalidUri(_) => {
                Self::Unsent(Unavailable::Denied(error.to_string()))
            }
            ClientError::TransportError(error) => Self::Unsent(Unavailable::Denied(chain(&error))),
            ClientError::LeaseKeepAliveError(text) if text == "lease not found" => {
                Self::Refused(Unavailable::LeaseNotFound)
            }
            ClientError::IoError(_)
            | ClientError::WatchError(_)
            | ClientError::Utf8Error(_)
            | ClientError::LeaseKeepAliveError(_)
            | ClientError::ElectError(_)
            | ClientError::InvalidMetadataValue(_)
            | ClientError::EndpointError(_)
            | ClientError::EndpointsNotManaged
            | ClientError::Internal(_) => Self::Lost(error.to_string()),
        }
    }
}

/// Whether a login failed because the cluster has no authentication.
pub(super) fn is_login_not_asked_for(error: &ClientError) -> bool {
    matches!(error, ClientError::GRpcStatus(status)
        if status.message() == "etcdserver: authentication is not enabled")
}

/// An error with its causes, for people. No error of this crate quotes a request, so no secret
/// appears.
pub(super) fn reason(error: &ClientError) -> String {
    match error {
        ClientError::GRpcStatus(status) => status_reason(status),
        other => other.to_string(),
    }
}

fn of_status(status: &Status) -> Failure {
    let reason = status_reason(status);
    if is_certificate_refused(&reason) {
        return Failure::Unsent(Unavailable::Denied(reason));
    }
    if is_failed_connect(status) {
        return Failure::Unsent(Unavailable::Later(reason));
    }
    let message = status.message();
    match message {
        "etcdserver: requested lease not found" => Failure::Refused(Unavailable::LeaseNotFound),
        "etcdserver: key not found" => Failure::Refused(Unavailable::KeyNotFound),
        "etcdserver: too many operations in txn request" => {
            Failure::Refused(Unavailable::TooManyOperations)
        }
        "etcdserver: request is too large" => Failure::Refused(Unavailable::TooLarge),
        "etcdserver: mvcc: required revision has been compacted" => {
            Failure::Refused(Unavailable::Compacted)
        }
        "etcdserver: mvcc: required revision is a future revision"
        | "etcdserver: duplicate key given in txn request" => {
            Failure::Refused(Unavailable::Refused(reason))
        }
        "etcdserver: mvcc: database space exceeded" => Failure::Refused(Unavailable::NoSpace),
        "etcdserver: authentication failed, invalid user ID or password"
        | "etcdserver: user name is empty"
        | "etcdserver: permission denied" => Failure::Refused(Unavailable::Denied(reason)),
        // A member that lags refuses a request before it proposes it.
        "etcdserver: too many requests" => Failure::Unsent(Unavailable::NotNow(reason)),
        // A member without a leader also refuses it. The cluster itself has not answered.
        "etcdserver: no leader" => Failure::Unsent(Unavailable::Later(reason)),
        _ if message.starts_with("grpc: received message larger than max") => {
            Failure::Refused(Unavailable::TooLarge)
        }
        // tonic on the client's side has this text.
        _ if message.contains("decoded message length too large") => Failure::LongAnswer(reason),
        _ => match status.code() {
            Code::Unauthenticated => Failure::Unsent(Unavailable::NotNow(reason)),
            Code::PermissionDenied => Failure::Refused(Unavailable::Denied(reason)),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Failure::Lost(reason),
        },
    }
}

/// Whether the request had no connection at all.
fn is_failed_connect(status: &Status) -> bool {
    let first = status.source();
    std::iter::successors(first, |&error| error.source()).any(<dyn Error>::is::<ConnectError>)
}

/// Whether one side of a TLS handshake refused the other side's certificate. With TLS 1.3, a client
/// learns of the refusal only after it has sent a request. The server has not read that request.
fn is_certificate_refused(reason: &str) -> bool {
    reason.contains("invalid peer certificate")
        || reason
            .split_once("received fatal alert: ")
            .is_some_and(|(_, alert)| alert.contains("Certificate") || alert.contains("UnknownCA"))
}

fn status_reason(status: &Status) -> String {
    match status.source() {
        Some(source) => join(status.message(), chain(source)),
        None => status.message().to_owned(),
    }
}

/// An error with its sources. A source that only repeats its error is left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(source) => join(&error.to_string(), chain(source)),
        None => error.to_string(),
    }
}

fn join(outer: &str, inner: String) -> String {
    if outer == "transport error" || inner.starts_with(outer) {
        inner
    } else {
        format!("{outer}: {inner}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a commit that ends with this status.
    fn commit(code: Code, message: &str) -> CommitError {
        Failure::from(ClientError::GRpcStatus(Status::new(code, message))).of_commit()
    }

    #[test]
    fn what_etcd_judges_is_certain() {
        for (code, message, expected) in [
            (
                Code::NotFound,
                "etcdserver: requested lease not found",
                Unavailable::LeaseNotFound,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: key not found",
                Unavailable::KeyNotFound,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
                Unavailable::TooManyOperations,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                Unavailable::TooLarge,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Unavailable::Compacted,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Unavailable::Denied("etcdserver: permission denied".to_owned()),
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Unavailable::NotNow("etcdserver: too many requests".to_owned()),
            ),
            (
                Code::Unavailable,
                "etcdserver: no leader",
                Unavailable::Later("etcdserver: no leader".to_owned()),
            ),
        ] {
            assert_eq!(commit(code, message), CommitError::Unavailable(expected));
        }
    }

    #[test]
    fn what_may_have_been_carried_out_is_unknown() {
        for (code, message) in [
            (Code::Cancelled, "operation was canceled"),
            (Code::Unknown, "transport error"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
            ),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Unavailable, "the connection was there, and broke"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            (Code::Unknown, "raft proposal dropped"),
            (Code::InvalidArgument, "what no etcd says today"),
            (
                Code::OutOfRange,
                "Error, decoded message length too large: found 5 bytes",
            ),
        ] {
            let end = commit(code, message);
            assert!(matches!(end, CommitError::Unknown(_)), "{message}: {end:?}");
        }
    }

    #[test]
    fn a_reason_says_each_thing_once() {
        assert_eq!(join("a", "b".to_owned()), "a: b");
        assert_eq!(join("a", "a: b".to_owned()), "a: b");
        assert_eq!(join("transport error", "b".to_owned()), "b");
    }
}
