//! Taking a ticket that nobody is to serve out of its queue.

use crate::clock::Clock;
use crate::draft::Draft;
use crate::session::{Commit, Failure, Session};
use crate::snapshot::{Query, Queued, Snapshot};
use crate::store::keys::{Key, TicketId};
use crate::store::{Compare, Revision, Store, Write};

/// Adds to a transaction that the ticket `id`, last written at `modified`, is deleted without being
/// served. If nobody has the lock, the oldest of the others is woken: it may have been this one who
/// was to take it.
pub(super) fn write_removal(
    draft: &mut Draft<'_>,
    snapshot: &Snapshot,
    id: &TicketId,
    modified: Revision,
) {
    let ticket = Key::Ticket(id.clone());
    let key = draft.keys().encode(&ticket);
    draft.modified(&ticket, modified).delete(&ticket);
    let lock = snapshot.lock(&id.queue).expect("the lock was read");
    if lock.is_some_and(|lock| !lock.is_offered()) {
        return;
    }
    let waiting = snapshot.queue(&id.queue).expect("the queue was read");
    if let Some(next) = waiting.iter().find(|other| other.key != key) {
        return write_wake(draft, next);
    }
    draft.nobody_else_in(&id.queue, &key);
    if let Some(offered) = lock {
        let lock = Key::Lock(id.queue.clone());
        draft.modified(&lock, offered.modified).delete(&lock);
    }
}

/// Adds to a transaction that the owner of a ticket is woken, if it is still there.
pub(super) fn write_wake(draft: &mut Draft<'_>, next: &Queued) {
    draft
        .compare(Compare::Created(next.key.clone(), next.created))
        .write(Write::Touch(next.key.clone()));
}

/// What a removal of the ticket `id` is decided on.
pub(super) fn queries_of_removal(id: &TicketId) -> [Query; 3] {
    let oldest = Query::Tickets {
        queue: id.queue.clone(),
        limit: 2,
    };
    let (ticket, lock) = (Query::Ticket(id.clone()), Query::Lock(id.queue.clone()));
    [ticket, lock, oldest]
}

/// Deletes a ticket that nobody is to serve, if it is there and `unwanted`. Who waits with it learns
/// that from its watch.
pub(crate) async fn take_out<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    id: &TicketId,
    unwanted: impl Fn(Revision) -> bool,
) -> Result<(), Failure> {
    let queries = queries_of_removal(id);
    let mut pauses = session.pauses();
    let mut snapshot = session.snapshot(&queries).await?;
    loop {
        let ticket = snapshot.ticket(id).expect("the ticket was read");
        let Some(ticket) = ticket.filter(|ticket| unwanted(ticket.created)) else {
            return Ok(());
        };
        let mut draft = session.draft();
        write_removal(&mut draft, &snapshot, id, ticket.modified);
        draft.read_otherwise(queries.iter().cloned());
        snapshot = match session.commit(draft).await? {
            Commit::Done(_) | Commit::DoneUnread(_) => return Ok(()),
            Commit::Conflict(snapshot) => snapshot,
            Commit::Unknown(reason) => {
                session.pause(&mut pauses, &reason).await?;
                session.snapshot(&queries).await?
            }
        };
    }
}
