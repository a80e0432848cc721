//! The seam for datastores: the operations on the record of all claims that a verb needs.
//!
//! A datastore decides how it writes a claim together with the bits of its addresses: with a
//! transaction over several keys, with one file, or with a protocol of several writes. A verb knows
//! none of these ways.

pub mod conformance;

use crate::address::{Address, Name};
use crate::allocator::{Kept, Shortage, Stored, Verdict};
use crate::claim::{Ask, Attachment, Claim, Held, RangeId, Want};
use crate::durable::{DurableOwner, OwnerState};
use crate::failure::{Corrupt, Failure};

/// The outcome of a request for addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The attachment now holds these addresses.
    Granted(Vec<Held>),
    /// The attachment now holds these addresses, which this old container of its pod held.
    TakenOver(Attachment, Vec<Held>),
    /// The attachment now holds these addresses, which its durable owner kept.
    Revived(Vec<Held>),
    /// The durable owner keeps its addresses, and the attachment gets none.
    Kept(DurableOwner, Kept),
    /// The attachment already held the requested addresses.
    Held(Claim),
    /// The attachment holds other addresses.
    HoldsOther(Claim),
    /// The request cannot be granted.
    Short(Shortage),
}

impl Taken {
    /// The outcome of a request for addresses that was decided as `verdict`.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Granted(held) => Self::Granted(held),
            Verdict::TakenOver(old, held) => Self::TakenOver(old, held),
            Verdict::Revived(held) => Self::Revived(held),
            Verdict::Kept(owner, kept) => Self::Kept(owner, kept),
            Verdict::Held(claim) => Self::Held(claim),
            Verdict::HoldsOther(claim) => Self::HoldsOther(claim),
            Verdict::Short(shortage) => Self::Short(shortage),
            verdict @ (Verdict::Released | Verdict::NothingHeld | Verdict::ClaimChanged(_)) => {
                unreachable!("a request for addresses ended with {verdict:?}")
            }
        }
    }
}

/// The outcome of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The claim has its new owner.
    Done,
    /// The claim has changed, or may have changed. The ADD must be decided anew.
    Changed,
}

/// The outcome of the end of a durable owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The owner is gone, and its addresses are free.
    Done,
    /// The owner has changed since it was read, and stays; `None` if another process has ended it.
    Changed(Option<Stored<OwnerState>>),
}

/// A page of durable owners.
#[derive(Clone, Debug)]
pub struct OwnerPage<C> {
    /// The owners. An owner that cannot be read is the reason.
    pub owners: Vec<Result<(DurableOwner, Stored<OwnerState>), Corrupt>>,
    /// The begin of the next page; `None` on the last page.
    pub next: Option<C>,
}

/// The outcome of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "an operation has one of them, and never keeps it"
)]
pub enum Released {
    /// The claim is gone. Its addresses are free, or will be soon; or its durable owner keeps them.
    Done,
    /// The claim has changed since it was read, and stays.
    Changed(Stored<Claim>),
}

impl Released {
    /// The outcome of a release that was decided as `verdict`.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Released | Verdict::NothingHeld => Self::Done,
            Verdict::ClaimChanged(changed) => Self::Changed(changed),
            verdict @ (Verdict::Granted(_)
            | Verdict::TakenOver(..)
            | Verdict::Revived(_)
            | Verdict::Kept(..)
            | Verdict::Held(_)
            | Verdict::HoldsOther(_)
            | Verdict::Short(_)) => unreachable!("a release ended with {verdict:?}"),
        }
    }
}

/// The record of one attachment: its claim and its waiting requests.
#[derive(Clone, Debug)]
pub struct Found<W> {
    /// The claim of the attachment.
    pub claim: Option<Stored<Claim>>,
    /// The claim of the same container whose interface is not known. A datastore may leave it out if the attachment has
    /// a claim.
    pub nameless: Option<Stored<Claim>>,
    /// The waiting ADDs of the attachment.
    pub adds: Vec<W>,
    /// The waiting DELs of the attachment.
    pub dels: Vec<W>,
}

/// A claim, and whether all of its addresses are marked as taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The claim.
    pub claim: Claim,
    /// The first claimed address that is not marked as taken.
    pub unmarked: Option<Address>,
}

