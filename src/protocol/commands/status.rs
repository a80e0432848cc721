//! STATUS: whether an ADD could be served now.

use tracing::warn;

use super::request::{StatusRequest, WhenFull};
use crate::commands::Error;
use crate::session::Session;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Shortage;
use whereabouts_core::allocator::{self, Reach};
use whereabouts_store::Store;
use whereabouts_store::snapshot::Query;

/// Asks any member once, which may answer with what it knew a moment ago: no lock, no quorum. That
/// is enough to tell a node that works from one that does not, every few seconds on every node.
/// Where nothing is allocated, nothing is asked: an ADD needs no etcd either.
pub async fn status<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    request: &StatusRequest,
) -> Result<(), Error> {
    let queries: Vec<_> = allocator::block_questions(&request.wants, Reach::OneDemand)
        .into_iter()
        .map(Query::Blocks)
        .collect();
    if queries.is_empty() {
        // Nothing is allocated: every address is one that the config or the runtime states.
        return Ok(());
    }
    let snapshot = session
        .stale_snapshot(&queries)
        .await
        .map_err(Error::NotReady)?;
    // Where one request cannot tell, the first intervals are full, not the range.
    match allocator::shortage(snapshot.facts(), &request.wants) {
        Some(Shortage::Exhausted(range)) => match request.when_full {
            WhenFull::Error => Err(Error::Full(range)),
            WhenFull::Ok => {
                warn!(%range, "the range is full");
                Ok(())
            }
        },
        // A requested address is a pod's matter, not the node's.
        Some(Shortage::Taken(_)) | None => Ok(()),
    }
}
