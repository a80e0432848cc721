//! Release: a person takes back one claim, exactly as it was shown.

use tracing::info;

use crate::operation;
use crate::session::{Failure, Session};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Stored;
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::claim::{Attachment, Claim};
use whereabouts_store::Store;

/// What became of a claim that was to be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// Its addresses are free, or on their way to be: the claim is gone.
    Done,
    /// It is another than the one that was shown, and stays.
    Changed(Stored<Claim>),
}

/// Releases `claim` of `attachment` as a DEL does, if it is still what it was when it was read:
/// nobody's but the addresses that were shown can become free.
pub async fn release<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    attachment: &Attachment,
    claim: &Stored<Claim>,
) -> Result<Released, Failure> {
    let demand = Demand::Release {
        attachment: attachment.clone(),
        held: claim.value.held.clone(),
        modified: claim.modified,
    };
    match operation::perform(session, &demand).await? {
        Verdict::Released | Verdict::NothingHeld => {
            info!(%attachment, claim = %claim.value, "released");
            Ok(Released::Done)
        }
        Verdict::ClaimChanged(changed) => Ok(Released::Changed(changed)),
        verdict @ (Verdict::Granted(_)
        | Verdict::Held(_)
        | Verdict::HoldsOther(_)
        | Verdict::Short(_)) => unreachable!("a release ended with {verdict:?}"),
    }
}
