//! ADD: addresses for an attachment, the same again when asked again.

use tracing::info;

use crate::address;
use crate::allocator::{Demand, Verdict};
use crate::claim::{Ask, Attachment, Choice, Claim, Held, QueueId};
use crate::clock::Clock;
use crate::commands::found;
use crate::error::Error;
use crate::operation;
use crate::session::{Failure, Session};
use crate::snapshot::Query;
use crate::store::Store;
use crate::store::record::Shortage;

/// Gives the attachment what it asks for, all or nothing.
pub async fn add<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    ask: &Ask,
) -> Result<Vec<Held>, Error> {
    let attachment = || ask.attachment.clone();
    match take(session, ask).await? {
        Verdict::Granted(held) | Verdict::Held(Claim { held, .. }) => {
            info!(addresses = %addresses(&held), "added");
            Ok(held)
        }
        Verdict::HoldsOther(claim) => Err(Error::HoldsOther {
            attachment: attachment(),
            claim: Box::new(claim),
        }),
        Verdict::Short(Shortage::Exhausted(range)) => {
            let size = size_of(ask, &range);
            Err(Error::Exhausted { range, size })
        }
        Verdict::Short(Shortage::Taken(held)) => {
            let owner = owner_of(session, &held).await?;
            if owner
                .as_ref()
                .is_some_and(|(owner, _)| *owner == ask.attachment)
            {
                // Taken by this very attachment between the decision and the look for the owner.
                return Err(Error::AddedAgain {
                    attachment: attachment(),
                });
            }
            Err(Error::Taken {
                held,
                owner: owner.map(Box::new),
            })
        }
        verdict @ (Verdict::Released | Verdict::NothingHeld | Verdict::ClaimChanged(_)) => {
            unreachable!("an ADD ended with {verdict:?}")
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
