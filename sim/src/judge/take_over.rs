//! Promise 9, in use, where a claim is taken over: it is one of an old container of the same pod and node. And promise
//! 4: something that is wanted was not to be had.

use whereabouts_store::Revision;

use super::asks::Asks;
use super::change::Change;
use super::ledger::Ledger;
use super::lowest::is_short;

/// The old claim was one that the new container may take over.
pub(super) fn check(change: &Change) -> Result<(), String> {
    let Some(((old, before), (new, now))) = change.taken_over() else {
        return Ok(());
    };
    let is_of_pod = (&old.network, &old.interface) == (&new.network, &new.interface)
        && now.owner.pod_uid.is_some()
        && before.owner.pod_uid == now.owner.pod_uid;
    let is_of_node = now.owner.node.is_some() && before.owner.node == now.owner.node;
    if is_of_pod && is_of_node && before.held == now.held {
        return Ok(());
    }
    Err(format!(
        "{new} took over {before} of {old}, and holds {now}"
    ))
}

/// There is an instant since the ADD was asked at which it could not be given what it wants.
pub(super) fn check_need(ledger: &Ledger, asks: &Asks, change: &Change) -> Result<(), String> {
    let Some((_, (new, claim))) = change.taken_over() else {
        return Ok(());
    };
    let last = change.revision - 1;
    let was_short = asks.of(new).iter().any(|(ask, since)| {
        let mut revisions = (*since).min(last)..=last;
        revisions.any(|revision: Revision| is_short(ledger, ask, revision))
    });
    if was_short {
        return Ok(());
    }
    Err(format!("{new} took over {claim}, and was never short"))
}