/// A page of claims.
#[derive(Clone, Debug)]
pub struct Page<C> {
    /// The claims. A claim that cannot be read is the reason.
    pub claims: Vec<Result<(Attachment, Stored<Claim>), Corrupt>>,
    /// The begin of the next page; `None` on the last page.
    pub next: Option<C>,
}

/// The claims that a listing is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'s> {
    /// All claims.
    All,
    /// The claims of one network.
    Network(&'s Name),
    /// The claims of one node. Their number decides what a listing costs, not that of all claims.
    Node {
        /// The node's name.
        node: &'s str,
        /// The network; `None` is every network.
        network: Option<&'s Name>,
        /// The pod's UID, in one network; `None` is every pod.
        pod_uid: Option<&'s str>,
    },
}

/// The verb of a waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// ADDs.
    Adds,
    /// DELs.
    Dels,
}

/// The record of all claims. Each value serves one operation and knows its deadline.
#[allow(
    async_fn_in_trait,
    reason = "one thread: no future of a datastore crosses to another"
)]
pub trait Registry {
    /// A waiting request. Datastores without a queue have none.
    type Waiting;

    /// The place between two pages.
    type Cursor;

    /// Takes the requested addresses: all of them, or none. If an old container of the same pod and node holds them,
    /// its claim moves to the requester.
    async fn take(&self, ask: &Ask) -> Result<Taken, Failure>;

    /// Writes the owner of a repeated ADD into the claim that satisfies it: a restarted container keeps its id and its
    /// claim, and has another network namespace. Names that the new owner does not tell stay.
    async fn renew(&self, ask: &Ask) -> Result<Renewed, Failure>;

    /// Releases `claim` of `attachment`, if nothing has written the claim since it was read.
    async fn release(
        &self,
        attachment: &Attachment,
        claim: &Stored<Claim>,
    ) -> Result<Released, Failure>;

    /// The record of `attachment`. It includes the requests of the attachment that wait for
    /// `ranges`.
    async fn find(
        &self,
        attachment: &Attachment,
        ranges: &[RangeId],
    ) -> Result<Found<Self::Waiting>, Failure>;

    /// Cancels waiting requests of `attachment`.
    async fn cancel(
        &self,
        attachment: &Attachment,
        waiting: &[Self::Waiting],
    ) -> Result<(), Failure>;

    /// Cancels the abandoned requests of a network. For an ADD, `is_abandoned` decides by
    /// attachment and node. A DEL is abandoned once its claim is gone.
    async fn cancel_abandoned(
        &self,
        network: &Name,
        waiting: Waiting,
        is_abandoned: impl Fn(&Attachment, Option<&str>) -> bool,
    ) -> Result<(), Failure>;

    /// The claim of `attachment`, and whether its addresses are marked as taken. Both are read at
    /// one moment.
    async fn inspect(&self, attachment: &Attachment) -> Result<Option<Inspected>, Failure>;

    /// The reason why `wants` cannot be served now. One cheap question has to answer it; `None`
    /// also means that the question could not tell.
    async fn shortage(&self, wants: &[Want]) -> Result<Option<Shortage>, Failure>;

    /// A page of the claims of `scope`.
    async fn page(
        &self,
        scope: Scope<'_>,
        after: Option<&Self::Cursor>,
    ) -> Result<Page<Self::Cursor>, Failure>;

    /// A page of the durable owners, of one network or of all.
    async fn owners(
        &self,
        network: Option<&Name>,
        after: Option<&Self::Cursor>,
    ) -> Result<OwnerPage<Self::Cursor>, Failure>;

    /// Ends a durable owner that rests, if nothing has written it since it was read as `state`. Its addresses become
    /// free. An owner with an attachment never ends.
    async fn end(&self, owner: &DurableOwner, state: &Stored<OwnerState>)
    -> Result<Ended, Failure>;

    /// The number of claims of a container in a network. A datastore may stop counting at two.
    async fn claims_of_container(&self, attachment: &Attachment) -> Result<usize, Failure>;

    /// Checks that the record belongs to this cluster. In another cluster's record, the names of
    /// this cluster's nodes prove nothing.
    async fn confirm(&self) -> Result<(), Failure>;
}
