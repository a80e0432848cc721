//! The steps of a verb, as the store sees them: where a fault can strike.

use std::fmt;

use whereabouts_store::{At, Purpose, Txn};

/// A verb of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are CNI's")]
pub enum Verb {
    Add,
    Del,
    Check,
    Gc,
    Status,
    /// The end of all durable owners at rest, by an operator.
    End,
}

/// A step of a verb: one kind of call to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing was asked yet, or the answer is being used.
    Between,
    /// A linearizable read.
    Read,
    /// A further read at the first one's revision.
    ReadMore,
    /// A read that may be old.
    ReadStale,
    /// An optimistic commit.
    Commit,
    /// Noting whose the store is.
    Note,
    /// Taking over the claim of the pod's old container.
    TakeOver,
    /// Making an unknown commit impossible.
    Fence,
    /// Watching the ticket.
    Watch,
    /// Putting the ticket.
    Join,
    /// Waiting in the queue.
    Wait,
    /// Granting the lock's lease.
    Grant,
    /// Putting the lock.
    Acquire,
    /// Keeping the lease alive.
    KeepAlive,
    /// Serving a batch.
    Batch,
    /// Deleting or offering the lock.
    GiveUp,
    /// Deleting a ticket that nobody is to serve.
    Leave,
    /// Ending the lease.
    Revoke,
}

impl Step {
    /// Which step a read is.
    pub fn of_read(at: At) -> Self {
        match at {
            At::Now => Self::Read,
            At::Revision(_) => Self::ReadMore,
            At::Whenever => Self::ReadStale,
        }
    }

    /// Which step a commit is.
    pub fn of_commit(txn: &Txn) -> Self {
        match txn.purpose {
            Purpose::Claim | Purpose::End | Purpose::Other => Self::Commit,
            Purpose::Join => Self::Join,
            Purpose::Acquire => Self::Acquire,
            Purpose::Batch => Self::Batch,
            Purpose::StepDown | Purpose::HandOver => Self::GiveUp,
            Purpose::Withdraw => Self::Leave,
            Purpose::Fence => Self::Fence,
            Purpose::TakeOver | Purpose::Renew => Self::TakeOver,
            Purpose::Note => Self::Note,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
