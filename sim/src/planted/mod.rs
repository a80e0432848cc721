//! Planted bugs: what the judge must find, each of them, or it is worth nothing.
//!
//! The bugs are planted between the production code and the cluster, in the questions, transactions and answers that
//! pass there. So the production code has no trace of them.

pub(crate) mod refused;
pub mod twist;

use std::fmt;

use crate::setup::Shape;

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Bug {
            /// The catalogue.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The bug in a sentence.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

bugs! {
    /// Commits do not check the revisions of the blocks they write.
    BlockUnchecked,
    /// An absent block is looked for under `open/` only.
    AbsentBlockHalfChecked,
    /// Commits do not check that there is no claim.
    ClaimUnchecked,
    /// A claim is put without its key by its node.
    NotOnNode,
    /// A claim is deleted, or gets another home, and its key by its node stays.
    LeftOnNode,
    /// An optimistic commit does not check that nobody has the lock.
    LockUnchecked,
    /// A holder does not check that it still has the lock.
    HolderUnfenced,
    /// A ticket is put without a check that somebody has the lock who will see it.
    JoinUnchecked,
    /// A ticket is put over an existing one.
    TicketOverwritten,
    /// A lock is put over an existing one.
    LockOverwritten,
    /// A refused requester offers the lock to itself, also when another process has it.
    OfferOverwrites,
    /// A served ticket is not checked, so a cancelled one is served all the same.
    CancelledTicketServed,
    /// A served ticket must only exist, so one that was made anew with other wants is served as the
    /// old one.
    RemadeTicketServed,
    /// Tickets are served in another order than they came.
    ServedOutOfOrder,
    /// A hand-over touches no ticket.
    NextNotTouched,
    /// A hand-over does not name the successor on the lock.
    OfferUnnamed,
    /// A holder leaves without checking that nobody waits.
    LeavesWithoutLooking,
    /// A batch gives up the lock without checking that nobody has come since it was decided on.
    LastBatchUnchecked,
    /// A holder gives up the lock although a ticket was taken over since its read.
    TakenOverUnseen,
    /// The lease of a lock is not kept alive.
    LeaseNotKeptAlive,
    /// The further reads of a decision are at a later revision.
    ReadMoreLater,
    /// Reads tell of an older revision than the newest.
    StaleReads,
    /// An optimistic commit whose outcome is unknown is taken as one that failed.
    UnknownAsFailure,
    /// An optimistic commit whose outcome is unknown is taken as one that was done.
    UnknownAsSuccess,
    /// An unknown commit is not made impossible before going on.
    FenceForgotten,
    /// A release checks neither the claim nor the blocks, and so frees what was given again.
    ReleaseUnguarded,
    /// A take-over does not check that the old claim is as it was read.
    TakeOverUnguarded,
    /// A take-over does not look whose pod the claim is.
    TakeOverOfOthers,
    /// An ADD of the old container takes over what the new one has been given meanwhile.
    TakeOverOfTheNewer,
    /// An ADD does not look for what its pod has already.
    PodForgotten,
    /// A request with two ranges is committed in two transactions.
    TwoTransactions,
    /// A block is moved to `full/` and the next is not made.
    NextBlockNotMade,
    /// A freed bit leaves its block under `full/`.
    FullNotMovedBack,
    /// The address ending in `.0` counts as free when a block is judged full.
    ZeroCountedAsFree,
    /// The claim's key does not have the network's name.
    NetworkForgotten,
    /// A commit that claims does not check whose the store is.
    IdentityUnchecked,
    /// GC takes the store of another cluster for its own.
    GcOfOtherClusters,
    /// GC takes claims of other nodes for its own.
    GcOfOtherNodes,
    /// GC takes an absent list for an empty one.
    GcWithoutList,
    /// DEL leaves its attachment's tickets in the queue.
    DelLeavesTicket,
    /// DEL takes the ticket at its attachment's seat for its attachment's.
    DelOfAnothersTicket,
    /// GC leaves tickets in the queue.
    GcLeavesTicket,
    /// DEL answers success when etcd is not available.
    DelSwallowsFailure,
    /// A release is told to be done, and is never sent.
    ReleaseNotSent,
    /// ADD takes all addresses of an open block for free.
    BitsUnseen,
    /// A range ends one address too late.
    EndsTooLate,
    /// A range begins one address too early.
    BeginsTooEarly,
    /// The last address of a block is passed over.
    BlockEndForgotten,
    /// Exclusions are ignored from the second block on.
    ExclusionForgotten,
    /// Retries know no deadline.
    DeadlineForgotten,
    /// Bits of a request with two ranges stay set when the second is full.
    RefusedBitsStay,
    /// DEL takes a claim without interface, although its container has others.
    NamelessTaken,
    /// A commit that makes a durable claim does not check that its owner is absent.
    OwnerUnchecked,
    /// An ADD takes the address of its durable owner from a living pod.
    OwnerTakenFromLiving,
    /// The address of a durable owner at rest is given without a check that it still rests.
    RevivalUnguarded,
    /// The release of a durable claim does not write its owner.
    OwnerNotAtRest,
    /// An owner ends without a check that it still rests.
    EndUnguarded,
    /// A commit whose reply was lost is taken for one that was surely not sent.
    UnknownAsUnsent,
}

/// Where a bug shows that seldom does elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In histories of this shape; those of others are passed over.
    Shape(Shape),
    /// In histories with an etcd that is far away.
    FarAway,
    /// In this world of the exhaustive mode, with so many faults.
    World(&'static str, u8),
}

impl Bug {
    /// Where the bug is looked for alone, if anywhere.
    pub fn home(self) -> Option<Home> {
        match self {
            Self::AbsentBlockHalfChecked => Some(Home::Shape(Shape::Burst)),
            Self::ReadMoreLater => Some(Home::Shape(Shape::Scattered)),
            Self::TakeOverUnguarded | Self::TakeOverOfOthers | Self::PodForgotten => {
                Some(Home::Shape(Shape::Anew))
            }
            Self::OwnerUnchecked
            | Self::OwnerTakenFromLiving
            | Self::RevivalUnguarded
            | Self::OwnerNotAtRest
            | Self::EndUnguarded => Some(Home::Shape(Shape::Sticky)),
            Self::TakeOverOfTheNewer => Some(Home::World(
                "anew: ADD a.1 || DEL a.2, ADD a.2, one address, held",
                0,
            )),
            Self::LeaseNotKeptAlive => Some(Home::FarAway),
            Self::NamelessTaken => Some(Home::Shape(Shape::Imported)),
            Self::RemadeTicketServed => Some(Home::World(
                "queue, impatient: ADD a, ADD a of two ranges || ADD b",
                0,
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
