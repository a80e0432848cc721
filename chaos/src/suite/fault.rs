//! The kinds of faults, and what may be expected under each.

use std::fmt;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A member that does not lead is killed, and started again.
    MemberKilled,
    /// The leader is killed, and started again.
    LeaderKilled,
    /// A majority is killed, and started again.
    MajorityKilled,
    /// All members are killed, and started again.
    AllKilled,
    /// The leader hangs.
    LeaderStopped,
    /// One member after the other is killed and started again.
    RollingRestart,
    /// The leader and the other members do not hear of each other.
    LeaderCut,
    /// So for a member that does not lead.
    FollowerCut,
    /// No member hears of another.
    MajorityCut,
    /// The others do not hear the leader, and it hears them.
    LeaderUnheard,
    /// The leader does not hear the others, and they hear it.
    LeaderDeaf,
    /// Clients do not reach some of the members, and those reach each other.
    ClientsCut,
    /// Everything takes longer.
    Latency,
    /// Connections of clients are reset in the middle of a reply.
    RepliesReset,
    /// A member is removed, and another without data takes its place.
    MemberReplaced,
    /// History is compacted up to the present, and members are defragmented.
    Compacted,
    /// The space is used up, and no write is taken.
    NoSpace,
    /// Another member is made to lead.
    LeaderMoved,
    /// Executions of the plugin are killed.
    PluginKilled,
    /// Executions are stopped for longer than their leases live.
    PluginStopped,
    /// The runtime kills executions that take long for its taste, and sends DEL.
    RuntimeTimeout,
    /// DEL is sent again and again, also while ADD is still at it.
    DelRepeated,
}

/// The part of etcd that works under a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// A majority that clients reach: ADD must go on.
    Majority,
    /// Less, for a while: ADD fails clearly, or waits.
    Minority,
}

/// The target of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strikes {
    /// The cluster.
    Cluster,
    /// Executions of the plugin.
    Plugin,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 22] = [
        Self::MemberKilled,
        Self::LeaderKilled,
        Self::MajorityKilled,
        Self::AllKilled,
        Self::LeaderStopped,
        Self::RollingRestart,
        Self::LeaderCut,
        Self::FollowerCut,
        Self::MajorityCut,
        Self::LeaderUnheard,
        Self::LeaderDeaf,
        Self::ClientsCut,
        Self::Latency,
        Self::RepliesReset,
        Self::MemberReplaced,
        Self::Compacted,
        Self::NoSpace,
        Self::LeaderMoved,
        Self::PluginKilled,
        Self::PluginStopped,
        Self::RuntimeTimeout,
        Self::DelRepeated,
    ];

    /// The part of etcd that works under it.
    pub fn leaves(self) -> Leaves {
        match self {
            Self::MajorityKilled | Self::AllKilled | Self::MajorityCut | Self::NoSpace => {
                Leaves::Minority
            }
            Self::MemberKilled
            | Self::LeaderKilled
            | Self::LeaderStopped
            | Self::RollingRestart
            | Self::LeaderCut
            | Self::FollowerCut
            | Self::LeaderUnheard
            | Self::LeaderDeaf
            | Self::ClientsCut
            | Self::Latency
            | Self::RepliesReset
            | Self::MemberReplaced
            | Self::Compacted
            | Self::LeaderMoved
            | Self::PluginKilled
            | Self::PluginStopped
            | Self::RuntimeTimeout
            | Self::DelRepeated => Leaves::Majority,
        }
    }

    /// Its target.
    pub fn strikes(self) -> Strikes {
        match self {
            Self::PluginKilled | Self::PluginStopped | Self::RuntimeTimeout | Self::DelRepeated => {
                Strikes::Plugin
            }
            Self::MemberKilled
            | Self::LeaderKilled
            | Self::MajorityKilled
            | Self::AllKilled
            | Self::LeaderStopped
            | Self::RollingRestart
            | Self::LeaderCut
            | Self::FollowerCut
            | Self::MajorityCut
            | Self::LeaderUnheard
            | Self::LeaderDeaf
            | Self::ClientsCut
            | Self::Latency
            | Self::RepliesReset
            | Self::MemberReplaced
            | Self::Compacted
            | Self::NoSpace
            | Self::LeaderMoved => Strikes::Cluster,
        }
    }

    /// Whether one member is dead under it, to clients or to the others, and the rest is well.
    pub fn is_one_member_dead(self) -> bool {
        matches!(
            self,
            Self::MemberKilled
                | Self::LeaderKilled
                | Self::LeaderStopped
                | Self::LeaderCut
                | Self::FollowerCut
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}"))
    }
}
