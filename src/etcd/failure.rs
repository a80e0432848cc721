//! What a failed call means: whether the request or the endpoint is at fault, and whether the
//! request may still be carried out.
//!
//! In doubt it may. Only a connection that never came to be, and refusals that etcd gives before
//! or instead of an effect, are certain. etcd tells its errors apart by text alone
//! (`api/v3rpc/rpctypes/error.go`).

use std::error::Error;

use etcd_client::Error as ClientError;
use tonic::{Code, ConnectError, Status};

use whereabouts_store::{CommitError, Unavailable};

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// etcd has judged the request, and any endpoint would judge it so. It was not carried out.
    Refused(Unavailable),
    /// The endpoint has not carried the request out and will not.
    Unsent(Unavailable),
    /// The endpoint failed, and the request may have been carried out, or will be.
    Lost(String),
    /// The request was carried out, and its answer is longer than this client accepts.
    LongAnswer(String),
}

impl Failure {
    /// What it means to one who wants a commit.
    pub(super) fn of_commit(self) -> CommitError {
        match self {
            // A member that finds the space exceeded while it applies a transaction answers so,
            // though it has applied it.
            Self::Refused(why @ Unavailable::NoSpace) => CommitError::Unknown(why.to_string()),
            Self::Refused(why) | Self::Unsent(why) => CommitError::Unavailable(why),
            Self::Lost(reason) | Self::LongAnswer(reason) => CommitError::Unknown(reason),
        }
    }

    /// What it means to one who may ask again without harm.
    pub(super) fn of_request(self) -> Unavailable {
        match self {
            Self::Refused(why) | Self::Unsent(why) => why,
            Self::Lost(reason) => Unavailable::Later(reason),
            Self::LongAnswer(_) => Unavailable::TooLarge,
        }
    }

    /// The same, telling which endpoint is at fault.
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
            // These are found while a client is set up, before anything is sent.
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

/// Whether a login failed because the cluster has none.
pub(super) fn is_login_not_asked_for(error: &ClientError) -> bool {
    matches!(error, ClientError::GRpcStatus(status)
        if status.message() == "etcdserver: authentication is not enabled")
}

/// An error with its reasons, for people. Never a secret: no error below here quotes a request.
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
        // Refused before it is proposed, by a member that lags.
        "etcdserver: too many requests" => Failure::Unsent(Unavailable::NotNow(reason)),
        // The same, by one that is cut off: of the cluster that is no answer.
        "etcdserver: no leader" => Failure::Unsent(Unavailable::Later(reason)),
        _ if message.starts_with("grpc: received message larger than max") => {
            Failure::Refused(Unavailable::TooLarge)
        }
        // tonic's, of this side.
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

/// Whether there was never a connection on which the request could have gone.
fn is_failed_connect(status: &Status) -> bool {
    let first = status.source();
    std::iter::successors(first, |&error| error.source()).any(<dyn Error>::is::<ConnectError>)
}

/// Whether one side of a TLS handshake refused the other's certificate. A client whose certificate
/// is refused or missing hears of it only after it has sent a request (TLS 1.3), but the server has
/// then looked at none of that.
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

/// An error and its sources, less those that only repeat the one before.
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

    /// What a commit that ends with this status is to its caller.
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
