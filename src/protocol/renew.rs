//! Renewal: the claim of an attachment gets the owner of a repeated ADD.
//!
//! A container that is restarted keeps its id. If its DEL was lost, as by a power failure, its claim still names the
//! network namespace and the boot of before. By these the node would take the claim for abandoned.

use tracing::{info, instrument};
use whereabouts_clock::Clock;
use whereabouts_core::claim::{Ask, Claim};
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::Renewed;
use whereabouts_store::Store;
use whereabouts_store::snapshot::Query;

use crate::queue::transactions;
use crate::session::{Commit, Session};

/// Writes the owner of `ask` into the claim of its attachment, if the claim satisfies it.
#[instrument(level = "debug", skip_all)]
pub(super) async fn renew<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    ask: &Ask,
) -> Result<Renewed, Failure> {
    let queries = [Query::Claim(ask.attachment.clone()), Query::Cluster];
    let snapshot = session.snapshot(&queries).await?;
    let claim = snapshot.claim(&ask.attachment).expect("it was read");
    let Some(claim) = claim.filter(|claim| ask.is_met_by(&claim.value)) else {
        return Ok(Renewed::Changed);
    };
    let renewed = Claim {
        held: claim.value.held.clone(),
        owner: ask.owner.or(&claim.value.owner),
        created: session.clock().since_epoch(),
    };
    let mut draft = session.draft();
    transactions::renew(&mut draft, &ask.attachment, claim, &renewed);
    draft.read_otherwise([Query::Cluster]);
    match session.commit(draft).await? {
        Commit::Done(_) => {
            info!(claim = %renewed, "renewed");
            Ok(Renewed::Done)
        }
        Commit::DoneUnread(corrupt) => unreachable!("nothing was read after: {corrupt}"),
        Commit::Conflict(_) => Ok(Renewed::Changed),
        Commit::Unknown(_) => {
            let mut fence = session.draft();
            transactions::fence_renewal(&mut fence, &ask.attachment, claim.modified);
            session.settle(&fence).await?;
            Ok(Renewed::Changed)
        }
    }
}
