//! Promise 10, progress. No process passes a lock or takes another's place. No process waits where there is no lock.
//! A process that gives up a lock hands it to a waiter. The checks at the ends of processes show that everything ends
//! in time.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::claim::{Attachment, Claim, RangeId};

use super::change::Change;
use super::change::LockAt;
use super::ledger::Ledger;
use super::seen::Seen;
use crate::vocabulary::ProcessId;

pub(super) fn check(ledger: &Ledger, change: &Change, by: Option<&Seen>) -> Result<(), String> {
    if let Some(replaced) = change.replaced.first() {
        let attachment = &replaced.attachment;
        return Err(format!(
            "a ticket of {attachment} took the place of another"
        ));
    }
    // The end of a lease wakes nobody.
    let Some(by) = by else { return Ok(()) };
    waits_for_somebody(ledger, change)?;
    wakes_the_next(ledger, change, by)?;
    passes_nobody(ledger, change, by)
}

/// The lease of a lock ends under its holder only if something has struck that.
pub(super) fn keeps_its_lease(
    processes: &BTreeMap<ProcessId, Seen>,
    change: &Change,
) -> Result<(), String> {
    for (queue, before) in &change.locks_before {
        let Some(before) = before else { continue };
        let is_holder = |seen: &&Seen| seen.leases.contains(&before.lease);
        let holder = processes.values().find(is_holder);
        if holder.is_some_and(|holder| holder.ended.is_none() && !holder.is_struck) {
            let attachment = &before.holder.attachment;
            return Err(format!(
                "{attachment} let the lease of its lock of {queue} end"
            ));
        }
    }
    Ok(())
}

/// The last process of `attachment` ends, in good order: it leaves no lock that is offered to it.
pub(super) fn leaves_no_lock(
    ledger: &Ledger,
    processes: &BTreeMap<ProcessId, Seen>,
    attachment: &Attachment,
) -> Result<(), String> {
    let is_of_it = |seen: &&Seen| seen.attachment.as_ref().is_none_or(|of| of == attachment);
    let running = processes.values().filter(|seen| seen.ended.is_none());
    if running.filter(is_of_it).count() > 1 {
        return Ok(());
    }
    let is_its = |lock: &LockAt| !lock.is_held() && lock.holder.attachment == *attachment;
    match ledger.locks().iter().find(|(_, lock)| is_its(lock)) {
        None => Ok(()),
        Some((queue, _)) => Err(format!(
            "{attachment} left, and the lock of {queue} is offered to it"
        )),
    }
}

/// A process that puts a ticket leaves it to the process that has the lock, or to which the lock is offered.
fn waits_for_somebody(ledger: &Ledger, change: &Change) -> Result<(), String> {
    for (queue, before) in &change.queues_before {
        let is_new = |id| !before.iter().any(|ticket| ticket.id == id);
        let newcomer = ledger
            .queue(queue)
            .iter()
            .find(|ticket| is_new(ticket.id.clone()));
        if let Some(newcomer) = newcomer
            && ledger.lock_before(queue, change).is_none()
        {
            let attachment = &newcomer.id.attachment;
            return Err(format!(
                "{attachment} waits for the lock of {queue}, which is free"
            ));
        }
    }
    Ok(())
}

fn wakes_the_next(ledger: &Ledger, change: &Change, by: &Seen) -> Result<(), String> {
    let queues: BTreeSet<&RangeId> = change
        .queues_before
        .keys()
        .chain(change.locks_before.keys())
        .collect();
    for queue in queues {
        let (lock, before) = (ledger.locks().get(queue), ledger.lock_before(queue, change));
        if lock.is_some_and(|lock| lock.is_held() || by.may_use(lock)) {
            continue;
        }
        let waiting = ledger.queue(queue);
        if let Some(lock) = lock {
            if before.is_some_and(|before| !before.is_held() && before.holder == lock.holder) {
                continue;
            }
            let to = &lock.holder.attachment;
            if !waiting.iter().any(|ticket| ticket.id.attachment == *to) {
                return Err(format!("the lock of {queue} is offered to nobody"));
            }
        }
        let was_held = before.is_some_and(|lock| lock.is_held() || by.may_use(lock));
        let is_woken = waiting
            .iter()
            .any(|ticket| change.touched.contains(&ticket.id));
        // One that is answered does not ask, and one that this version cannot read has its timer.
        let mut asking = waiting
            .iter()
            .filter(|ticket| !ticket.is_answered && !ticket.is_newer);
        if let Some(next) = asking.next()
            && was_held
            && !is_woken
        {
            let waits = &next.id.attachment;
            return Err(format!(
                "{by} left the lock of {queue} to nobody, and did not wake {waits}"
            ));
        }
    }
    Ok(())
}

fn passes_nobody(ledger: &Ledger, change: &Change, by: &Seen) -> Result<(), String> {
    let locks = ledger.locks().values();
    let before = change.locks_before.values().flatten();
    let holds_one = locks.chain(before).any(|lock| by.may_use(lock));
    if holds_one || change.moves() {
        return Ok(());
    }
    let claims = change.given.iter().chain(&change.taken);
    let ranges =
        claims.flat_map(|(_, claim): &(_, Claim)| claim.held.iter().map(|held| &held.range));
    for range in ranges {
        if let Some(lock) = ledger.lock_before(range, change) {
            let holder = &lock.holder.attachment;
            return Err(format!(
                "{by} passed the lock of {range}, which {holder} has or had last"
            ));
        }
    }
    Ok(())
}
