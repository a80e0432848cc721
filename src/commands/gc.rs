//! GC: what this node holds in this network without being in use.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::allocator::Demand;
use crate::clock::Clock;
use crate::error::Error;
use crate::operation;
use crate::request::{GcRequest, ValidAttachment};
use crate::session::{Failure, Session};
use crate::snapshot::{Listed, Query};
use crate::store::Store;

/// What GC did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Claims that were released.
    pub released: usize,
}

/// Releases the claims of this node in this network whose attachment is not in the list of valid
/// ones. The list is one node's, so claims of other nodes are never touched; without a list, or
/// without a known node, nothing is. Goes on after an error, and reports the first at the end.
pub async fn gc<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    request: &GcRequest,
) -> Result<Collected, Error> {
    let Some(valid) = &request.valid else {
        info!("GC without a list of valid attachments: nothing is collected");
        return Ok(Collected::default());
    };
    let Some(node) = &request.node else {
        warn!("GC without a known node name: nothing is collected; set node_name");
        return Ok(Collected::default());
    };
    let valid: BTreeSet<&ValidAttachment> = valid.iter().collect();
    let mut collected = Collected::default();
    let (mut found, mut failed, mut first) = (0, 0, None);
    let mut after = None;
    loop {
        let query = Query::Claims {
            network: Some(request.network.clone()),
            after,
        };
        let page = session.snapshot(&[query]).await?;
        let Some(last) = page.listed().last() else {
            break;
        };
        for result in page
            .listed()
            .iter()
            .filter_map(|listed| stale(listed, node, &valid))
        {
            found += 1;
            let result = match result {
                Ok(demand) => operation::perform(session, &demand).await.map(|_| demand),
                Err(failure) => Err(failure),
            };
            match result {
                Ok(demand) => {
                    collected.released += 1;
                    info!(attachment = %demand.attachment(), "collected");
                }
                Err(failure) => {
                    failed += 1;
                    warn!(%failure, "not collected");
                    first.get_or_insert(failure);
                }
            }
        }
        after = Some(last.key.clone());
    }
    match first {
        None => Ok(collected),
        Some(first) => Err(Error::NotAllCollected {
            found,
            failed,
            first: Box::new(first.into()),
        }),
    }
}

/// The release of a claim that should go; `None` for one that stays.
fn stale(
    listed: &Listed,
    node: &str,
    valid: &BTreeSet<&ValidAttachment>,
) -> Option<Result<Demand, Failure>> {
    let (attachment, claim) = match &listed.claim {
        Ok(found) => found,
        // Whose it is cannot be told, so it stays.
        Err(corrupt) => return Some(Err(corrupt.clone().into())),
    };
    let in_use = valid.contains(&ValidAttachment {
        container: attachment.container.as_str().to_owned(),
        interface: attachment.interface.clone(),
    });
    let of_this_node = claim.value.owner.node.as_deref() == Some(node);
    (of_this_node && !in_use).then(|| {
        Ok(Demand::Release {
            attachment: attachment.clone(),
            held: claim.value.held.clone(),
            modified: claim.modified,
        })
    })
}
