//! The failures of a datastore, beneath all verbs.

use std::fmt;

use crate::claim::{Attachment, RangeId};
use crate::identity::Identity;

/// The reason why an operation ends without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The store refuses a request.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The store gave no answer at all from the operation's start to its deadline.
    #[error("etcd is not available: gave up after {tries} tries: {reason}")]
    Unreachable {
        /// The number of tries of the last request.
        tries: u32,
        /// The reason of the last failure.
        reason: String,
    },
    /// The deadline has passed, but the store has answered before. So the store is not down.
    #[error("the deadline has passed: gave up after {tries} tries: {reason}")]
    OutOfTime {
        /// The number of tries of the last request.
        tries: u32,
        /// The reason of the last failure.
        reason: String,
    },
    /// The deadline has passed while the request waited in this queue.
    #[error("the queue of {0} is too long for the deadline")]
    QueueTooLong(RangeId),
    /// The deadline has passed while this process held the lock of this queue.
    #[error("the deadline has passed while this process held the lock of {0}")]
    LockTooLong(RangeId),
    /// A DEL or a GC has deleted the ticket in this queue. The demand was not carried out.
    #[error("the ticket in the queue of {0} was deleted before a holder served it")]
    Cancelled(RangeId),
    /// Another process of the same attachment has taken over the ticket in this queue.
    #[error("another process of this attachment has taken over the ticket in the queue of {0}")]
    Displaced(RangeId),
    /// The claim of another container of the same pod holds the address. The first answer of the store came too late to
    /// tell which of the two containers is the newer one.
    #[error(
        "{0}, of the same pod, holds the address; the first answer came too late to tell whether it is the old container"
    )]
    BeganLate(Attachment),
    /// A decision needs more reads than one operation may make.
    #[error("the operation is still undecided after {0} reads")]
    Undecided(usize),
    /// A stored value cannot be used.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// Another cluster answers than before.
    #[error(
        "etcd was replaced or restored meanwhile: cluster {now:x} answers now, cluster {before:x} answered before"
    )]
    OtherCluster {
        /// The id of the first cluster.
        before: u64,
        /// The id of the present cluster.
        now: u64,
    },
    /// The store belongs to another cluster. Or it belongs to some cluster, and the identity of
    /// this cluster is not known.
    #[error("{}", strangers_text(key, stored, own.as_ref()))]
    Stranger {
        /// The key that holds the identity.
        key: String,
        /// The identity in the store.
        stored: Identity,
        /// The identity of this node's cluster.
        own: Option<Identity>,
    },
    /// The store has no identity, but this cluster has one.
    #[error(
        "{key} is absent, but claims or tickets exist: they may belong to another cluster than this one, {own}. \
         If they belong to this cluster, run `whereaboutsctl cluster --set`; if not, give this cluster an etcd_prefix or a local_path of its own"
    )]
    NobodysStore {
        /// The key that should hold the identity.
        key: String,
        /// The identity of this node's cluster.
        own: Identity,
    },
    /// The file of the datastore `local` cannot be used.
    #[error(transparent)]
    File(#[from] FileFailure),
    /// The API server does not serve, or must not be used.
    #[error(transparent)]
    ApiServer(#[from] ApiServerFailure),
    /// Another process of the same attachment has taken over its claim.
    #[error("another process has taken over the claim of {0}")]
    Overtaken(Attachment),
    /// The claim of the attachment is gone, and this process did not delete it.
    #[error("another process has deleted the claim of {0}")]
    ClaimLost(Attachment),
    /// The operation could not find out in time whether its last commit was written.
    #[error("whether the last commit was written is unknown: {0}")]
    Unsettled(String),
}

impl Failure {
    /// Whether the datastore gave no answer at all from the operation's start to its deadline.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::ApiServer(ApiServerFailure::Unreachable(_))
        )
    }
}

/// The reason why the API server of Kubernetes did not serve a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum ApiServerFailure {
    /// The server gave no answer at all from the operation's start to its deadline.
    #[error("the API server is not available: {0}")]
    Unreachable(String),
    /// The server is too slow, or has answered before and does not any more. A later try may succeed.
    #[error("the API server is not available: {0}")]
    Unavailable(String),
    /// The server answers, but does not serve the request now. A later try may succeed.
    #[error("the API server does not serve the request now: {0}")]
    NotNow(String),
    /// The server refuses the credentials, or they may not make the request.
    #[error("the API server refuses access: {0}")]
    Denied(String),
    /// The server refuses the request: an invalid object, admission, or a missing CRD.
    #[error("the API server refuses the request: {0}")]
    Refused(String),
}

