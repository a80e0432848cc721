//! The only door to storage: a consistent read, a checked commit, leases, and a wait for a change.
//!
//! [`Store`] is the part of etcd's API (v3, `rpc.proto`) that the allocator relies on, and no more,
//! so that it can be modelled exactly. It knows keys and values as bytes; what they mean is said in
//! [`keys`] and [`record`]. No method waits longer than the request takes; deadlines and retries
//! are the caller's.

pub mod conformance;
pub mod keys;
pub mod listing;
pub mod memory;
pub mod record;
pub mod snapshot;
pub mod trace_context;
pub mod txn_builder;
pub mod well_formed;

use std::time::Duration;

/// etcd's logical time: every committed transaction that writes has the next revision.
pub use whereabouts_core::allocator::Revision;

/// A lease's id; etcd never gives 0.
pub type LeaseId = i64;

/// One stored key with what etcd knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The revision at which the key last came into being.
    pub created: Revision,
    /// The revision of the last write to it, a touch included.
    pub modified: Revision,
    /// The lease whose end deletes the key, or 0.
    pub lease: LeaseId,
}

/// One question of a read. All questions of one read are answered at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// This key, if it exists.
    Key(Vec<u8>),
    /// The keys from `from` (included) until `until` (excluded).
    Range {
        /// The lowest key.
        from: Vec<u8>,
        /// The first key beyond.
        until: Vec<u8>,
        /// In which order they come, which matters when there are more than `limit`.
        order: Order,
        /// At most so many; never 0.
        limit: u32,
    },
}

/// The order in which the keys of a range are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Lowest key first.
    Key,
    /// Oldest create revision first; keys created in one commit come in any order.
    Created,
}

/// Of what moment a read tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Of a moment between the call and its answer (linearizable).
    Now,
    /// Of this revision.
    Revision(Revision),
    /// Of any moment, as the member that answers knows it (serializable): cheap, perhaps old.
    Whenever,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The revision of the store when it answered: with [`At::Now`], that of the content too.
    pub revision: Revision,
    /// The id of the cluster that answered.
    pub cluster: u64,
    /// For each question, in order, the entries found.
    pub answers: Vec<Vec<Entry>>,
}

/// A condition of a commit. Revisions are positive and leases are not 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compare {
    /// The key does not exist.
    Absent(Vec<u8>),
    /// No key from the first (included) until the second (excluded) exists.
    NoneIn(Vec<u8>, Vec<u8>),
    /// The key exists and was last written at this revision: so nothing, not even a touch or a
    /// deletion followed by a creation, has happened to it since.
    Modified(Vec<u8>, Revision),
    /// The key exists and came into being at this revision.
    Created(Vec<u8>, Revision),
    /// The key exists and has this value.
    Value(Vec<u8>, Vec<u8>),
}

/// A write of a commit. A commit that sets a key twice, or sets and deletes it, is
/// [refused](Unavailable::Refused).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the value and binds the key to `lease` (0: to none).
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
        /// Its new lease, or 0.
        lease: LeaseId,
    },
    /// Sets the value and keeps the lease; refused when the key does not exist.
    Rewrite {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Keeps value and lease, and writes the key all the same: its modification revision changes
    /// and its watchers see it. Refused when the key does not exist.
    Touch(Vec<u8>),
    /// Deletes the key, if it exists.
    Delete(Vec<u8>),
    /// Puts `key` without a lease if neither it nor any of `unless` existed before the commit, else does
    /// nothing.
    Ensure {
        /// The key.
        key: Vec<u8>,
        /// Other keys whose existence is as good.
        unless: Vec<Vec<u8>>,
        /// The value of a new key.
        value: Vec<u8>,
    },
    /// Deletes `key`, if before the commit there was no key from `from` (included) until `until` (excluded)
    /// that was written after `revision`; else does nothing. Never of a key that the commit ensures.
    DeleteUnlessNewer {
        /// The key.
        key: Vec<u8>,
        /// The lowest key.
        from: Vec<u8>,
        /// The first key beyond.
        until: Vec<u8>,
        /// The newest revision of a key that counts as old.
        revision: Revision,
    },
}

