//! Promise 8, no leak: when everything was deleted, nothing is left.

use super::Ledger;

pub(super) fn check(ledger: &Ledger) -> Result<(), String> {
    if let Some((attachment, claim)) = ledger.claims().first_key_value() {
        return Err(format!("{attachment} was deleted and still holds {claim}"));
    }
    if let Some(ticket) = ledger.tickets().next() {
        return Err(format!("a ticket of {} is left", ticket.id.attachment));
    }
    if let Some((queue, lock)) = ledger.locks().first_key_value() {
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
