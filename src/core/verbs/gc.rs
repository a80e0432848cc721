//! GC: collects the claims and requests of this node in this network that are not in use.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::Error;
use super::request::{GcRequest, ValidAttachment};
use crate::allocator::Stored;
use crate::claim::{Attachment, Claim, UNKNOWN_INTERFACE};
use crate::failure::Corrupt;
use crate::limits;
use crate::registry::{Registry, Released, Scope, Waiting};

/// The counts of a GC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Claims that were released.
    pub released: usize,
    /// Claims that GC could not judge or could not release.
    pub failed: usize,
}

/// Cancels the waiting requests, and releases the claims, of attachments that are not in the list
/// of valid attachments. The list is one node's list, so GC leaves the claims of other nodes alone.
/// Without a list or without a known node, GC collects nothing. In the record of another cluster,
/// node names prove nothing, so GC refuses it. After an error GC goes on, and it reports the first
/// error at the end.
pub async fn gc<R: Registry>(registry: &R, request: &GcRequest) -> Result<Collected, Error> {
    let Some(valid) = &request.valid else {
        info!("GC without a list of valid attachments: nothing is collected");
        return Ok(Collected::default());
    };
    let Some(node) = &request.node else {
        warn!("GC without a known node name: nothing is collected; set node_name");
        return Ok(Collected::default());
    };
    registry.confirm().await?;
    let valid: BTreeSet<&ValidAttachment> = valid.iter().collect();
    let mut collection = Collection {
        registry,
        request,
        node,
        valid: &valid,
        collected: Collected::default(),
        first: None,
    };
    // ADDs are cancelled before the claims are read. Any holder of the lock, even this GC, may
    // serve an abandoned ADD, and its claim could then lie before the page that is read.
    collection.cancel(Waiting::Adds).await;
    collection.release_all().await?;
    // DELs are cancelled last: a DEL is needless only when its claim is gone.
    collection.cancel(Waiting::Dels).await;
    collection.end()
}

/// A GC under way.
struct Collection<'a, R> {
    registry: &'a R,
    request: &'a GcRequest,
    node: &'a str,
    valid: &'a BTreeSet<&'a ValidAttachment>,
    collected: Collected,
    /// The first error.
    first: Option<Error>,
}

impl<R: Registry> Collection<'_, R> {
    async fn cancel(&mut self, waiting: Waiting) {
        let is_abandoned = |attachment: &Attachment, node: Option<&str>| {
            node == Some(self.node) && !is_valid(attachment, self.valid)
        };
        let network = &self.request.network;
        let cancelled = self
            .registry
            .cancel_abandoned(network, waiting, is_abandoned);
        if let Err(error) = cancelled.await {
            warn!(%error, ?waiting, "the abandoned requests are not collected");
            self.first.get_or_insert(error.into());
        }
    }

    async fn release_all(&mut self) -> Result<(), Error> {
        let scope = Scope::Node {
            node: self.node,
            network: Some(&self.request.network),
            pod_uid: None,
        };
        let mut after = None;
        loop {
            let page = self.registry.page(scope, after.as_ref()).await?;
            for listed in page.claims {
                match self.collect(listed).await {
                    Ok(Outcome::Stays) => {}
                    Ok(Outcome::Released) => self.collected.released += 1,
                    Err(error) => {
                        self.collected.failed += 1;
                        warn!(%error, "not collected");
                        self.first.get_or_insert(error);
                    }
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn collect(
        &self,
        listed: Result<(Attachment, Stored<Claim>), Corrupt>,
    ) -> Result<Outcome, Error> {
        // A claim that cannot be read stays, because its owner is unknown.
        let (attachment, mut claim) = listed.map_err(Error::corrupt)?;
        let in_use = is_valid(&attachment, self.valid);
        for _ in 0..limits::DEL_ROUNDS {
            if claim.value.owner.node.as_deref() != Some(self.node) || in_use {
                return Ok(Outcome::Stays);
            }
            match self.registry.release(&attachment, &claim).await? {
                Released::Done => {
                    info!(%attachment, claim = %claim.value, "collected");
                    return Ok(Outcome::Released);
                }
                Released::Changed(changed) => claim = changed,
            }
        }
        Err(Error::AddedAgain { attachment })
    }

    fn end(self) -> Result<Collected, Error> {
        let collected = self.collected;
        match self.first {
            None => Ok(collected),
            Some(first) => Err(Error::NotAllCollected {
                collected,
                first: Box::new(first),
            }),
        }
    }
}

/// The fate of a listed claim.
enum Outcome {
    Stays,
    Released,
}

/// Whether the attachment is in use. An attachment without a known interface is in use while its
/// container has any valid attachment.
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
