//! The errors of the verbs, with their codes in CNI's terms.
//!
//! The CNI specification (1.1.0, "Error") reserves the codes below 100. The codes from 100 on
//! belong to this plugin. `docs/OPERATIONS.md` explains them to people.

use super::Collected;
use crate::address::Address;
use crate::claim::{Attachment, Choice, Claim, Held, RangeId, Want};
use crate::durable::DurableOwner;
use crate::failure::{ApiServerFailure, Corrupt, Failure, FileProblem, Unavailable};
use crate::limits;

/// The reason why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not serve, or must not be used.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// Every address of a range is taken.
    #[error("range {range} is full: all of its {size} addresses are taken")]
    Exhausted {
        /// The range.
        range: RangeId,
        /// The number of addresses that the config may give from the range.
        size: u128,
    },
    /// A requested address is held by another attachment.
    #[error("address {} of range {} is taken by {}", held.address, held.range, owner_text(owner.as_deref()))]
    Taken {
        /// The address.
        held: Held,
        /// The holder; `None` if the holder has released the address meanwhile.
        owner: Option<Box<(Attachment, Claim)>>,
    },
    /// An old container of the same pod holds the addresses, on another node or on an unknown one.
    #[error(
        "{holder}, an old container of this pod, holds {claim}; this is node {}. The DEL of the old container releases its claim",
        node.as_deref().unwrap_or("(unknown)")
    )]
    HeldElsewhere {
        /// The attachment of the old container.
        holder: Attachment,
        /// Its claim.
        claim: Box<Claim>,
        /// The node of the new container.
        node: Option<String>,
    },
    /// A requested address is kept for a durable owner, which rests.
    #[error("address {} of range {} is kept for {owner}", held.address, held.range)]
    TakenByOwner {
        /// The address.
        held: Held,
        /// The owner.
        owner: Box<DurableOwner>,
    },
    /// The addresses of the pod's name are those of an attachment that may live.
    #[error(
        "the addresses of {owner} are in use by {holder}, {}. The DEL of that container releases them",
        claim_text(claim.as_deref())
    )]
    OwnerInUse {
        /// The pod's name.
        owner: Box<DurableOwner>,
        /// The attachment that has the addresses.
        holder: Attachment,
        /// Its claim; `None` if it cannot be read.
        claim: Option<Box<Claim>>,
    },
    /// The pod's name keeps addresses that the request does not allow.
    #[error(
        "{owner} keeps {}. The request allows {} alone. `whereaboutsctl release` ends the owner",
        held_text(held),
        wants_text(wants)
    )]
    OwnerKeeps {
        /// The pod's name.
        owner: Box<DurableOwner>,
        /// The addresses that it keeps.
        held: Vec<Held>,
        /// What the request allows.
        wants: Vec<Want>,
    },
    /// The attachment was added before, with another config.
    #[error("{attachment} was added before with other ranges and holds {claim}; DEL it first")]
    HoldsOther {
        /// The attachment.
        attachment: Attachment,
        /// The claim of the attachment.
        claim: Box<Claim>,
    },
    /// A new claim replaced the old one during a DEL.
    #[error("{attachment} was added again while it was being deleted")]
    AddedAgain {
        /// The attachment.
        attachment: Attachment,
    },
    /// CHECK found no claim.
    #[error("{attachment} holds no address")]
    NoClaim {
        /// The attachment.
        attachment: Attachment,
    },
    /// CHECK found an address that the previous result does not have.
    #[error("{attachment} holds {address}, which prevResult does not have")]
    NotInPrevious {
        /// The attachment.
        attachment: Attachment,
        /// The address.
        address: Address,
    },
    /// CHECK found a static address that the previous result does not have.
    #[error("the configured address {0} is not in prevResult")]
    StaticNotInPrevious(ipnet::IpNet),
    /// CHECK found a claimed address that is not marked as taken.
    #[error("{address} of {attachment} is not marked as taken")]
    NotMarked {
        /// The attachment.
        attachment: Attachment,
        /// The address.
        address: Address,
    },
    /// GC could not collect everything.
    #[error("claims that could not be collected: {}, the first because {first}", collected.failed)]
    NotAllCollected {
        /// The counts of collected claims and of failures.
        collected: Collected,
        /// The first failure.
        first: Box<Error>,
    },
    /// STATUS found that a range is full.
    #[error("no address can be given: range {0} is full")]
    Full(RangeId),
    /// STATUS could not read what is stored.
    #[error("no address can be given: {0}")]
    NotReady(Failure),
}

fn owner_text(owner: Option<&(Attachment, Claim)>) -> String {
    match owner {
        Some((attachment, claim)) => format!("{attachment}, {}", claim.owner),
        None => "an attachment that has released it meanwhile; try again".to_owned(),
    }
}

fn claim_text(claim: Option<&Claim>) -> String {
    match claim {
        Some(claim) => {
            let uid = claim.owner.pod_uid.as_deref().unwrap_or("(unknown)");
            format!("which holds {claim}, pod UID {uid}")
        }
        None => "whose claim cannot be read".to_owned(),
    }
}

fn held_text(held: &[Held]) -> String {
    let each = held.iter();
    let each = each.map(|held| format!("{} of range {}", held.address, held.range.cidr));
    each.collect::<Vec<_>>().join(", ")
}

