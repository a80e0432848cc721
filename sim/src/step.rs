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
            Purpose::Claim | Purpose::Other => Self::Commit,
            Purpose::Join => Self::Join,
            Purpose::Acquire => Self::Acquire,
            Purpose::Batch => Self::Batch,
            Purpose::StepDown | Purpose::HandOver => Self::GiveUp,
            Purpose::Withdraw => Self::Leave,
            Purpose::Fence => Self::Fence,
            Purpose::TakeOver => Self::TakeOver,
            Purpose::Note => Self::Note,
        }
    }
}

/// Whether a key says whose the store is.
pub fn is_cluster(key: &[u8]) -> bool {
    key.get(2..) == Some(b"/cluster")
}

/// Whether a key is a lock's.
pub fn is_lock(key: &[u8]) -> bool {
    contains(key, b"/lock/")
}

/// Whether a key is a ticket's. Names are percent-encoded, so the word stands nowhere else.
pub fn is_ticket(key: &[u8]) -> bool {
    contains(key, b"/queue/")
}

/// Whether a key is a claim's.
pub fn is_claim(key: &[u8]) -> bool {
    contains(key, b"/claim/")
}

/// Whether a key is a block's.
pub fn is_block(key: &[u8]) -> bool {
    contains(key, b"/open/") || contains(key, b"/full/")
}

/// Whether the third part of `/prefix/part/...` is `part`.
fn contains(key: &[u8], part: &[u8]) -> bool {
    key.get(2..).is_some_and(|rest| rest.starts_with(part))
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

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A request that never arrives.
    LostRequest,
    /// A request that is carried out, and whose reply never arrives.
    LostReply,
    /// A request that arrives after its sender has given up or died.
    LateRequest,
    /// A request that waits long in between.
    SlowLink,
    /// A node that reaches nobody, or whom no reply reaches.
    Partition,
    /// No leader: requests wait, time out, or are refused; then leases live anew.
    NoLeader,
    /// A member restarts: watches end, requests under way are lost.
    Restart,
    /// The watch ends when it should tell.
    WatchEnded,
    /// The history before now is forgotten.
    Compaction,
    /// The server takes no more requests for a while.
    TooManyRequests,
    /// The server takes no writes for a while.
    NoSpace,
    /// A process is killed.
    Killed,
    /// A process is stopped for a while, perhaps longer than its lease lives.
    Paused,
    /// A process is stopped just before it sends a write, perhaps until its lease has just ended.
    Stalled,
    /// The runtime forgets a process, which goes on.
    Orphaned,
    /// A node is lost with all its pods, and comes back under the same name.
    NodeLost,
    /// A write is on its way while its node is cut off for longer than any deadline, and lands late.
    Severed,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 17] = [
        Self::LostRequest,
        Self::LostReply,
        Self::LateRequest,
        Self::SlowLink,
        Self::Partition,
        Self::NoLeader,
        Self::Restart,
        Self::WatchEnded,
        Self::Compaction,
        Self::TooManyRequests,
        Self::NoSpace,
        Self::Killed,
        Self::Paused,
        Self::Stalled,
        Self::Orphaned,
        Self::NodeLost,
        Self::Severed,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
