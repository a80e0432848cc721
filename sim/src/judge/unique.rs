//! Promise 1, unique: at no revision do two claims of a pool hold one address.

use super::change::Change;
use super::ledger::Ledger;

pub(super) fn check(ledger: &Ledger, change: &Change) -> Result<(), String> {
    let Some((pool, address)) = change.given_twice.first() else {
        return Ok(());
    };
    let holds = |claim: &whereabouts_core::claim::Claim| {
        claim
            .held
            .iter()
            .any(|held| held.range.pool == *pool && held.address == *address)
    };
    let holders = ledger.claims().iter().filter(|(_, claim)| holds(claim));
    let holders: Vec<String> = holders
        .map(|(attachment, _)| attachment.to_string())
        .collect();
    Err(format!(
        "{address} of pool {pool} is held by {}",
        holders.join(" and by ")
    ))
}
