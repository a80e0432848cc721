//! Promise 5, all or nothing: a request with several ranges gets all its addresses or none.

use std::collections::BTreeMap;

use whereabouts::claim::{Ask, Attachment};
use whereabouts::store::Revision;

use super::Change;

pub(super) fn check(
    asks: &BTreeMap<Attachment, (Ask, Revision)>,
    change: &Change,
) -> Result<(), String> {
    let rewritten = change
        .rewritten
        .iter()
        .map(|(attachment, _, now)| (attachment, now));
    let given = change
        .given
        .iter()
        .map(|(attachment, claim)| (attachment, claim));
    for (attachment, claim) in given.chain(rewritten) {
        let Some((ask, _)) = asks.get(attachment) else {
            continue;
        };
        let wanted = ask.wants.len();
        if claim.held.len() != wanted {
            let held = claim.held.len();
            return Err(format!(
                "{attachment} holds {held} of {wanted} addresses: {claim}"
            ));
        }
    }
    Ok(())
}
