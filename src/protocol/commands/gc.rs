//! GC: what this node holds in this network without being in use.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::request::{GcRequest, ValidAttachment};
use crate::commands::Error;
use crate::commands::confirm;
use crate::operation;
use crate::queue::take_out;
use crate::session::{Failure, Session};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Stored;
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::claim::{Attachment, UNKNOWN_INTERFACE};
use whereabouts_core::limits;
use whereabouts_store::keys::QueuedVerb;
use whereabouts_store::record::Ticket;
use whereabouts_store::snapshot::{Listed, Query, Seated};
use whereabouts_store::{Revision, Store};

/// What GC did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Claims that were released.
    pub released: usize,
    /// Claims that should perhaps have been, and were not.
    pub failed: usize,
}

/// Takes the tickets of this node in this network whose attachment is not in the list of valid ones
/// out of the queues, and releases such claims. The list is one node's, so what is another node's
/// is never touched; without a list, or without a known node, nothing is. In the store of another cluster its
/// names say nothing. Goes on after an error, and reports the first at the end.
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
    confirm(session).await?;
    let valid: BTreeSet<&ValidAttachment> = valid.iter().collect();
    let mut collected = Collected::default();
    let mut first = None;
    // Before the claims: whoever holds the lock serves an abandoned ADD, this GC too, and its claim
    // may then be one that was passed already.
    if let Err(error) = collect_tickets(session, request, QueuedVerb::Add, node, &valid).await {
        warn!(%error, "tickets of ADDs are not collected");
        first.get_or_insert(error.into());
    }
    let mut after = None;
    loop {
        let query = Query::Claims {
            network: Some(request.network.clone()),
            after,
        };
        let page = session.snapshot(&[query, Query::Cluster]).await?;
        let Some(last) = page.listed().last() else {
            break;
        };
        for listed in page.listed() {
            match collect(session, listed, node, &valid).await {
                Ok(Outcome::Stays) => {}
                Ok(Outcome::Released) => collected.released += 1,
                Err(error) => {
                    collected.failed += 1;
                    warn!(%error, "not collected");
                    first.get_or_insert(error);
                }
            }
        }
        after = Some(last.key.clone());
    }
    // After them: a DEL is needless once its claim is gone.
    if let Err(error) = collect_tickets(session, request, QueuedVerb::Del, node, &valid).await {
        warn!(%error, "tickets of DELs are not collected");
        first.get_or_insert(error.into());
    }
    match first {
        None => Ok(collected),
        Some(first) => Err(Error::NotAllCollected {
            collected,
            first: Box::new(first),
        }),
    }
}

/// What became of a listed claim.
enum Outcome {
    Stays,
    Released,
}

async fn collect<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    listed: &Listed,
    node: &str,
    valid: &BTreeSet<&ValidAttachment>,
) -> Result<Outcome, Error> {
    // One that cannot be read stays: whose it is cannot be told.
    let (attachment, claim) = listed
        .claim
        .as_ref()
        .map_err(|corrupt| Failure::from(corrupt.clone()))?;
    let in_use = is_valid(attachment, valid);
    let mut claim = claim.clone();
    for _ in 0..limits::DEL_ROUNDS {
        if claim.value.owner.node.as_deref() != Some(node) || in_use {
            return Ok(Outcome::Stays);
        }
        let (held, modified) = (claim.value.held.clone(), claim.modified);
        let release = Demand::Release {
            attachment: attachment.clone(),
            held,
            modified,
        };
        let verdict = operation::perform(session, &release).await?;
        let Verdict::ClaimChanged(changed) = verdict else {
            info!(%attachment, claim = %claim.value, "collected");
            return Ok(Outcome::Released);
        };
        claim = changed;
    }
    Err(Error::AddedAgain {
        attachment: attachment.clone(),
    })
}

/// Takes out of the queues the tickets for `verb` that nobody waits with any more.
async fn collect_tickets<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    request: &GcRequest,
    verb: QueuedVerb,
    node: &str,
    valid: &BTreeSet<&ValidAttachment>,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let waiting = Query::Waiting { after };
        let page = session.snapshot(&[waiting, Query::Cluster]).await?;
        let Some(last) = page.waiting().last() else {
            return Ok(());
        };
        for queued in page.waiting() {
            let Ok((id, ticket)) = &queued.request else {
                continue;
            };
            let is_abandoned =
                |whose: Option<&str>| whose == Some(node) && !is_valid(&id.attachment, valid);
            let is_needless = id.verb == verb
                && id.attachment.network == request.network
                && match ticket {
                    Ticket::Take { owner, .. } => is_abandoned(owner.node.as_deref()),
                    Ticket::Refused { node, .. } => is_abandoned(node.as_deref()),
                    Ticket::Release { modified, .. } => {
                        is_released(session, &id.attachment, *modified).await?
                    }
                };
            if is_needless {
                info!(attachment = %id.attachment, queue = %id.queue, "a ticket is collected");
                let is_it = |one: &Stored<Seated>| one.created == queued.created;
                for seat in id.seats() {
                    take_out(session, &seat, is_it).await?;
                }
            }
        }
        after = Some(last.key.clone());
    }
}

/// Whether the claim of `attachment` that was last written at `modified` is gone. One that cannot be read is not.
async fn is_released<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    attachment: &Attachment,
    modified: Revision,
) -> Result<bool, Failure> {
    let query = Query::Claim(attachment.clone());
    let snapshot = match session.snapshot(&[query]).await {
        Err(Failure::Corrupt(corrupt)) => {
            warn!(%corrupt, "a ticket stays");
            return Ok(false);
        }
        snapshot => snapshot?,
    };
    let claim = snapshot.claim(attachment).expect("the claim was read");
    Ok(claim.is_none_or(|claim| claim.modified != modified))
}

/// Whether the attachment is in use. One whose interface is not known is, while its container has any.
pub fn is_valid(attachment: &Attachment, valid: &BTreeSet<&ValidAttachment>) -> bool {
    let container = attachment.container.as_str();
    if attachment.interface == UNKNOWN_INTERFACE {
        return valid.iter().any(|one| one.container == container);
    }
    valid.contains(&ValidAttachment {
        container: container.to_owned(),
        interface: attachment.interface.clone(),
    })
}
