//! DEL: everything an attachment holds, and its place in a queue.

use tracing::info;

use super::Error;
use crate::claim::{Attachment, QueueId};
use crate::limits;
use crate::registry::{Registry, Released};

/// Releases what the attachment holds, and takes what waits for it out of the queues of `ranges`. Of the unknown,
/// nothing is written. An attachment that holds nothing stands for one whose interface is not known,
/// if that is all that its container holds in this network.
pub async fn del<R: Registry>(
    registry: &R,
    attachment: &Attachment,
    ranges: &[QueueId],
) -> Result<(), Error> {
    let nameless = attachment.without_interface();
    for _ in 0..limits::DEL_ROUNDS {
        let found = registry.find(attachment, ranges).await?;
        if !found.adds.is_empty() {
            // Served first, perhaps: look again.
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
                // Of a DEL that was killed.
                registry.cancel(attachment, &found.dels).await?;
                info!(claim = %claim.value, "deleted");
                return Ok(());
            }
            // A fence, or another ADD: look again.
            Released::Changed(_) => {}
        }
    }
    Err(Error::AddedAgain {
        attachment: attachment.clone(),
    })
}
