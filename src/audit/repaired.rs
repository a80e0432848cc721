//! The execution of one repair. It writes only if its entries have not changed since the audit.

use tracing::info;

use crate::repair::Repair;
use whereabouts_clock::Clock;
use whereabouts_core::failure::Failure;
use whereabouts_protocol::session::{Commit, Session};
use whereabouts_store::Store;

/// The outcome of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// The repair is written.
    Done,
    /// Nothing was written, or the outcome is unknown. The entries have changed and need another
    /// audit.
    Changed,
}

/// Carries out `repair`. An unknown outcome needs no settling: whenever the transaction arrives, it
/// checks its conditions.
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
