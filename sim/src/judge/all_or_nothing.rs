//! Promise 5, all or nothing: a request with several ranges gets all its addresses or none.

use super::asks::Asks;
use super::change::Change;

pub(super) fn check(asks: &Asks, change: &Change) -> Result<(), String> {
    let rewritten = change
        .rewritten
        .iter()
        .map(|(attachment, _, now)| (attachment, now));
    let given = change
        .given
        .iter()
        .map(|(attachment, claim)| (attachment, claim));
    for (attachment, claim) in given.chain(rewritten) {
        let held = claim.held.len();
        let sizes: Vec<usize> = asks
            .of(attachment)
            .iter()
            .map(|(ask, _)| ask.wants.len())
            .collect();
        if !sizes.is_empty() && !sizes.contains(&held) {
            return Err(format!(
                "{attachment} holds {held} of {sizes:?} addresses: {claim}"
            ));
        }
    }
    Ok(())
}
