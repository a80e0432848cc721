//! Repair: one thing that an audit has found is put in order, if nothing of it has changed.

use tracing::info;

use crate::clock::Clock;
use crate::queue::write_removal;
use crate::repair::Repair;
use crate::session::{Commit, Failure, Session};
use crate::snapshot::Query;
use crate::store::Store;
use crate::store::keys::{Key, TicketId};

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
    match repair {
        Repair::Block(block) => block.write(&mut draft),
        Repair::Ticket(key) => {
            let Ok(Key::Ticket(id)) = session.keys().decode(key.as_bytes()) else {
                return Ok(Repaired::Changed);
            };
            let queue = Query::Tickets {
                queue: id.queue.clone(),
                limit: 2,
            };
            let snapshot = session
                .snapshot(&[Query::Ticket(id.clone()), queue])
                .await?;
            let ticket = snapshot.ticket(&id).expect("the ticket was read");
            let Some(stale) = ticket.filter(|ticket| ticket.lease == 0) else {
                return Ok(Repaired::Changed);
            };
            let TicketId { queue, .. } = &id;
            let waiting = snapshot.queue(queue).expect("the queue was read");
            write_removal(&mut draft, waiting, queue, key.as_bytes(), stale.modified);
        }
    }
    match session.commit(draft).await? {
        Commit::Done(_) => {
            info!(%repair, "repaired");
            Ok(Repaired::Done)
        }
        Commit::Conflict(_) | Commit::Unknown(_) => Ok(Repaired::Changed),
        Commit::DoneUnread(corrupt) => unreachable!("nothing was read after: {corrupt}"),
    }
}
