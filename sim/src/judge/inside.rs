//! Promise 3, inside: a given address is one that its request may be given.

use super::asks::Asks;
use super::change::Change;

pub(super) fn check(asks: &Asks, change: &Change) -> Result<(), String> {
    for (attachment, claim) in &change.given {
        // How many addresses it has is the matter of promise 5.
        let mut of_size = asks.of(attachment).iter();
        let is_of_size = of_size.any(|(ask, _)| ask.wants.len() == claim.held.len());
        let is_asked = !asks.of(attachment).is_empty();
        if asks.met_by(attachment, claim).is_empty() && (is_of_size || !is_asked) {
            return Err(format!(
                "{attachment} was given what it never asked for: {claim}"
            ));
        }
    }
    Ok(())
}