fn wants_text(wants: &[Want]) -> String {
    let each = wants.iter().map(|want| match want.choice {
        Choice::Exactly(address) => format!("{address} of range {}", want.range),
        Choice::Lowest => {
            let shown = want.usable.iter().take(limits::SHOWN_INTERVALS);
            let mut shown: Vec<String> = shown.map(ToString::to_string).collect();
            if want.usable.len() > limits::SHOWN_INTERVALS {
                shown.push("...".to_owned());
            }
            format!("{} of range {}", shown.join(", "), want.range)
        }
    });
    each.collect::<Vec<_>>().join("; ")
}

impl Error {
    /// The error of a stored value that cannot be read.
    pub(super) fn corrupt(corrupt: Corrupt) -> Self {
        Failure::from(corrupt).into()
    }

    /// The code of the CNI error.
    pub fn code(&self) -> u32 {
        self.kind().0
    }

    /// The kind of the error in a few words: `msg` of a CNI error.
    pub fn summary(&self) -> &'static str {
        self.kind().1
    }

    fn kind(&self) -> (u32, &'static str) {
        match self {
            Self::Failure(Failure::Unavailable(reason)) => unavailable_kind(reason),
            Self::Failure(Failure::Unreachable { .. }) => (11, UNREACHABLE),
            Self::Failure(
                Failure::OutOfTime { .. } | Failure::QueueTooLong(_) | Failure::LockTooLong(_),
            ) => (11, "the deadline has passed; try again later"),
            Self::Failure(
                Failure::Undecided(_)
                | Failure::Unsettled(_)
                | Failure::BeganLate(_)
                | Failure::OtherCluster { .. },
            ) => (11, "try again later"),
            Self::Failure(Failure::Stranger { .. } | Failure::NobodysStore { .. }) => {
                (7, "the stored claims are not known to be this cluster's")
            }
            Self::Failure(Failure::File(failure)) => file_kind(failure.problem),
            Self::Failure(Failure::ApiServer(failure)) => api_server_kind(failure),
            Self::HeldElsewhere { .. } => (
                11,
                "the pod's old container holds the addresses; try again later",
            ),
            Self::OwnerInUse { .. } => (
                11,
                "another container has the pod's addresses; try again later",
            ),
            Self::Failure(
                Failure::Cancelled(_)
                | Failure::Displaced(_)
                | Failure::Overtaken(_)
                | Failure::ClaimLost(_),
            )
            | Self::AddedAgain { .. } => (11, "the attachment changes; try again later"),
            Self::Full(_) => (50, "a range is full"),
            Self::NotReady(Failure::Unreachable { .. }) => (50, "etcd is not available"),
            Self::NotReady(Failure::ApiServer(_)) => (50, "the API server cannot be used"),
            Self::NotReady(Failure::File(_)) => (50, "the file of addresses cannot be used"),
            Self::NotReady(_) => (50, "etcd cannot be used"),
            Self::Exhausted { .. } => (101, "the range is full"),
            Self::Taken { .. } | Self::TakenByOwner { .. } => {
                (102, "the requested address is taken")
            }
            Self::HoldsOther { .. } => (103, "the attachment holds other addresses"),
            Self::OwnerKeeps { .. } => (103, "the pod keeps other addresses"),
            Self::Failure(Failure::Corrupt(_)) => (104, "a stored value cannot be used"),
            Self::NoClaim { .. }
            | Self::NotInPrevious { .. }
            | Self::StaticNotInPrevious(_)
            | Self::NotMarked { .. } => (106, "the attachment is not as it was added"),
            Self::NotAllCollected { .. } => (107, "not everything could be collected"),
        }
    }
}

fn file_kind(problem: FileProblem) -> (u32, &'static str) {
    match problem {
        FileProblem::Busy => (11, "the file of addresses is busy; try again later"),
        FileProblem::NoSpace => (11, "the disk is full; try again later"),
        FileProblem::Unwritable => (11, "the disk cannot be used; try again later"),
        FileProblem::Denied => (105, "the file of addresses may not be used"),
        FileProblem::Damaged => (104, "the file of addresses cannot be used"),
    }
}

fn api_server_kind(failure: &ApiServerFailure) -> (u32, &'static str) {
    match failure {
        ApiServerFailure::Unreachable(_) | ApiServerFailure::Unavailable(_) => {
            (11, "the API server is not available; try again later")
        }
        ApiServerFailure::NotNow(_) => (11, "try again later"),
        ApiServerFailure::Denied(_) => (105, "the API server refuses access"),
        ApiServerFailure::Refused(_) => (108, "the API server refuses the request"),
    }
}

const UNREACHABLE: &str = "etcd is not available; try again later";

fn unavailable_kind(reason: &Unavailable) -> (u32, &'static str) {
    match reason {
        Unavailable::Later(_) => (11, UNREACHABLE),
        Unavailable::NotNow(_)
        | Unavailable::LeaseNotFound
        | Unavailable::KeyNotFound
        | Unavailable::Compacted => (11, "try again later"),
        Unavailable::NoSpace => (11, "etcd is out of space; try again later"),
        Unavailable::Denied(_) => (105, "etcd refuses access"),
        Unavailable::TooManyOperations | Unavailable::TooLarge | Unavailable::Refused(_) => {
            (108, "etcd refuses the request")
        }
        Unavailable::File(failure) => file_kind(failure.problem),
        Unavailable::NotInFiles(_) => (108, "the datastore local does not support the request"),
        Unavailable::ApiServer(failure) => api_server_kind(failure),
        Unavailable::NotInObjects(_) => {
            (108, "the datastore kubernetes does not support the request")
        }
    }
}