/// The reason why the file of the datastore `local` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FileFailure {
    /// The path of the file.
    pub path: String,
    /// The kind of the problem.
    pub problem: FileProblem,
    /// The problem in words.
    pub reason: String,
}

/// The kind of a problem with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileProblem {
    /// Other processes used the file for as long as this process may wait.
    Busy,
    /// The disk is full.
    NoSpace,
    /// This process may not read or write the file.
    Denied,
    /// The disk refuses a write.
    Unwritable,
    /// The file is damaged, or belongs to another program or to a newer version.
    Damaged,
}

fn strangers_text(key: &str, stored: &Identity, own: Option<&Identity>) -> String {
    let share = "To share the keys, give all nodes of both clusters the same cluster_id, and each node a name of its own";
    match own {
        Some(own) => format!(
            "{key} says that these keys belong to cluster {stored}, but this cluster is {own}. \
             Give each cluster an etcd_prefix or a local_path of its own. {share}. \
             If this cluster was called {stored} before (its CA may have changed), \
             run `whereaboutsctl cluster --set`"
        ),
        None => format!(
            "{key} says that these keys belong to cluster {stored}, but the identity of this cluster is not known. \
             If this is cluster {stored}, set cluster_id. If not, give each cluster an etcd_prefix or a local_path of its own. {share}"
        ),
    }
}

/// The reason why the store did not serve a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No answer: etcd is unreachable, has no leader, or is too slow. A later try may succeed.
    #[error("etcd is not available: {0}")]
    Later(String),
    /// etcd answers, but does not serve the request now: it is overloaded, or the login is
    /// outdated. A later try may succeed.
    #[error("etcd does not serve the request now: {0}")]
    NotNow(String),
    /// The lease has ended or never existed.
    #[error("the lease has ended")]
    LeaseNotFound,
    /// A key to touch or to rewrite does not exist.
    #[error("a key to be rewritten does not exist")]
    KeyNotFound,
    /// The transaction has more compares or operations than the server allows.
    #[error("the transaction has more operations than etcd allows (--max-txn-ops)")]
    TooManyOperations,
    /// The request has more bytes than the server allows, or the answer has more bytes than the
    /// client accepts.
    #[error(
        "the request is larger than etcd allows (--max-request-bytes), or its answer too large"
    )]
    TooLarge,
    /// The requested revision has been compacted.
    #[error("the requested revision has been compacted")]
    Compacted,
    /// The server is out of space. It takes no writes until an operator clears its alarm. Only a
    /// grant ends so. For a commit this answer means an unknown outcome: etcd gives it also for a
    /// commit that it has just applied.
    #[error("etcd is out of space (NOSPACE alarm)")]
    NoSpace,
    /// The server refuses the credentials or the certificate. Another try does not help.
    #[error("etcd refuses access: {0}")]
    Denied(String),
    /// An invalid request: a key written twice, or a revision in the future.
    #[error("etcd refuses the request: {0}")]
    Refused(String),
    /// The store is a file that cannot be used.
    #[error(transparent)]
    File(FileFailure),
    /// The store is a file and does not have this feature of etcd.
    #[error("a file has no {0}")]
    NotInFiles(&'static str),
    /// The store is the API server of Kubernetes, which does not serve, or must not be used.
    #[error(transparent)]
    ApiServer(ApiServerFailure),
    /// The store is the API server of Kubernetes and does not have this feature of etcd.
    #[error("the API server has no {0}")]
    NotInObjects(&'static str),
}

/// A key or a value in the store that this version cannot read. The store keeps it unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {key} cannot be used: {reason}")]
pub struct Corrupt {
    /// The key.
    pub key: String,
    /// The defect of the key or of its value.
    pub reason: String,
}

impl Corrupt {
    /// The failure for `key`, with the defect of the key or of its value.
    pub fn new(key: &[u8], reason: &dyn fmt::Display) -> Self {
        Self {
            key: String::from_utf8_lossy(key).into_owned(),
            reason: reason.to_string(),
        }
    }
}
