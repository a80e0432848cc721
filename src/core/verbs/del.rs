//! DEL: releases the claim of an attachment and cancels its waiting requests.

use tracing::info;

use super::Error;
use crate::claim::{Attachment, RangeId};
use crate::limits;
use crate::registry::{Registry, Released};

/// Releases the claim of the attachment, and cancels its requests in the queues of `ranges`. DEL
/// writes nothing for an unknown attachment.
///
/// An imported claim may have no interface. An attachment without a claim releases that claim, if
/// it is the only claim of the container in this network.
pub async fn del<R: Registry>(
    registry: &R,
    attachment: &Attachment,
    ranges: &[RangeId],
) -> Result<(), Error> {
    let nameless = attachment.without_interface();
    for _ in 0..limits::DEL_ROUNDS {
        let found = registry.find(attachment, ranges).await?;
        if !found.adds.is_empty() {
            // A holder may have served the ADD before the cancellation, so DEL looks again.
            registry.cancel(attachment, &found.adds).await?;
            continue;
        }
        let (whose, claim) = match (found.claim, found.nameless) {
            (Some(claim), _) => (attachment, claim),
            (None, Some(claim)) if registry.claims_of_container(&nameless).await? <= 1 => {
                (&nameless, claim)
            }
            (None, Some(_) | None) => {
                registry.cancel(attachment, &found.dels).await?;
                info!("nothing to delete");
                return Ok(());
            }
        };
        match registry.release(whose, &claim).await? {
            Released::Done => {
                // These tickets belong to a DEL that was killed.
                registry.cancel(attachment, &found.dels).await?;
                if *whose == nameless {
                    // A DEL that releases this claim waits in the name of the claim.
                    let left = registry.find(&nameless, ranges).await?;
                    registry.cancel(&nameless, &left.dels).await?;
                }
                info!(claim = %claim.value, "deleted");
                return Ok(());
            }
            // A fence or another ADD has written the claim, so DEL looks again.
            Released::Changed(_) => {}
        }
    }
    Err(Error::AddedAgain {
        attachment: attachment.clone(),
    })
}
