//! The end of a durable owner: its addresses become free.
//!
//! The commit waits in no queue. It checks the owner and each block that it writes, so it is safe whoever has the lock. It
//! only frees addresses, so it passes nobody who waits for one.

use std::collections::BTreeSet;

use tracing::{info, instrument};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::{self, Plan, Stored};
use whereabouts_core::claim::Held;
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_core::registry::Ended;
use whereabouts_store::snapshot::{Query, Snapshot};
use whereabouts_store::{Purpose, Revision, Store};

use crate::session::{Commit, Session};

/// Ends `owner`, if it rests and nothing has written it since it was read as `state`.
#[instrument(level = "debug", skip_all)]
pub(crate) async fn end<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    owner: &DurableOwner,
    state: &Stored<OwnerState>,
) -> Result<Ended, Failure> {
    let OwnerState::Resting { held, .. } = &state.value else {
        return Ok(Ended::Changed(Some(state.clone())));
    };
    let queries = queries(owner, held);
    let mut pauses = session.pauses();
    let mut snapshot = session.snapshot(&queries).await?;
    loop {
        let now = snapshot.facts().owner(owner).expect("it was read");
        if now.map(|now| now.modified) != Some(state.modified) {
            return Ok(Ended::Changed(now.cloned()));
        }
        let plan = decide(session, &mut snapshot, (owner, held, state.modified)).await?;
        let mut draft = session.draft();
        draft.is_for(Purpose::End);
        draft.plan(&plan, session.clock().since_epoch());
        draft.read_otherwise(queries.clone());
        match session.commit(draft).await? {
            Commit::Done(_) => {
                info!(%owner, "the durable owner has ended");
                return Ok(Ended::Done);
            }
            Commit::DoneUnread(corrupt) => unreachable!("nothing was read after: {corrupt}"),
            Commit::Conflict(seen) => {
                session.pause(&mut pauses, "a block has changed").await?;
                snapshot = seen;
            }
            Commit::Unknown(reason) => {
                session.pause(&mut pauses, &reason).await?;
                let mut fence = session.draft();
                fence.is_for(Purpose::Fence).fence(&plan);
                fence.read_anyway(queries.clone());
                let seen = session.settle(&fence).await?;
                return Ok(match seen.facts().owner(owner).expect("it was read") {
                    None => Ended::Done,
                    changed => Ended::Changed(changed.cloned()),
                });
            }
        }
    }
}

/// The plan of the end, with as many reads as that takes.
async fn decide<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    snapshot: &mut Snapshot,
    (owner, held, modified): (&DurableOwner, &[Held], Revision),
) -> Result<Plan, Failure> {
    for _ in 0..limits::READS_PER_DECISION {
        match allocator::end(snapshot.facts(), owner, held, modified) {
            Ok(plan) => return Ok(plan),
            Err(missing) => {
                let missing: Vec<Query> = missing.into_iter().map(Query::Blocks).collect();
                session.extend(snapshot, &missing).await?;
            }
        }
    }
    Err(Failure::Undecided(limits::READS_PER_DECISION))
}

fn queries(owner: &DurableOwner, held: &[Held]) -> Vec<Query> {
    let blocks: BTreeSet<Query> = held
        .iter()
        .flat_map(|held| Query::block(&held.slot()))
        .collect();
    let owner = Query::Owner(owner.clone());
    [owner].into_iter().chain(blocks).collect()
}
