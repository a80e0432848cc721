//! The choices of the explorer at one moment.

use std::fmt;

/// A process, by its place in the scenario.
pub(super) type ProcessId = usize;

/// Which events of a watch arrive together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arriving {
    /// All that there are.
    All,
    /// Those of one of the watched keys only.
    OfKey(usize),
}

/// The next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The process' request is carried out and answered; or its pause ends.
    Step(ProcessId),
    /// Its watch tells it something.
    Tell(ProcessId, Arriving),
    /// The time comes until which it waits.
    Wake(ProcessId),
    /// Fault: its request is carried out, and the answer lost.
    LoseReply(ProcessId),
    /// Fault: it hears that its commit failed, and that one is still on its way.
    Delay(ProcessId),
    /// Fault: its request fails and is lost.
    Fail(ProcessId),
    /// Fault: its watch ends.
    EndWatch(ProcessId),
    /// Fault: it is killed. If it was about to commit, that is still on its way.
    Kill(ProcessId),
    /// Fault: its lease ends early, as if it had been paused.
    EndLease(ProcessId),
    /// The lease of a process that is gone ends: the one with this place among these.
    Expire(usize),
    /// The foreigner gives up the lock in good order.
    ForeignLeaves,
    /// A commit that is still on its way arrives: the one with this place among these.
    Land(usize),
}

impl Choice {
    /// Whether it uses up the fault of the run.
    pub(super) fn is_fault(self) -> bool {
        match self {
            Self::LoseReply(_)
            | Self::Delay(_)
            | Self::Fail(_)
            | Self::EndWatch(_)
            | Self::Kill(_)
            | Self::EndLease(_) => true,
            Self::Step(_)
            | Self::Tell(..)
            | Self::Wake(_)
            | Self::Expire(_)
            | Self::ForeignLeaves
            | Self::Land(_) => false,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(process) => write!(f, "P{process} step"),
            Self::Tell(process, Arriving::All) => write!(f, "P{process} events"),
            Self::Tell(process, Arriving::OfKey(key)) => {
                write!(f, "P{process} events of key {key}")
            }
            Self::Wake(process) => write!(f, "P{process} timer"),
            Self::LoseReply(process) => write!(f, "P{process} FAULT reply lost"),
            Self::Delay(process) => write!(f, "P{process} FAULT request late"),
            Self::Fail(process) => write!(f, "P{process} FAULT request lost"),
            Self::EndWatch(process) => write!(f, "P{process} FAULT watch ends"),
            Self::Kill(process) => write!(f, "P{process} FAULT killed"),
            Self::EndLease(process) => write!(f, "P{process} FAULT lease ends"),
            Self::Expire(index) => write!(f, "-- lease {index} of the dead ends"),
            Self::ForeignLeaves => f.write_str("-- the foreigner gives up the lock"),
            Self::Land(index) => write!(f, "-- late request {index} arrives"),
        }
    }
}
