//! Promise 6, same again: an ADD answers what its attachment holds, whoever made the claim.

use whereabouts_core::claim::{Attachment, Held};
use whereabouts_store::Revision;

use super::ledger::Ledger;

pub(super) fn check(
    ledger: &Ledger,
    attachment: &Attachment,
    answered: &[Held],
    started: Revision,
) -> Result<(), String> {
    let mut states = ledger.held_between(attachment, started, ledger.revision());
    if states.any(|held| held.is_some_and(|held| held == answered)) {
        return Ok(());
    }
    let answered: Vec<String> = answered
        .iter()
        .map(|held| held.address.to_string())
        .collect();
    Err(format!(
        "{attachment} was told that it holds {}, and never did",
        answered.join(", ")
    ))
}
