//! Repair: one thing that an audit has found is put in order, if nothing of it has changed.

use tracing::info;

use crate::repair::Repair;
use whereabouts_clock::Clock;
use whereabouts_core::failure::Failure;
use whereabouts_protocol::session::{Commit, Session};
use whereabouts_store::Store;

/// What became of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It is done.
    Done,
    /// Nothing was written, or it is not known: what it was about has changed, and is to be looked
    /// at again.
    Changed,
}

/// Carries out `repair`. One whose outcome is unknown needs no settling: what it rests on is
/// checked whenever it arrives.
pub async fn repair<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    repair: &Repair,
) -> Result<Repaired, Failure> {
    let mut draft = session.draft();
    repair.write(&mut draft);
    match session.commit(draft).await? {
        Commit::Done(_) => {
            info!(%repair, "repaired");
            Ok(Repaired::Done)
        }
        Commit::Conflict(_) | Commit::Unknown(_) => Ok(Repaired::Changed),
        Commit::DoneUnread(corrupt) => unreachable!("nothing was read after: {corrupt}"),
    }
}