/// The purpose of a transaction. It is not stored. Spans and the simulator tell transactions apart by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Something that the protocol knows nothing of.
    #[default]
    Other,
    /// To carry out the sender's own demand, while nobody has the lock.
    Claim,
    /// To put the sender's ticket.
    Join,
    /// To put the lock with a lease.
    Acquire,
    /// To serve a batch.
    Batch,
    /// To delete the lock.
    StepDown,
    /// To offer the lock to the next in the queue.
    HandOver,
    /// To delete a ticket that is not to be served.
    Withdraw,
    /// To make a commit impossible whose outcome is unknown.
    Fence,
    /// To move addresses: from a claim to that of the new container of its pod, or between a claim and its durable owner.
    TakeOver,
    /// To write the new owner of a claim.
    Renew,
    /// To end a durable owner.
    End,
    /// To note whose the store is.
    Note,
}

/// A transaction: all `writes` if all `compares` hold, else all of `instead`; and a read at the same instant.
///
/// etcd limits three numbers, each by itself ([`TRANSACTION_OPERATIONS`](whereabouts_core::limits::TRANSACTION_OPERATIONS)):
/// the `compares`; `writes` and `then` together; `otherwise` and `instead` together. A write with a condition of its own
/// counts against each limit with its compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// The purpose.
    pub purpose: Purpose,
    /// The conditions.
    pub compares: Vec<Compare>,
    /// The writes if all conditions hold.
    pub writes: Vec<Write>,
    /// The reads after the writes.
    pub then: Vec<Read>,
    /// The reads if a condition does not hold: as it was before `instead` is written.
    pub otherwise: Vec<Read>,
    /// The writes if a condition does not hold.
    pub instead: Vec<Write>,
}

/// The first two of a commit's four ends: the store has judged it, and says which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written; the view holds the answers to [`Txn::then`] and the commit's own revision.
    Done(View),
    /// A compare did not hold, and [`Txn::instead`] was written; the view holds the answers to
    /// [`Txn::otherwise`] and the revision after it.
    Conflict(View),
}

/// A commit has four ends; these are two of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The reply was lost: it was written, or will be, or never will be.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    /// It was surely not written and never will be.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

pub use whereabouts_core::failure::Unavailable;

/// A lease as the server granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The time to live granted, which may be longer than what was asked for.
    pub ttl: Duration,
}

/// Something that happened to a watched key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was written.
    Put(Entry),
    /// It was deleted, by a commit or by the end of its lease.
    Deleted {
        /// The key.
        key: Vec<u8>,
        /// When.
        revision: Revision,
    },
}

impl Event {
    /// The key.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted { key, .. } => key,
        }
    }

    /// The revision at which it happened.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.modified,
            Self::Deleted { revision, .. } => *revision,
        }
    }
}

/// A watch has ended and will tell no more; what happened in between must be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watch has ended: {0}")]
pub struct WatchEnded(pub String);

/// A watch on some keys.
#[allow(
    async_fn_in_trait,
    reason = "one thread: no future of a store crosses to another"
)]
pub trait Watch {
    /// The next events, at least one; those of one key in order. Dropping the future loses none.
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded>;
}

/// A linearizable store of keys with revisions and leases.
#[allow(
    async_fn_in_trait,
    reason = "one thread: no future of a store crosses to another"
)]
pub trait Store {
    /// The store's watches.
    type Watch: Watch;

    /// Answers all questions at one revision, without writing.
    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable>;

    /// Commits a transaction, or does not.
    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError>;

    /// Grants a lease of about `ttl_s` seconds.
    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable>;

    /// Lets a lease live for its whole time again, from now.
    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable>;

    /// Ends a lease and deletes its keys.
    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable>;

    /// Watches `keys` from now on: when this returns, no later change of one goes untold.
    async fn watch(&self, keys: &[Vec<u8>]) -> Result<Self::Watch, Unavailable>;
}
