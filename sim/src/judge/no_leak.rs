//! Promise 8, no leak: when everything was deleted, nothing is left. But the lock that is offered to one who was
//! killed: it is for the next who comes.

use super::ledger::Ledger;

pub(super) fn check(ledger: &Ledger) -> Result<(), String> {
    if let Some((attachment, claim)) = ledger.claims().first_key_value() {
        return Err(format!("{attachment} was deleted and still holds {claim}"));
    }
    if let Some((owner, _)) = ledger.owners().first_key_value() {
        return Err(format!("the durable owner {owner} was ended and is left"));
    }
    if let Some(ticket) = ledger.tickets().next() {
        return Err(format!("a ticket of {} is left", ticket.id.attachment));
    }
    let mut locks = ledger.locks().iter();
    if let Some((queue, lock)) = locks.find(|(_, lock)| lock.is_held()) {
        let holder = &lock.holder.attachment;
        return Err(format!("the lock of {queue}, which {holder} had, is left"));
    }
    match ledger.set_bits() {
        0 => Ok(()),
        bits => Err(format!(
            "nobody is left, and {bits} addresses are marked as taken"
        )),
    }
}
