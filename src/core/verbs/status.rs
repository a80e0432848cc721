//! STATUS: whether an ADD could be served now.

use tracing::warn;

use super::Error;
use super::request::{StatusRequest, WhenFull};
use crate::allocator::Shortage;
use crate::registry::Registry;

/// Asks one cheap question, which may be answered with what was known a moment ago. That
/// is enough to tell a node that works from one that does not, every few seconds on every node.
/// Where nothing is allocated, nothing is asked: an ADD needs no datastore either.
pub async fn status<R: Registry>(registry: &R, request: &StatusRequest) -> Result<(), Error> {
    if request.wants.is_empty() {
        // Nothing is allocated: every address is one that the config or the runtime states.
        return Ok(());
    }
    let shortage = registry.shortage(&request.wants).await;
    // Where one question cannot tell, the first intervals are full, not the range.
    match shortage.map_err(Error::NotReady)? {
        Some(Shortage::Exhausted(range)) => match request.when_full {
            WhenFull::Error => Err(Error::Full(range)),
            WhenFull::Ok => {
                warn!(%range, "the range is full");
                Ok(())
            }
        },
        // A requested address is a pod's matter, not the node's.
        Some(Shortage::Taken(_)) | None => Ok(()),
    }
}
