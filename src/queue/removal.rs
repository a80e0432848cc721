//! Taking a ticket that nobody is to serve out of its queue.

use crate::clock::Clock;
use crate::draft::Draft;
use crate::session::{Commit, Failure, Session};
use crate::snapshot::{Query, Queued, Seated, Snapshot, Stored};
use crate::store::keys::{Key, Seat};
use crate::store::{Compare, Revision, Store, Write, record};

/// Adds to a transaction that the ticket at `seat`, last written at `modified`, is deleted without being
/// served. If nobody has the lock, or it is offered to this one, the oldest of the others is woken.
pub(super) fn write_removal(
    draft: &mut Draft<'_>,
    snapshot: &Snapshot,
    seat: &Seat,
    modified: Revision,
) {
    let ticket = Key::Ticket(seat.clone());
    let key = draft.keys().encode(&ticket);
    draft.modified(&ticket, modified).delete(&ticket);
    let offered = snapshot.offered_to(seat);
    let lock = snapshot.lock(&seat.queue).expect("the lock was read");
    if lock.is_some() && offered.is_none() {
        return;
    }
    let waiting = snapshot.queue(&seat.queue).expect("the queue was read");
    let next = waiting.iter().find(|other| other.key != key);
    if let Some(offered) = offered {
        let lock = Key::Lock(seat.queue.clone());
        draft.modified(&lock, offered.modified);
        match next.map(|next| &next.request) {
            Some(Ok((id, _))) => draft.put(&lock, record::encode_lock(&id.into())),
            Some(Err(_)) => draft.touch(&lock),
            None => draft.delete(&lock),
        };
    }
    match next {
        Some(next) => write_wake(draft, next),
        None => drop(draft.nobody_else_in(&seat.queue, &key)),
    }
}

/// Adds to a transaction that the owner of a ticket is woken, if it is still there.
pub(super) fn write_wake(draft: &mut Draft<'_>, next: &Queued) {
    draft
        .compare(Compare::Created(next.key.clone(), next.created))
        .write(Write::Touch(next.key.clone()));
}

/// What a removal of the ticket at `seat` is decided on.
pub(super) fn queries_of_removal(seat: &Seat) -> [Query; 3] {
    let oldest = Query::Tickets {
        queue: seat.queue.clone(),
        limit: 2,
    };
    let lock = Query::Lock(seat.queue.clone());
    [Query::Seat(seat.clone()), lock, oldest]
}

/// Deletes the ticket at `seat`, if there is one and it is `unwanted`: nobody is to serve it. Who waits with
/// it learns that from its watch.
pub(crate) async fn take_out<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    seat: &Seat,
    unwanted: impl Fn(&Stored<Seated>) -> bool,
) -> Result<(), Failure> {
    let queries = queries_of_removal(seat);
    let mut pauses = session.pauses();
    let mut snapshot = session.snapshot(&queries).await?;
    loop {
        let seated = snapshot.seat(seat).expect("the seat was read");
        let Some(ticket) = seated.filter(|ticket| unwanted(ticket)) else {
            return Ok(());
        };
        let mut draft = session.draft();
        write_removal(&mut draft, &snapshot, seat, ticket.modified);
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
