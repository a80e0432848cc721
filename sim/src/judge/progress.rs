//! Promise 10, progress: nobody passes a queue, and whoever deletes the oldest ticket by a commit wakes
//! the next. That everything ends in time is seen where processes end.

use std::collections::BTreeMap;

use whereabouts::claim::Claim;

use super::ledger::TicketAt;
use super::{Change, Ledger, Seen};
use crate::process::ProcessId;

pub(super) fn check(ledger: &Ledger, change: &Change, by: Option<&Seen>) -> Result<(), String> {
    // The end of a lease wakes nobody.
    let Some(by) = by else { return Ok(()) };
    wakes_the_next(ledger, change)?;
    passes_nobody(ledger, change, by)
}

/// The lease of a ticket ends under a process only if something has struck that.
pub(super) fn keeps_its_lease(
    processes: &BTreeMap<ProcessId, Seen>,
    change: &Change,
) -> Result<(), String> {
    for ticket in &change.left {
        let is_owner = |seen: &&Seen| seen.leases.contains(&ticket.lease);
        let owner = processes.values().find(is_owner);
        if owner.is_some_and(|owner| owner.ended.is_none() && !owner.is_struck) {
            let (attachment, queue) = (&ticket.id.attachment, &ticket.id.queue);
            return Err(format!(
                "{attachment} let the lease of its ticket for {queue} end"
            ));
        }
    }
    Ok(())
}

fn wakes_the_next(ledger: &Ledger, change: &Change) -> Result<(), String> {
    for (queue, before) in &change.queues_before {
        // Who became the oldest by the end of a lease cannot know it: the next one's timer must do.
        let aware = before.first().filter(|oldest| !oldest.is_unaware);
        let oldest_left = aware.filter(|oldest| change.left.contains(oldest));
        let next = ledger.queue(queue).first();
        if let (Some(oldest), Some(next)) = (oldest_left, next)
            && !change.touched.contains(&next.id)
        {
            let (gone, left) = (&oldest.id.attachment, &next.id.attachment);
            return Err(format!(
                "{gone} left the queue of {queue}, and did not wake {left}"
            ));
        }
    }
    Ok(())
}

fn passes_nobody(ledger: &Ledger, change: &Change, by: &Seen) -> Result<(), String> {
    let is_own = |ticket: &TicketAt| by.leases.contains(&ticket.lease);
    if change.left.iter().any(is_own) || ledger.tickets().any(is_own) {
        return Ok(());
    }
    let claims = change.given.iter().chain(&change.taken);
    let ranges =
        claims.flat_map(|(_, claim): &(_, Claim)| claim.held.iter().map(|held| &held.range));
    for range in ranges {
        if let Some(first) = ledger.queue(range).first() {
            let (verb, waits) = (by.verb, &first.id.attachment);
            return Err(format!(
                "a {verb} passed the queue of {range}, in which {waits} waits"
            ));
        }
    }
    Ok(())
}
