//! Taking a ticket that nobody is to serve out of its queue.

use crate::session::{Commit, Session};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Stored;
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::draft::Draft;
use whereabouts_store::keys::{Key, Keys, Seat, TicketId};
use whereabouts_store::record::{self, Ticket};
use whereabouts_store::snapshot::{Query, Queued, Seated, Snapshot};
use whereabouts_store::{Compare, Revision, Store, Write};

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
    let others: Vec<&Queued> = waiting.iter().filter(|other| other.key != key).collect();
    if let Some(offered) = offered {
        let lock = Key::Lock(seat.queue.clone());
        draft.modified(&lock, offered.modified);
        match next_of(&others).map(|next| &next.request) {
            Some(Ok((id, _))) => draft.put(&lock, record::encode_lock(&id.into())),
            Some(Err(_)) => draft.touch(&lock),
            None => draft.delete(&lock),
        };
    }
    if others.is_empty() {
        draft.nobody_else_in(&seat.queue, &key);
    }
    write_wakes(draft, &others);
}

/// Adds to a transaction that the next of `waiting` is woken, if its ticket is still there. The owner of an oldest
/// ticket that cannot be read is woken too: it may be of a newer version, and may be gone for ever.
pub(super) fn write_wakes(draft: &mut Draft<'_>, waiting: &[&Queued]) {
    let next = next_of(waiting);
    let unreadable = waiting.first().filter(|oldest| oldest.request.is_err());
    let unreadable = unreadable.filter(|oldest| next.is_none_or(|next| next.key != oldest.key));
    for woken in unreadable.copied().into_iter().chain(next) {
        draft
            .compare(Compare::Created(woken.key.clone(), woken.created))
            .write(Write::Touch(woken.key.clone()));
    }
}

/// The next in line: the oldest ticket that asks, or the oldest if none does.
fn next_of<'q>(waiting: &[&'q Queued]) -> Option<&'q Queued> {
    let mut waiting = waiting.iter().copied();
    let oldest = waiting.clone().next();
    waiting.find(|ticket| asking(ticket).is_some()).or(oldest)
}

/// Whose ticket it is, if it can be read and has not been answered.
pub(super) fn asking(ticket: &Queued) -> Option<&TicketId> {
    match &ticket.request {
        Ok((id, Ticket::Take { .. } | Ticket::Release { .. })) => Some(id),
        Ok((_, Ticket::Refused { .. })) | Err(_) => None,
    }
}

/// The larger page to read, where a whole `page` of tickets was read and none but the `own` one can be served. Tickets
/// that cannot be served must delay nobody.
pub(super) fn larger_page(page: u32, waiting: &[Queued], own: Option<&[u8]>) -> Option<u32> {
    let is_whole = u32::try_from(waiting.len()).is_ok_and(|read| read >= page);
    let is_other = |ticket: &&Queued| Some(ticket.key.as_slice()) != own;
    let mut others = waiting.iter().filter(is_other);
    let nobody_asks = others.all(|other| asking(other).is_none());
    let larger = (4 * page).clamp(limits::TICKETS_PER_READ, limits::TICKETS_PER_LOOK);
    (is_whole && nobody_asks && page < larger).then_some(larger)
}

/// The oldest tickets that a removal reads: the own one and the next.
pub(super) const REMOVAL_PAGE: u32 = 2;

/// What a removal of the ticket at `seat` is decided on.
pub(super) fn queries_of_removal(seat: &Seat, page: u32) -> [Query; 3] {
    let oldest = Query::Tickets {
        queue: seat.queue.clone(),
        limit: page,
    };
    let lock = Query::Lock(seat.queue.clone());
    [Query::Seat(seat.clone()), lock, oldest]
}

/// The same for a removal of the ticket at `seat`. It wakes the next only where nobody has the lock, or where the lock is
/// offered to this ticket.
pub(super) fn larger_page_of_removal(
    page: u32,
    snapshot: &Snapshot,
    seat: &Seat,
    keys: &Keys,
) -> Option<u32> {
    let lock = snapshot.lock(&seat.queue).expect("the lock was read");
    if lock.is_some() && snapshot.offered_to(seat).is_none() {
        return None;
    }
    let waiting = snapshot.queue(&seat.queue).expect("the queue was read");
    let own = keys.encode(&Key::Ticket(seat.clone()));
    larger_page(page, waiting, Some(&own))
}

/// Deletes the ticket at `seat`, if there is one and it is `unwanted`: nobody is to serve it. Who waits with
/// it learns that from its watch.
pub(crate) async fn take_out<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    seat: &Seat,
    unwanted: impl Fn(&Stored<Seated>) -> bool,
) -> Result<(), Failure> {
    let mut page = REMOVAL_PAGE;
    let mut queries = queries_of_removal(seat, page);
    let mut pauses = session.pauses();
    let mut snapshot = session.snapshot(&queries).await?;
    loop {
        let seated = snapshot.seat(seat).expect("the seat was read");
        let Some(ticket) = seated.filter(|ticket| unwanted(ticket)) else {
            return Ok(());
        };
        if let Some(larger) = larger_page_of_removal(page, &snapshot, seat, session.keys()) {
            page = larger;
            queries = queries_of_removal(seat, page);
            snapshot = session.snapshot(&queries).await?;
            continue;
        }
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
