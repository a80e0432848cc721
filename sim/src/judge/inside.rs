//! Promise 3, inside: a given address is one that its request may be given.

use std::collections::BTreeMap;

use whereabouts::claim::{Ask, Attachment, Choice};
use whereabouts::store::Revision;

use super::Change;

pub(super) fn check(
    asks: &BTreeMap<Attachment, (Ask, Revision)>,
    change: &Change,
) -> Result<(), String> {
    for (attachment, claim) in &change.given {
        let Some((ask, _)) = asks.get(attachment) else {
            return Err(format!(
                "{attachment} was given what it never asked for: {claim}"
            ));
        };
        for (want, held) in ask.wants.iter().zip(&claim.held) {
            let inside = match &want.choice {
                Choice::Exactly(address) => *address == held.address,
                Choice::Lowest(intervals) => {
                    intervals
                        .iter()
                        .any(|interval| interval.contains(held.address))
                        && !held.address.ends_in_zero()
                }
            };
            if !inside || want.range != held.range {
                return Err(format!(
                    "{attachment} was given {} for {want:?}",
                    held.address
                ));
            }
        }
    }
    Ok(())
}
