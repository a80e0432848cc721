//! Promise 7, fenced: only who holds the lock of a queue serves its tickets.

use whereabouts::store::keys::TicketId;

use super::{Change, Seen};

pub(super) fn check(change: &Change, by: Option<&Seen>) -> Result<(), String> {
    // The end of a lease, and nothing else, deletes tickets by itself.
    let Some(by) = by else { return Ok(()) };
    let left = change.left.iter().map(|ticket| &ticket.id);
    let served = left.chain(&change.answered).find(|id| !is_own(by, id));
    let Some(served) = served else { return Ok(()) };
    let queue = change
        .queues_before
        .get(&served.queue)
        .map_or(&[][..], Vec::as_slice);
    match queue.first() {
        Some(first) if is_own(by, &first.id) && by.leases.contains(&first.lease) => Ok(()),
        first => Err(format!(
            "{:?} of {:?} served {:?}, while the lock was held by {first:?}",
            by.verb, by.attachment, served.attachment
        )),
    }
}

fn is_own(by: &Seen, id: &TicketId) -> bool {
    by.attachment
        .as_ref()
        .is_none_or(|attachment| *attachment == id.attachment)
}
