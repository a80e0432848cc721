//! The seam for datastores: what the verbs ask of the record of all claims.
//!
//! A datastore decides how a claim and the bits of its addresses become one: by a transaction over several keys, by
//! one file, or by a protocol of several writes. A verb knows none of that.

use crate::address::{Address, Name};
use crate::allocator::{Revision, Shortage, Stored, Verdict};
use crate::claim::{Ask, Attachment, Claim, Held, QueueId, Want};
use crate::failure::{Corrupt, Failure};

/// The outcome of a request for addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The attachment holds these from now on.
    Granted(Vec<Held>),
    /// The attachment held what it asks for already.
    Held(Claim),
    /// The attachment holds something else.
    HoldsOther(Claim),
    /// Not to be had.
    Short(Shortage),
}

impl Taken {
    /// The outcome of a request for addresses that was decided as `verdict`.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Granted(held) => Self::Granted(held),
            Verdict::Held(claim) => Self::Held(claim),
            Verdict::HoldsOther(claim) => Self::HoldsOther(claim),
            Verdict::Short(shortage) => Self::Short(shortage),
            verdict @ (Verdict::Released | Verdict::NothingHeld | Verdict::ClaimChanged(_)) => {
                unreachable!("a request for addresses ended with {verdict:?}")
            }
        }
    }
}

/// The outcome of a take-over from an old container of the same pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenOver {
    /// The attachment holds these.
    Done(Vec<Held>),
    /// There is no such claim.
    Nothing,
    /// What it was decided on has changed, or may have: the ADD is to be decided anew.
    Changed,
    /// The claim is one of another node, or of an unknown one.
    Elsewhere(Box<(Attachment, Claim)>),
}

/// A claim that an ADD can take over: it is of an old container of the same pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// On the same node.
    Here,
    /// On another node, or on an unknown one.
    Elsewhere,
}

impl Candidate {
    /// Whether `ask` can take over the claim of `holder`: all of it is what `ask` wants, and it is no younger than
    /// the first read of the ADD, which was at `begun`. An ADD of the old container may still be under way, and must not
    /// take the claim of the new one.
    pub fn of(
        ask: &Ask,
        holder: &Attachment,
        claim: &Stored<Claim>,
        begun: Revision,
    ) -> Option<Self> {
        let (own, owner) = (&ask.attachment, &claim.value.owner);
        let is_old = ask.owner.pod_uid.is_some()
            && owner.pod_uid == ask.owner.pod_uid
            && holder.network == own.network
            && holder.interface == own.interface
            && holder.container != own.container
            && claim.created <= begun;
        let is_here = ask.owner.node.is_some() && ask.owner.node == owner.node;
        (is_old && ask.may_be_given(&claim.value)).then_some(if is_here {
            Self::Here
        } else {
            Self::Elsewhere
        })
    }
}

/// The outcome of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// The claim is gone, and its addresses are free or on their way to be.
    Done,
    /// The claim is another than the one that was to be released, and stays.
    Changed(Stored<Claim>),
}

impl Released {
    /// The outcome of a release that was decided as `verdict`.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Released | Verdict::NothingHeld => Self::Done,
            Verdict::ClaimChanged(changed) => Self::Changed(changed),
            verdict @ (Verdict::Granted(_)
            | Verdict::Held(_)
            | Verdict::HoldsOther(_)
            | Verdict::Short(_)) => unreachable!("a release ended with {verdict:?}"),
        }
    }
}

/// What is recorded of an attachment.
#[derive(Clone, Debug)]
pub struct Found<W> {
    /// Its claim.
    pub claim: Option<Stored<Claim>>,
    /// The claim of its container whose interface is not known.
    pub nameless: Option<Stored<Claim>>,
    /// Its ADDs that wait.
    pub adds: Vec<W>,
    /// Its DELs that wait.
    pub dels: Vec<W>,
}

/// A claim, and how well its addresses are marked as taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The claim.
    pub claim: Claim,
    /// The first of its addresses that is not marked as taken.
    pub unmarked: Option<Address>,
}

/// A page of claims.
#[derive(Clone, Debug)]
pub struct Page<C> {
    /// The claims; of one that cannot be read, why.
    pub claims: Vec<Result<(Attachment, Stored<Claim>), Corrupt>>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<C>,
}

/// Requests that wait to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// ADDs.
    Adds,
    /// DELs.
    Dels,
}

/// The record of all claims, within the deadline of one operation.
#[allow(
    async_fn_in_trait,
    reason = "one thread: no future of a datastore crosses to another"
)]
pub trait Registry {
    /// A request that waits; datastores without a queue have none.
    type Waiting;

    /// A place between two pages.
    type Cursor;

    /// Gives what is asked for, all or nothing.
    async fn take(&self, ask: &Ask) -> Result<Taken, Failure>;

    /// Gives what an old container of the same pod holds, if that is all of what is asked for.
    async fn take_over(&self, ask: &Ask) -> Result<TakenOver, Failure>;

    /// Releases `claim` of `attachment`, if nothing has written it since.
    async fn release(
        &self,
        attachment: &Attachment,
        claim: &Stored<Claim>,
    ) -> Result<Released, Failure>;

    /// What is recorded of `attachment`, its requests that wait for `ranges` included.
    async fn find(
        &self,
        attachment: &Attachment,
        ranges: &[QueueId],
    ) -> Result<Found<Self::Waiting>, Failure>;

    /// Takes back requests of `attachment` that wait.
    async fn cancel(
        &self,
        attachment: &Attachment,
        waiting: &[Self::Waiting],
    ) -> Result<(), Failure>;

    /// Takes back the requests of a network that nobody waits for: `is_abandoned` tells by attachment and node, and
    /// a DEL is one whose claim is gone.
    async fn cancel_abandoned(
        &self,
        network: &Name,
        waiting: Waiting,
        is_abandoned: impl Fn(&Attachment, Option<&str>) -> bool,
    ) -> Result<(), Failure>;

    /// The claim of `attachment`, and whether its addresses are marked as taken, at one moment.
    async fn inspect(&self, attachment: &Attachment) -> Result<Option<Inspected>, Failure>;

    /// Why `wants` could not be served, as far as one cheap question tells.
    async fn shortage(&self, wants: &[Want]) -> Result<Option<Shortage>, Failure>;

    /// A page of the claims of one network or of all.
    async fn page(
        &self,
        network: Option<&Name>,
        after: Option<&Self::Cursor>,
    ) -> Result<Page<Self::Cursor>, Failure>;

    /// How many claims a container has in a network, as far as that is more than one.
    async fn claims_of_container(&self, attachment: &Attachment) -> Result<usize, Failure>;

    /// Sees that the record is this cluster's: else names of its nodes prove nothing.
    async fn confirm(&self) -> Result<(), Failure>;
}
