//! Promise 9, in use: nothing frees or changes what a live attachment holds.

use std::collections::BTreeMap;

use whereabouts_core::claim::{Attachment, Held};

use super::change::Change;

pub(super) fn check(live: &BTreeMap<Attachment, Vec<Held>>, change: &Change) -> Result<(), String> {
    if let Some((attachment, claim)) = change
        .taken
        .iter()
        .find(|(attachment, _)| live.contains_key(attachment))
    {
        return Err(format!("{attachment} is in use and lost {claim}"));
    }
    let changed = change
        .rewritten
        .iter()
        .find(|(attachment, _, now)| live.get(attachment).is_some_and(|held| *held != now.held));
    match changed {
        Some((attachment, before, now)) => Err(format!(
            "{attachment} is in use and holds {now} instead of {before}"
        )),
        None => Ok(()),
    }
}
