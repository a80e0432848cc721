//! Take-over: the new container of a pod is given what the claim of an old container holds.
//!
//! A pod whose sandbox is made anew has the same UID and another container. The claim of the old container stays until
//! its DEL, which may be late or lost. One transaction deletes that claim and writes the same addresses into a claim of
//! the new container. It writes no block, as the addresses stay taken: so it takes nothing from those who wait for a
//! free address, and needs no lock.

use super::durable;
use super::{Demand, Facts, Grant, NotRead, OwnerGuard, Plan, Release, Revision, Stored, Verdict};
use crate::claim::{Ask, Attachment, Claim, Owner};
use crate::durable::DurableOwner;

/// The attachments that an ADD may take over from.
#[derive(Clone, Debug)]
pub struct Predecessors {
    attachments: Vec<Attachment>,
    begun: Revision,
}

impl Predecessors {
    /// The predecessors of a demand, among the attachments of its pod. Its first read was at revision `begun`.
    pub fn of<'a>(
        demand: &Demand,
        of_pod: impl IntoIterator<Item = &'a Attachment>,
        begun: Revision,
    ) -> Self {
        let own = demand.attachment();
        let is_old = |old: &&Attachment| {
            old.network == own.network
                && old.interface == own.interface
                && old.container != own.container
        };
        Self {
            attachments: of_pod.into_iter().filter(is_old).cloned().collect(),
            begun,
        }
    }

    /// The attachments. Their claims decide.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The plan on `demand`, if that touches no block; the error has the attachments whose claims were not read. An ADD
    /// gets what its durable owner keeps, or what a predecessor holds. A durable owner keeps what a DEL releases.
    pub fn plan(&self, demand: &Demand, facts: &Facts) -> Result<Option<Plan>, Vec<Attachment>> {
        let ask = match demand {
            Demand::Take(ask) => ask,
            Demand::Release { .. } => return Ok(durable::rest(demand)),
        };
        if let Some(owner) = ask.durable_owner()
            && let Some(plan) = durable::take(ask, &owner, facts, self)?
        {
            return Ok(Some(plan));
        }
        self.take_over_of_any(ask, facts)
    }

    /// The plan of a take-over, if a predecessor holds what `ask` wants.
    ///
    /// An ADD of the old container may still be under way. It must not take the claim of the new container, which is in
    /// use. So an ADD takes over only a claim that is no younger than its own first read.
    fn take_over_of_any(&self, ask: &Ask, facts: &Facts) -> Result<Option<Plan>, Vec<Attachment>> {
        let unread = |old: &&Attachment| facts.claim(old) == Err(NotRead);
        let unread: Vec<_> = self.attachments.iter().filter(unread).cloned().collect();
        if !unread.is_empty() {
            return Err(unread);
        }
        let mut plans = self.attachments.iter().filter_map(|old| {
            let claim = facts.claim(old).expect("it was read")?;
            let is_old = self.may_have(ask, claim);
            is_old.then(|| take_over(ask, old, claim)).flatten()
        });
        Ok(plans.next())
    }

    /// Whether `claim` is that of an old container of the pod, on the same node. Two unknown nodes may differ.
    pub(super) fn may_have(&self, ask: &Ask, claim: &Stored<Claim>) -> bool {
        let home = ask.owner.home().filter(|home| home.pod_uid.is_some());
        ask.may_take_over
            && home.is_some()
            && claim.value.owner.home() == home
            && claim.created <= self.begun
    }
}

/// The plan that moves the claim of `old` to `ask`, if `ask` allows its addresses. A durable claim stays durable, also
/// where the network is sticky no more: its owner names the new attachment.
pub(super) fn take_over(ask: &Ask, old: &Attachment, claim: &Stored<Claim>) -> Option<Plan> {
    let held = claim.value.held.clone();
    let before = DurableOwner::of(old, &claim.value.owner);
    let is_durable = ask.owner.is_durable || before.is_some();
    let owner = Owner {
        is_durable,
        ..ask.owner.clone()
    };
    let ask = Ask {
        owner,
        ..ask.clone()
    };
    let now = ask.durable_owner();
    let is_same_name = before.is_none() || before == now;
    let guard = match before {
        Some(_) => OwnerGuard::Covered,
        None => OwnerGuard::Absent,
    };
    (is_same_name && ask.may_be_given(&held)).then(|| Plan {
        verdicts: vec![Verdict::TakenOver(old.clone(), held.clone())],
        released: vec![Release {
            attachment: old.clone(),
            home: claim.value.owner.home(),
            rests: None,
            modified: claim.modified,
        }],
        given: vec![Grant {
            owner: now.map(|_| guard),
            ask,
            held,
        }],
        ..Plan::default()
    })
}
