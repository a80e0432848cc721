//! The claim of an attachment, by its names: that of the attachment, or that of the pod which keeps the addresses.

use whereabouts_clock::Clock;
use whereabouts_core::allocator::Stored;
use whereabouts_core::claim::{Attachment, Claim as CoreClaim};
use whereabouts_core::durable::{DurableOwner, stateful_name};
use whereabouts_core::failure::{Corrupt, Failure, Unavailable};
use whereabouts_core::limits;

use super::KubernetesRegistry;
use crate::api::{ApiServer, ListAt, ListQuery, Requirement};
use crate::convert;
use crate::names;
use crate::object::{Claim, Kind, Object};
use crate::protocol::{Answer, Request};

impl<A: ApiServer, C: Clock> KubernetesRegistry<'_, A, C> {
    /// The claim of `attachment`.
    pub(crate) async fn claim(&self, attachment: &Attachment) -> Result<Option<Claim>, Failure> {
        if let Some(claim) = self.ordinary(attachment).await? {
            return Ok(Some(claim));
        }
        match &self.pod {
            // No other pod's name keeps addresses.
            Some((_, pod)) if stateful_name(pod).is_none() => Ok(None),
            Some((namespace, pod)) => {
                let owner = DurableOwner {
                    network: attachment.network.clone(),
                    namespace: namespace.clone(),
                    pod: pod.clone(),
                    interface: attachment.interface.clone(),
                };
                self.durable(&owner, attachment).await
            }
            None => self.durable_of_container(attachment).await,
        }
    }

    /// The claim of `attachment` that no pod's name keeps.
    pub(super) async fn ordinary(&self, attachment: &Attachment) -> Result<Option<Claim>, Failure> {
        let name = names::claim(attachment);
        match self.get(Kind::Claim, &name).await? {
            Some(Object::Claim(claim)) if claim.is_of(attachment) => Ok(Some(claim)),
            None => Ok(None),
            Some(_) => {
                let key = format!("AddressClaim {name}");
                let reason = "it is not the claim of its attachment".to_owned();
                Err(Corrupt { key, reason }.into())
            }
        }
    }

    /// The claim of `owner`, if `attachment` has it.
    async fn durable(
        &self,
        owner: &DurableOwner,
        attachment: &Attachment,
    ) -> Result<Option<Claim>, Failure> {
        let kept = self.kept(owner).await?;
        Ok(kept.filter(|claim| claim.is_of(attachment)))
    }

    /// The claim of `owner`, whether it rests or not.
    pub(super) async fn kept(&self, owner: &DurableOwner) -> Result<Option<Claim>, Failure> {
        let name = names::durable_claim(owner);
        match self.get(Kind::Claim, &name).await? {
            Some(Object::Claim(claim)) if convert::durable_owner(&claim)? == *owner => {
                Ok(Some(claim))
            }
            None => Ok(None),
            Some(_) => {
                let key = format!("AddressClaim {name}");
                let reason = "it is not the claim of its pod".to_owned();
                Err(Corrupt { key, reason }.into())
            }
        }
    }

    /// The durable claim of `attachment`, whose pod is not known.
    async fn durable_of_container(
        &self,
        attachment: &Attachment,
    ) -> Result<Option<Claim>, Failure> {
        let labels = [
            (names::network(), attachment.network.as_str()),
            (names::container(), attachment.container.as_str()),
            (names::durable(), "true"),
        ];
        let equals = |(key, text)| Requirement::equals(key, names::label_value(text));
        let request = Request::List(ListQuery {
            kind: Kind::Claim,
            selector: labels.map(equals).to_vec(),
            limit: limits::CLAIMS_PER_PAGE,
            at: ListAt::Present,
            continued: None,
        });
        let Answer::Listed(listed) = self.driver.answer(&request).await? else {
            return Err(Unavailable::Compacted.into());
        };
        let claims = listed.items.into_iter().map(Claim::from);
        let mut own = claims.filter(|claim| claim.spec.durable && claim.is_of(attachment));
        Ok(own.next())
    }

    /// The claim as it was found, or as it is now if another one was found.
    pub(super) async fn claim_to_release(
        &self,
        attachment: &Attachment,
        stored: &Stored<CoreClaim>,
    ) -> Result<Option<Claim>, Failure> {
        let is_it = |claim: &Claim| {
            claim.is_of(attachment)
                && convert::stored((), &claim.metadata).modified == stored.modified
        };
        match self.found.take().filter(is_it) {
            Some(claim) => Ok(Some(claim)),
            None => match DurableOwner::of(attachment, &stored.value.owner) {
                Some(owner) => self.durable(&owner, attachment).await,
                None => self.ordinary(attachment).await,
            },
        }
    }
}
