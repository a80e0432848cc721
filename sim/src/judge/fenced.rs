//! Promise 7, fenced: only who holds the lock of a queue serves its tickets, and commits batches.

use whereabouts::store::keys::TicketId;

use super::ledger::TicketAt;
use super::{Change, Ledger, Seen};
use crate::step::Step;

pub(super) fn check(
    ledger: &Ledger,
    change: &Change,
    by: Option<&Seen>,
    step: Option<Step>,
) -> Result<(), String> {
    // The end of a lease, and nothing else, deletes tickets by itself.
    let Some(by) = by else { return Ok(()) };
    serves_what_it_locks(change, by)?;
    match step {
        Some(Step::Batch) => holds_a_lock(ledger, change, by),
        _ => Ok(()),
    }
}

fn serves_what_it_locks(change: &Change, by: &Seen) -> Result<(), String> {
    let left = change.left.iter().map(|ticket| &ticket.id);
    let served = left.chain(&change.answered).find(|id| !is_own(by, id));
    let Some(served) = served else { return Ok(()) };
    let queue = change.queues_before.get(&served.queue);
    let first = queue.and_then(|queue| queue.first());
    if first.is_some_and(|first| is_own(by, &first.id) && is_locked_by(by, first)) {
        return Ok(());
    }
    Err(format!(
        "{:?} of {:?} served {:?}, while the lock was held by {first:?}",
        by.verb, by.attachment, served.attachment
    ))
}

fn holds_a_lock(ledger: &Ledger, change: &Change, by: &Seen) -> Result<(), String> {
    let unchanged = ledger
        .queues()
        .filter(|(queue, _)| !change.queues_before.contains_key(queue));
    let mut before = unchanged.chain(&change.queues_before);
    let locks = |tickets: &[TicketAt]| tickets.first().is_some_and(|first| is_locked_by(by, first));
    if before.any(|(_, tickets)| locks(tickets)) {
        return Ok(());
    }
    Err(format!(
        "{:?} of {:?} committed a batch, and holds no lock",
        by.verb, by.attachment
    ))
}

fn is_own(by: &Seen, id: &TicketId) -> bool {
    by.attachment
        .as_ref()
        .is_none_or(|attachment| *attachment == id.attachment)
}

fn is_locked_by(by: &Seen, first: &TicketAt) -> bool {
    by.leases.contains(&first.lease)
}
