//! Which claims can be released, because no pod can hold their addresses any more, and by which evidence; and which
//! durable owners end.
//!
//! Pure: the claims, the answers of the API server and the time are arguments. One round is:
//!
//! ```text
//! claims, read first --> Judge::begin --> Round --> nodes to ask for --> pods to ask for --> Judge::decide --> Judgement
//! ```
//!
//! Evidence needs all of these:
//!
//! - The claim was read before every answer, and has not changed between the first answer and the last.
//! - Two live answers, a grace apart, tell that no pod has the UID of the claim.
//! - The node cannot run the pod any more ([`Evidence`]).
//!
//! A durable owner ends by evidence of its own. [`OwnerJudge`] needs all of these:
//!
//! - No attachment has the owner's addresses.
//! - The owner was read before every answer, and has not changed between the first answer and the last.
//! - Two live answers, a grace apart, tell that no StatefulSet wants the pod, and that no pod has its name.
//!
//! Everything else, and each error, means *in use*. A cache may spare a question. It never answers one.
//!
//! Read first: [`Judge::decide`].

mod absence;
mod claim;
mod history;
mod judge;
mod observation;
mod owner;
#[cfg(test)]
mod owner_simulation;
#[cfg(test)]
mod owner_tests;
mod run;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use claim::{JudgedClaim, PodName};
pub use judge::{Judge, Judgement, Round, Rules, Standing, Stay};
pub use observation::{Answer, Evidence, Look, NodeState};
pub use owner::{
    JudgedOwner, OWNER_EVIDENCE_LASTS, Ordinals, OwnerEvidence, OwnerJudge, OwnerJudgement,
    OwnerLook, OwnerRound, SetAnswer, SetName,
};
