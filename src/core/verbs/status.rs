//! STATUS: tells whether an ADD can be served now.

use tracing::warn;

use super::Error;
use super::request::{StatusRequest, WhenFull};
use crate::allocator::Shortage;
use crate::registry::Registry;

/// Asks one cheap question. The answer may be a moment old: every node asks every few seconds, and
/// only needs to know whether it works.
///
/// If the config allocates nothing, STATUS asks nothing: its ADD needs no datastore either.
pub async fn status<R: Registry>(registry: &R, request: &StatusRequest) -> Result<(), Error> {
    if request.wants.is_empty() {
        // Every address is one that the config or the runtime states.
        return Ok(());
    }
    let shortage = registry.shortage(&request.wants).await;
    // `None` does not prove a free address: the question covers only the first intervals.
    match shortage.map_err(Error::NotReady)? {
        Some(Shortage::Exhausted(range)) => match request.when_full {
            WhenFull::Error => Err(Error::Full(range)),
            WhenFull::Ok => {
                warn!(%range, "the range is full");
                Ok(())
            }
        },
        // A requested address concerns one pod, not the node.
        Some(Shortage::Taken(_)) | None => Ok(()),
    }
}
