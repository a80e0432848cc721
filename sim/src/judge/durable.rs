//! Promise 13, stays: a durable owner's addresses never change while it exists, and only attachments of its name have them.

use whereabouts_core::claim::{Attachment, Claim, Held};
use whereabouts_core::durable::{DurableOwner, OwnerState};

use super::change::Change;
use super::ledger::Ledger;
use super::seen::Seen;

/// The addresses of each owner that was written go from one record to the next, all of them and unchanged.
pub(super) fn check(change: &Change) -> Result<(), String> {
    change.owners.iter().try_for_each(|(owner, before, now)| {
        let given = |container| held_of(&change.given, &owner.attachment(container));
        let taken = |container| held_of(&change.taken, &owner.attachment(container));
        let is_right = match (before, now) {
            (None, Some(OwnerState::Attached(_))) | (Some(OwnerState::Resting { .. }), None) => {
                true
            }
            (Some(OwnerState::Resting { held, .. }), Some(OwnerState::Attached(to))) => {
                given(to) == Some(held)
            }
            (Some(OwnerState::Attached(from)), Some(OwnerState::Resting { held, .. })) => {
                taken(from) == Some(held)
            }
            (Some(OwnerState::Attached(from)), Some(OwnerState::Attached(to))) => {
                from == to || taken(from).is_some() && taken(from) == given(to)
            }
            // A fence writes it as it is.
            (Some(OwnerState::Resting { .. }), Some(OwnerState::Resting { .. })) => before == now,
            (None, Some(OwnerState::Resting { .. }))
            | (Some(OwnerState::Attached(_)) | None, None) => false,
        };
        is_right
            .then_some(())
            .ok_or_else(|| format!("the durable owner {owner} was {before:?} and is {now:?}"))
    })
}

fn held_of<'c>(claims: &'c [(Attachment, Claim)], of: &Attachment) -> Option<&'c Vec<Held>> {
    let found = claims.iter().find(|(attachment, _)| attachment == of);
    found.map(|(_, claim)| &claim.held)
}

/// Durable claims and owners name each other, as far as `change` is about them.
pub(super) fn check_bound(ledger: &Ledger, change: &Change) -> Result<(), String> {
    for attachment in &change.placed {
        let claim = ledger.claims.get(attachment);
        let owner = claim.and_then(|claim| DurableOwner::of(attachment, &claim.owner));
        let names =
            |state: &OwnerState| *state == OwnerState::Attached(attachment.container.clone());
        if let Some(owner) = &owner
            && !ledger.owners.get(owner).is_some_and(names)
        {
            return Err(format!(
                "{attachment} has a durable claim, and {owner} does not name it"
            ));
        }
        let mut naming = ledger.owners.iter().filter(|(other, state)| {
            names(state) && other.attachment(&attachment.container) == *attachment
        });
        if let Some((other, _)) = naming.find(|(other, _)| Some(*other) != owner.as_ref()) {
            return Err(format!(
                "{other} names {attachment}, which has no claim of it"
            ));
        }
    }
    Ok(())
}

/// An ADD was told that `holder` has the addresses of its durable owner. That was so at some revision since its start.
pub(super) fn check_in_use(
    ledger: &Ledger,
    seen: &Seen,
    owner: &DurableOwner,
    holder: &Attachment,
) -> Result<(), String> {
    let had = OwnerState::Attached(holder.container.clone());
    let mut states = ledger.owner_since(owner, seen.started);
    if states.any(|state| state == Some(&had)) {
        return Ok(());
    }
    Err(format!(
        "{seen} was told that {holder} has the addresses of {owner}, which was true at no revision since {}",
        seen.started
    ))
}

/// An ADD was told that its durable owner keeps `held`. That was so at some revision since its start.
pub(super) fn check_unwanted(
    ledger: &Ledger,
    seen: &Seen,
    owner: &DurableOwner,
    held: &[Held],
) -> Result<(), String> {
    let ask = seen.ask.as_ref().expect("an ADD asks");
    let mut states = ledger.owner_since(owner, seen.started);
    if !ask.may_be_given(held) && states.any(|state| state.is_some()) {
        return Ok(());
    }
    Err(format!("{seen} was told that {owner} keeps {held:?}"))
}
