//! Promise 9, in use, where a claim is taken over: it is one of an old container of the same pod and node. And promise
//! 6, same again: the pod keeps its address.

use super::asks::Asks;
use super::change::Change;
use super::ledger::Ledger;

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

/// No other address is given while an old container of the pod, which was there when the ADD was asked, holds one that
/// is wanted.
pub(super) fn check_kept(ledger: &Ledger, asks: &Asks, change: &Change) -> Result<(), String> {
    if change.taken_over().is_some() {
        return Ok(());
    }
    for (new, claim) in &change.given {
        let met = asks.met_by(new, claim);
        let mut others = ledger.claims().iter().filter(|(old, _)| {
            (&old.network, &old.interface) == (&new.network, &new.interface)
                && old.container != new.container
        });
        let kept = others.find(|(old, before)| {
            claim.owner.pod_uid.is_some()
                && claim.owner.node.is_some()
                && before.owner.home() == claim.owner.home()
                && !met.is_empty()
                && met.iter().all(|(ask, since)| {
                    ask.may_be_given(&before.held) && ledger.holds_since(old, *since)
                })
        });
        if let Some((old, before)) = kept {
            return Err(format!(
                "{new} was given {claim}, and {old} of the same pod had {before}"
            ));
        }
    }
    Ok(())
}
