//! Promise 7, fenced: only who holds the lock of a queue serves its tickets, and commits batches.

use super::change::Change;
use super::ledger::Ledger;
use super::seen::Seen;
use crate::vocabulary::Step;

pub(super) fn check(
    ledger: &Ledger,
    change: &Change,
    by: Option<&Seen>,
    step: Option<Step>,
) -> Result<(), String> {
    // The end of a lease serves nobody.
    let Some(by) = by else { return Ok(()) };
    takes_no_lock_away(ledger, change, by)?;
    serves_what_it_locks(ledger, change, by)?;
    match step {
        Some(Step::Batch) => holds_a_lock(ledger, change, by),
        _ => Ok(()),
    }
}

fn takes_no_lock_away(ledger: &Ledger, change: &Change, by: &Seen) -> Result<(), String> {
    for (queue, before) in &change.locks_before {
        let Some(before) = before.as_ref().filter(|before| before.is_held()) else {
            continue;
        };
        let now = ledger.locks().get(queue);
        let gives_up = by.may_use(before);
        if let Some(now) = now.filter(|now| now.lease != before.lease && !gives_up) {
            let (from, by) = (&before.holder.attachment, &now.holder.attachment);
            return Err(format!("{by} took the lock of {queue} away from {from}"));
        }
    }
    Ok(())
}

fn serves_what_it_locks(ledger: &Ledger, change: &Change, by: &Seen) -> Result<(), String> {
    let left = change.left.iter().map(|ticket| &ticket.id);
    let served = left
        .chain(&change.answered)
        .find(|id| !by.is_about(&id.attachment));
    let Some(served) = served else { return Ok(()) };
    let lock = ledger.lock_before(&served.queue, change);
    if lock.is_some_and(|lock| by.may_use(lock)) {
        return Ok(());
    }
    let (queue, attachment) = (&served.queue, &served.attachment);
    let holder = lock.map_or_else(
        || "was free".to_owned(),
        |lock| format!("had {} as its holder", lock.holder.attachment),
    );
    Err(format!(
        "{by} served {attachment}, while the lock of {queue} {holder}"
    ))
}

fn holds_a_lock(ledger: &Ledger, change: &Change, by: &Seen) -> Result<(), String> {
    let unchanged = ledger
        .locks()
        .iter()
        .filter(|(queue, _)| !change.locks_before.contains_key(queue));
    let changed = change.locks_before.values().flatten();
    let mut before = unchanged.map(|(_, lock)| lock).chain(changed);
    if before.any(|lock| by.may_use(lock)) {
        return Ok(());
    }
    Err(format!("{by} committed a batch, and holds no lock"))
}
