//! ADD: gives addresses to an attachment. A repeated ADD gives the same addresses.

use tracing::info;

use super::Error;
use crate::address;
use crate::allocator::Shortage;
use crate::claim::{Ask, Attachment, Choice, Claim, Held, RangeId};
use crate::failure::Failure;
use crate::limits;
use crate::registry::{Registry, Renewed, Scope, Taken, TakenOver};

/// Takes all requested addresses, or none. A repeated ADD by another process, of another network namespace or after a
/// reboot, renews the owner of the claim: else the claim would look abandoned. If a range is full or a requested address is taken, ADD
/// takes over the claim of an old container of the same pod.
pub async fn add<R: Registry>(registry: &R, ask: &Ask) -> Result<Vec<Held>, Error> {
    let mut rounds = 0;
    loop {
        rounds += 1;
        let shortage = match registry.take(ask).await? {
            Taken::Granted(held) => return Ok(added(held)),
            Taken::Held(claim) if ask.owner.or(&claim.owner) == claim.owner => {
                return Ok(added(claim.held));
            }
            Taken::Held(claim) => match registry.renew(ask).await? {
                Renewed::Done => return Ok(added(claim.held)),
                Renewed::Changed if rounds < limits::ADD_ROUNDS => continue,
                Renewed::Changed => {
                    let attachment = ask.attachment.clone();
                    return Err(Error::AddedAgain { attachment });
                }
            },
            Taken::HoldsOther(claim) => {
                return Err(Error::HoldsOther {
                    attachment: ask.attachment.clone(),
                    claim: Box::new(claim),
                });
            }
            Taken::Short(shortage) => shortage,
        };
        match registry.take_over(ask).await? {
            TakenOver::Done(held) => return Ok(held),
            TakenOver::Elsewhere(elsewhere) => {
                let (holder, claim) = *elsewhere;
                return Err(Error::HeldElsewhere {
                    holder,
                    claim: Box::new(claim),
                    node: ask.owner.node.clone(),
                });
            }
            TakenOver::Changed if rounds < limits::ADD_ROUNDS => {}
            TakenOver::Changed | TakenOver::Nothing => {
                return Err(short(registry, ask, shortage).await?);
            }
        }
    }
}

fn added(held: Vec<Held>) -> Vec<Held> {
    info!(addresses = %addresses(&held), "added");
    held
}

/// The error of an ADD that found `shortage`.
async fn short<R: Registry>(registry: &R, ask: &Ask, shortage: Shortage) -> Result<Error, Failure> {
    let held = match shortage {
        Shortage::Exhausted(range) => {
            let size = size_of(ask, &range);
            return Ok(Error::Exhausted { range, size });
        }
        Shortage::Taken(held) => held,
    };
    let owner = owner_of(registry, &held).await?;
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
    let sizes = wants.map(|want| match &want.choice {
        Choice::Lowest(intervals) => address::size(intervals),
        Choice::Exactly(_) => 1,
    });
    sizes.max().unwrap_or(0)
}

/// The holder of an address. The search reads all claims; only an error needs it.
async fn owner_of<R: Registry>(
    registry: &R,
    held: &Held,
) -> Result<Option<(Attachment, Claim)>, Failure> {
    let same = |other: &Held| other.address == held.address && other.range.pool == held.range.pool;
    let mut after = None;
    loop {
        let page = registry.page(Scope::All, after.as_ref()).await?;
        let mut claims = page.claims.into_iter().flatten();
        let owner = claims.find(|(_, claim)| claim.value.held.iter().any(same));
        match (owner, page.next) {
            (Some((attachment, claim)), _) => return Ok(Some((attachment, claim.value))),
            (None, Some(next)) => after = Some(next),
            (None, None) => return Ok(None),
        }
    }
}
