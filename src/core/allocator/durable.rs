//! Addresses that stay: a durable owner's addresses move between its own record and the claims of its attachments.
//!
//! No move touches a block, as the addresses stay taken. So a move needs no lock, like a take-over.

use super::predecessors;
use super::{
    Demand, Facts, Grant, Kept, NotRead, OwnerGuard, Plan, Predecessors, Release, Verdict,
};
use crate::claim::{Ask, Attachment, Held};
use crate::durable::{DurableOwner, OwnerState};

/// The plan on `ask`, whose durable owner exists in the state of `facts`; the error has the attachments whose claims were
/// not read.
pub(super) fn take(
    ask: &Ask,
    owner: &DurableOwner,
    facts: &Facts,
    known: &Predecessors,
) -> Result<Option<Plan>, Vec<Attachment>> {
    let Some(stored) = facts.owner(owner).expect("the owner was read") else {
        return Ok(None);
    };
    let old = match &stored.value {
        OwnerState::Resting { held, .. } if ask.may_be_given(held) => {
            let guard = OwnerGuard::Modified(stored.modified);
            return Ok(Some(revive(ask, held, guard)));
        }
        OwnerState::Resting { held, .. } => {
            return Ok(Some(keep(owner, Kept::Unwanted(held.clone()))));
        }
        OwnerState::Attached(container) => owner.attachment(container),
    };
    let Ok(claim) = facts.claim(&old) else {
        return Err(vec![old]);
    };
    let Some(claim) = claim.filter(|claim| known.may_have(ask, claim)) else {
        let claim = claim.map(|claim| Box::new(claim.value.clone()));
        return Ok(Some(keep(owner, Kept::InUse(old, claim))));
    };
    let unwanted = || keep(owner, Kept::Unwanted(claim.value.held.clone()));
    Ok(Some(
        predecessors::take_over(ask, &old, claim).unwrap_or_else(unwanted),
    ))
}

fn revive(ask: &Ask, held: &[Held], guard: OwnerGuard) -> Plan {
    Plan {
        verdicts: vec![Verdict::Revived(held.to_vec())],
        given: vec![Grant {
            ask: ask.clone(),
            held: held.to_vec(),
            owner: Some(guard),
        }],
        ..Plan::default()
    }
}

fn keep(owner: &DurableOwner, kept: Kept) -> Plan {
    Plan {
        verdicts: vec![Verdict::Kept(owner.clone(), kept)],
        ..Plan::default()
    }
}

/// The plan that releases a durable claim: its owner is at rest from then on.
pub(super) fn rest(demand: &Demand) -> Option<Plan> {
    let Demand::Release { owner: Some(_), .. } = demand else {
        return None;
    };
    Some(Plan {
        verdicts: vec![Verdict::Released],
        released: vec![Release::of(demand)],
        ..Plan::default()
    })
}

/// The verdict on `ask`, if its durable owner came into being since the request was made. The owner's state decides on
/// the addresses, and a batch does not know it.
pub(super) fn changed(ask: &Ask, facts: &Facts) -> Option<Verdict> {
    let owner = ask.durable_owner()?;
    match facts.owner(&owner) {
        Ok(Some(_)) => Some(Verdict::Kept(owner, Kept::Changed)),
        Ok(None) | Err(NotRead) => None,
    }
}
