//! Kinds of faults.

use std::fmt;

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
