//! ADD: gives addresses to an attachment. A repeated ADD gives the same addresses.

use tracing::info;

use super::Error;
use crate::address;
use crate::allocator::{Kept, Shortage};
use crate::claim::{Ask, Attachment, Choice, Claim, Held, RangeId};
use crate::durable::{DurableOwner, OwnerState};
use crate::failure::Failure;
use crate::limits;
use crate::registry::{Registry, Renewed, Scope, Taken};

/// Takes all requested addresses, or none. A repeated ADD by another process, of another network namespace or after a
/// reboot, renews the owner of the claim: else the claim would look abandoned.
pub async fn add<R: Registry>(registry: &R, ask: &Ask) -> Result<Vec<Held>, Error> {
    for _ in 0..limits::ADD_ROUNDS {
        match registry.take(ask).await? {
            Taken::Granted(held) | Taken::Revived(held) => return Ok(added(held)),
            Taken::TakenOver(old, held) => {
                info!(from = %old, addresses = %addresses(&held), "taken over");
                return Ok(held);
            }
            Taken::Kept(owner, kept) => match kept {
                Kept::InUse(holder, claim) => {
                    return Err(Error::OwnerInUse {
                        owner: Box::new(owner),
                        holder,
                        claim,
                    });
                }
                Kept::Unwanted(held) => {
                    let wants = ask.wants.clone();
                    let owner = Box::new(owner);
                    return Err(Error::OwnerKeeps { owner, held, wants });
                }
                Kept::Changed => {}
            },
            Taken::Held(claim) if ask.owner.or(&claim.owner) == claim.owner => {
                return Ok(added(claim.held));
            }
            Taken::Held(claim) => match registry.renew(ask).await? {
                Renewed::Done => return Ok(added(claim.held)),
                Renewed::Changed => {}
            },
            Taken::HoldsOther(claim) => {
                return Err(Error::HoldsOther {
                    attachment: ask.attachment.clone(),
                    claim: Box::new(claim),
                });
            }
            Taken::Short(shortage) => return Err(short(registry, ask, shortage).await?),
        }
    }
    let attachment = ask.attachment.clone();
    Err(Error::AddedAgain { attachment })
}

fn added(held: Vec<Held>) -> Vec<Held> {
    info!(addresses = %addresses(&held), "added");
    held
}

/// The error of an ADD that found `shortage`.
async fn short<R: Registry>(registry: &R, ask: &Ask, shortage: Shortage) -> Result<Error, Failure> {
    if let Some((holder, claim)) = held_elsewhere(registry, ask).await? {
        return Ok(Error::HeldElsewhere {
            holder,
            claim: Box::new(claim),
            node: ask.owner.node.clone(),
        });
    }
    let held = match shortage {
        Shortage::Exhausted(range) => {
            let size = size_of(ask, &range);
            return Ok(Error::Exhausted { range, size });
        }
        Shortage::Taken(held) => held,
    };
    let owner = owner_of(registry, &held).await?;
    if owner.is_none()
        && let Some(owner) = kept_by(registry, &held).await?
    {
        let owner = Box::new(owner);
        return Ok(Error::TakenByOwner { held, owner });
    }
    let is_own = |(owner, _): &(Attachment, Claim)| *owner == ask.attachment;
    Ok(if owner.as_ref().is_some_and(is_own) {
        // This attachment took the address between the decision and the search for the holder.
        let attachment = ask.attachment.clone();
        Error::AddedAgain { attachment }
    } else {
        let owner = owner.map(Box::new);
        Error::Taken { held, owner }
    })
}

fn addresses(held: &[Held]) -> String {
    let texts: Vec<String> = held
        .iter()
        .map(|held| held.interface_address().to_string())
        .collect();
    texts.join(", ")
}

fn size_of(ask: &Ask, range: &RangeId) -> u128 {
    let wants = ask.wants.iter().filter(|want| want.range == *range);
    let sizes = wants.map(|want| match want.choice {
        Choice::Lowest => address::size(&want.usable),
        Choice::Exactly(_) => 1,
    });
    sizes.max().unwrap_or(0)
}

/// The addresses of an old container of the pod on another or an unknown node, if `ask` wants them. It
/// cannot be taken over, as that container may live.
async fn held_elsewhere<R: Registry>(
    registry: &R,
    ask: &Ask,
) -> Result<Option<(Attachment, Claim)>, Failure> {
    if ask.owner.pod_uid.is_none() {
        return Ok(None);
    }
    let own = &ask.attachment;
    let is_old = |holder: &Attachment, claim: &Claim| {
        claim.owner.pod_uid == ask.owner.pod_uid
            && holder.interface == own.interface
            && holder.container != own.container
            && (ask.owner.node.is_none() || claim.owner.node != ask.owner.node)
            && ask.may_be_given(&claim.held)
    };
    find(registry, Scope::Network(&own.network), is_old).await
}

/// The holder of an address.
async fn owner_of<R: Registry>(
    registry: &R,
    held: &Held,
) -> Result<Option<(Attachment, Claim)>, Failure> {
    let same = |other: &Held| other.address == held.address && other.range.pool == held.range.pool;
    let has_it = |_: &Attachment, claim: &Claim| claim.held.iter().any(same);
    find(registry, Scope::All, has_it).await
}

/// The durable owner that keeps an address at rest.
async fn kept_by<R: Registry>(registry: &R, held: &Held) -> Result<Option<DurableOwner>, Failure> {
    let same = |other: &Held| other.address == held.address && other.range.pool == held.range.pool;
    let mut after = None;
    loop {
        let page = registry.owners(None, after.as_ref()).await?;
        let mut owners = page.owners.into_iter().flatten();
        let found = owners.find(|(_, state)| match &state.value {
            OwnerState::Resting { held, .. } => held.iter().any(same),
            OwnerState::Attached(_) => false,
        });
        match (found, page.next) {
            (Some((owner, _)), _) => return Ok(Some(owner)),
            (None, Some(next)) => after = Some(next),
            (None, None) => return Ok(None),
        }
    }
}

/// The first claim of `scope` that `is_it`. The search may read all claims; only an error needs it.
async fn find<R: Registry>(
    registry: &R,
    scope: Scope<'_>,
    is_it: impl Fn(&Attachment, &Claim) -> bool,
) -> Result<Option<(Attachment, Claim)>, Failure> {
    let mut after = None;
    loop {
        let page = registry.page(scope, after.as_ref()).await?;
        let mut claims = page.claims.into_iter().flatten();
        let found = claims.find(|(holder, claim)| is_it(holder, &claim.value));
        match (found, page.next) {
            (Some((holder, claim)), _) => return Ok(Some((holder, claim.value))),
            (None, Some(next)) => after = Some(next),
            (None, None) => return Ok(None),
        }
    }
}
