//! The kinds of faults, and what may be expected under each.

use std::fmt;

use super::shared::Datastore;

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
    /// A member stands still again and again, as on a slow disk.
    SlowDisk,
    /// An API server is killed, and started again.
    ServerKilled,
    /// All API servers are killed, and started again.
    ServersKilled,
    /// An API server hangs for longer than the plugin's deadline.
    ServerStopped,
    /// Connections to the API servers are reset in the middle of a reply.
    ServerRepliesReset,
    /// An API server hears its clients, and no reply arrives. At the end the connections are reset.
    ServerRepliesLost,
    /// Executions of the plugin are killed.
    PluginKilled,
    /// Executions are stopped for longer than their leases live.
    PluginStopped,
    /// The runtime kills executions that take long for its taste, and sends DEL.
    RuntimeTimeout,
    /// DEL is sent again and again, also while ADD is still at it.
    DelRepeated,
}

/// The part of the datastore that works under a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// A majority that clients reach, and an API server: ADD must go on.
    Majority,
    /// Less, for a while: ADD fails clearly, or waits.
    Minority,
}

/// The target of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strikes {
    /// The cluster of etcd.
    Cluster,
    /// The API servers.
    Servers,
    /// Executions of the plugin.
    Plugin,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 28] = [
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
        Self::SlowDisk,
        Self::ServerKilled,
        Self::ServersKilled,
        Self::ServerStopped,
        Self::ServerRepliesReset,
        Self::ServerRepliesLost,
        Self::PluginKilled,
        Self::PluginStopped,
        Self::RuntimeTimeout,
        Self::DelRepeated,
    ];

    /// The kinds that strike a datastore.
    pub fn of(datastore: Datastore) -> Vec<Self> {
        let is_of_etcd =
            |kind: &Self| kind.strikes() != Strikes::Servers && *kind != Self::SlowDisk;
        let kinds = Self::ALL.into_iter();
        match datastore {
            Datastore::Etcd => kinds.filter(is_of_etcd).collect(),
            Datastore::Kubernetes => kinds.collect(),
        }
    }

    /// The part of the datastore that works under it.
    pub fn leaves(self) -> Leaves {
        match self {
            Self::MajorityKilled
            | Self::AllKilled
            | Self::MajorityCut
            | Self::NoSpace
            | Self::ServersKilled => Leaves::Minority,
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
            | Self::SlowDisk
            | Self::ServerKilled
            | Self::ServerStopped
            | Self::ServerRepliesReset
            | Self::ServerRepliesLost
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
            Self::ServerKilled
            | Self::ServersKilled
            | Self::ServerStopped
            | Self::ServerRepliesReset
            | Self::ServerRepliesLost => Strikes::Servers,
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
            | Self::LeaderMoved
            | Self::SlowDisk => Strikes::Cluster,
        }
    }

    /// Whether a member hangs under it, or is cut off. The plugin turns to another member. An API server spreads its requests
    /// over all members, and waits for this one, too.
    pub fn hides_a_member(self) -> bool {
        matches!(
            self,
            Self::LeaderStopped
                | Self::LeaderCut
                | Self::FollowerCut
                | Self::LeaderUnheard
                | Self::LeaderDeaf
                | Self::ClientsCut
                | Self::SlowDisk
        )
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
