//! The failures of a datastore, beneath all verbs.

use std::fmt;

use crate::claim::QueueId;
use crate::identity::Identity;

/// Why an operation cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The store answers that it does not do what it was asked.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// From the operation's start to its deadline the store gave no answer at all.
    #[error("etcd is not available: gave up after {tries} tries: {reason}")]
    Unreachable {
        /// The tries of the last request.
        tries: u32,
        /// Why the last one failed.
        reason: String,
    },
    /// The deadline has passed, although the store has answered before. That is no sign of an outage.
    #[error("the deadline has passed: gave up after {tries} tries: {reason}")]
    OutOfTime {
        /// The tries of the last request.
        tries: u32,
        /// Why the last one failed.
        reason: String,
    },
    /// The deadline has passed in a queue.
    #[error("the queue of {0} is too long for the deadline")]
    QueueTooLong(QueueId),
    /// The deadline has passed while this process held the lock of that queue.
    #[error("the deadline has passed while this process held the lock of {0}")]
    LockTooLong(QueueId),
    /// The ticket in that queue was deleted, and the demand was not carried out: by a DEL or a GC.
    #[error("the ticket in the queue of {0} was taken away before it was served")]
    Cancelled(QueueId),
    /// More must be read for a decision than is allowed.
    #[error("nothing could be decided after {0} reads")]
    Undecided(usize),
    /// A stored value cannot be used.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The cluster that answers is not the one that answered before.
    #[error(
        "etcd was replaced or restored meanwhile: cluster {now:x} answers, before it was {before:x}"
    )]
    OtherCluster {
        /// The id of the cluster at first.
        before: u64,
        /// Its id now.
        now: u64,
    },
    /// The store is another cluster's, or some cluster's when this one's identity is not known.
    #[error("{}", strangers_text(key, stored, own.as_ref()))]
    Stranger {
        /// The key that says so.
        key: String,
        /// Whose the store is.
        stored: Identity,
        /// The identity of this node's cluster.
        own: Option<Identity>,
    },
    /// The store has no identity, and this cluster has one.
    #[error(
        "{key} is absent, and there are claims or tickets: nobody knows whether they are those of this cluster, {own}. \
         If they are, `whereaboutsctl cluster --set` says so; if not, give this cluster an etcd_prefix of its own"
    )]
    NobodysStore {
        /// The key that would say whose it is.
        key: String,
        /// The identity of this node's cluster.
        own: Identity,
    },
    /// The file of the datastore `local` cannot be used.
    #[error(transparent)]
    File(#[from] FileFailure),
    /// Whether a commit was written could not be found out in time.
    #[error("whether the last commit was written is unknown: {0}")]
    Unsettled(String),
}

/// Why the file of the datastore `local` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FileFailure {
    /// The file.
    pub path: String,
    /// What kind of problem it is.
    pub problem: FileProblem,
    /// It in full.
    pub reason: String,
}

/// What keeps a file from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileProblem {
    /// Other processes have used it for as long as this one may wait.
    Busy,
    /// The disk is full.
    NoSpace,
    /// It may not be read or written.
    Denied,
    /// The disk does not take what is written.
    Unwritable,
    /// It is damaged, of another program, or of a newer version.
    Damaged,
}

fn strangers_text(key: &str, stored: &Identity, own: Option<&Identity>) -> String {
    let share =
        "To share them, give all nodes of both the same cluster_id, and each a name of its own";
    match own {
        Some(own) => format!(
            "{key} says that these keys are those of cluster {stored}, and this one is {own}. \
             Give each cluster an etcd_prefix of its own. {share}. \
             If cluster {stored} is called {own} by now (its CA has changed, perhaps), \
             `whereaboutsctl cluster --set` says so"
        ),
        None => format!(
            "{key} says that these keys are those of cluster {stored}, and the identity of this one is not known. \
             If it is that cluster, set cluster_id. If not, give each an etcd_prefix of its own. {share}"
        ),
    }
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No answer: unreachable, without a leader, out of time. A later try may succeed.
    #[error("etcd is not available: {0}")]
    Later(String),
    /// It answers, and does not serve the request now: overloaded, or the login is outdated. A later try may succeed.
    #[error("etcd does not serve the request now: {0}")]
    NotNow(String),
    /// The lease has ended, or never was.
    #[error("the lease has ended")]
    LeaseNotFound,
    /// A key to touch or to rewrite does not exist.
    #[error("a key to be rewritten does not exist")]
    KeyNotFound,
    /// More compares or operations than the server allows.
    #[error("the transaction has more operations than etcd allows (--max-txn-ops)")]
    TooManyOperations,
    /// The request has more bytes than the server allows, or the answer to a read more than can be kept.
    #[error(
        "the request is larger than etcd allows (--max-request-bytes), or its answer too large"
    )]
    TooLarge,
    /// The revision asked for has been compacted.
    #[error("the revision has been compacted")]
    Compacted,
    /// The server is out of space and takes no writes until its alarm is cleared. Only a grant is
    /// told so: of a commit that hears of it the outcome is unknown, since etcd says the
    /// same of the one that it has just applied.
    #[error("etcd is out of space (NOSPACE alarm)")]
    NoSpace,
    /// Credentials or certificates were refused; trying again does not help.
    #[error("etcd refuses access: {0}")]
    Denied(String),
    /// The request is one that no etcd takes: a key written twice, a revision in the future.
    #[error("etcd refuses the request: {0}")]
    Refused(String),
    /// The store is a file, and cannot be used.
    #[error(transparent)]
    File(FileFailure),
    /// The store is a file, which has none of these.
    #[error("a file has no {0}")]
    NotInFiles(&'static str),
}

/// A key or a value in the store that this version cannot read. It is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {key} cannot be used: {reason}")]
pub struct Corrupt {
    /// The key.
    pub key: String,
    /// What is wrong with it or with its value.
    pub reason: String,
}

impl Corrupt {
    /// What is wrong with the value of `key`, or with the key.
    pub fn new(key: &[u8], reason: &dyn fmt::Display) -> Self {
        Self {
            key: String::from_utf8_lossy(key).into_owned(),
            reason: reason.to_string(),
        }
    }
}
