//! Renewal: the claim of an attachment gets the owner of a repeated ADD.
//!
//! A container that is restarted keeps its id. If its DEL was lost, as by a power failure, its claim still names the
//! network namespace and the boot of before. By these the node would take the claim for abandoned.

use tracing::{info, instrument};
use whereabouts_clock::Clock;
use whereabouts_core::claim::{Ask, Claim};
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::Renewed;
use whereabouts_store::keys::Key;
use whereabouts_store::snapshot::Query;
use whereabouts_store::{Purpose, Store};

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
        owner: ask.owner.or(&claim.value.owner),
        ..ask.claim(claim.value.held.clone(), session.clock().since_epoch())
    };
    let mut draft = session.draft();
    let key = Key::Claim(ask.attachment.clone());
    draft
        .is_for(Purpose::Renew)
        .modified(&key, claim.modified)
        .in_own_cluster()
        .renew_claim(&ask.attachment, &claim.value, &renewed);
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
            fence
                .is_for(Purpose::Fence)
                .modified(&key, claim.modified)
                .touch(&key);
            session.settle(&fence).await?;
            Ok(Renewed::Changed)
        }
    }
}
