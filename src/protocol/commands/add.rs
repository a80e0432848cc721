//! ADD: addresses for an attachment, the same again when asked again.

use tracing::info;

use super::take_over::{TakenOver, take_over};
use crate::commands::Error;
use crate::commands::found;
use crate::operation;
use crate::session::{Failure, Session};
use whereabouts_clock::Clock;
use whereabouts_core::address;
use whereabouts_core::allocator::Shortage;
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::claim::{Ask, Attachment, Choice, Claim, Held, QueueId};
use whereabouts_core::limits;
use whereabouts_store::Store;
use whereabouts_store::snapshot::Query;

/// Gives the attachment what it asks for, all or nothing. Where that is not to be had, it takes over what an old
/// container of the same pod holds.
pub async fn add<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    ask: &Ask,
) -> Result<Vec<Held>, Error> {
    let mut rounds = 0;
    loop {
        rounds += 1;
        let shortage = match take(session, ask).await? {
            Verdict::Granted(held) | Verdict::Held(Claim { held, .. }) => {
                info!(addresses = %addresses(&held), "added");
                return Ok(held);
            }
            Verdict::HoldsOther(claim) => {
                return Err(Error::HoldsOther {
                    attachment: ask.attachment.clone(),
                    claim: Box::new(claim),
                });
            }
            Verdict::Short(shortage) => shortage,
            verdict @ (Verdict::Released | Verdict::NothingHeld | Verdict::ClaimChanged(_)) => {
                unreachable!("an ADD ended with {verdict:?}")
            }
        };
        match take_over(session, ask).await? {
            TakenOver::Done(held) => return Ok(held),
            TakenOver::Changed if rounds < limits::ADD_ROUNDS => {}
            TakenOver::Changed | TakenOver::Nothing => {
                return Err(short(session, ask, shortage).await?);
            }
        }
    }
}

/// Takes what is asked for, if the store is this cluster's, or is no cluster's yet.
pub async fn take<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    ask: &Ask,
) -> Result<Verdict, Failure> {
    let demand = Demand::Take(ask.clone());
    match operation::perform(session, &demand).await {
        // Once in the life of a store.
        Err(Failure::NobodysStore { .. }) => {
            found(session).await?;
            operation::perform(session, &demand).await
        }
        other => other,
    }
}

/// The error of an ADD that is `short` of addresses.
async fn short<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    ask: &Ask,
    shortage: Shortage,
) -> Result<Error, Failure> {
    let held = match shortage {
        Shortage::Exhausted(range) => {
            let size = size_of(ask, &range);
            return Ok(Error::Exhausted { range, size });
        }
        Shortage::Taken(held) => held,
    };
    let owner = owner_of(session, &held).await?;
    let is_own = |(owner, _): &(Attachment, Claim)| *owner == ask.attachment;
    Ok(if owner.as_ref().is_some_and(is_own) {
        // Taken by this very attachment between the decision and the look for the owner.
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

fn size_of(ask: &Ask, range: &QueueId) -> u128 {
    let sizes = ask
        .wants
        .iter()
        .filter(|want| want.range == *range)
        .map(|want| match &want.choice {
            Choice::Lowest(intervals) => address::size(intervals),
            Choice::Exactly(_) => 1,
        });
    sizes.max().unwrap_or(0)
}

/// Who holds an address: found by going through the claims, as this is asked only on an error.
async fn owner_of<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    held: &Held,
) -> Result<Option<(Attachment, Claim)>, Failure> {
    let mut after = None;
    loop {
        let page = session
            .snapshot(&[Query::Claims {
                network: None,
                after,
            }])
            .await?;
        let Some(last) = page.listed().last() else {
            return Ok(None);
        };
        let owner = page.listed().iter().find_map(|listed| match &listed.claim {
            Ok((attachment, claim)) => {
                let same = |other: &Held| {
                    other.address == held.address && other.range.pool == held.range.pool
                };
                claim
                    .value
                    .held
                    .iter()
                    .any(same)
                    .then(|| (attachment.clone(), claim.value.clone()))
            }
            Err(_) => None,
        });
        if owner.is_some() {
            return Ok(owner);
        }
        after = Some(last.key.clone());
    }
}
