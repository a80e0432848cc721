//! Take-over: the new container of a pod is given what the claim of an old container holds.
//!
//! A pod whose sandbox is made anew has the same UID and another container. The claim of the old container stays until
//! its DEL, which may be late or lost. One transaction deletes that claim and writes the same addresses into a claim of
//! the new container. It writes no block, as the addresses stay taken: so it takes nothing from those who wait for a
//! free address, and needs no lock.

use super::{Facts, Grant, NotRead, Plan, Release, Revision, Stored, Verdict};
use crate::claim::{Ask, Attachment, Claim};

/// The attachments that an ADD may take over from.
#[derive(Clone, Debug)]
pub struct Predecessors {
    attachments: Vec<Attachment>,
    begun: Revision,
}

impl Predecessors {
    /// The predecessors of an ADD, among the attachments of its pod. Its first read was at revision `begun`.
    pub fn of<'a>(
        ask: &Ask,
        of_pod: impl IntoIterator<Item = &'a Attachment>,
        begun: Revision,
    ) -> Self {
        let own = &ask.attachment;
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

    /// The plan of the take-over, if a predecessor holds what `ask` wants; the error has the attachments whose claims
    /// were not read.
    ///
    /// An ADD of the old container may still be under way. It must not take the claim of the new container, which is in
    /// use. So an ADD takes over only a claim that is no younger than its own first read.
    pub fn plan(&self, ask: &Ask, facts: &Facts) -> Result<Option<Plan>, Vec<Attachment>> {
        let unread = |old: &&Attachment| facts.claim(old) == Err(NotRead);
        let unread: Vec<_> = self.attachments.iter().filter(unread).cloned().collect();
        if !unread.is_empty() {
            return Err(unread);
        }
        let mut claims = self.attachments.iter().filter_map(|old| {
            let claim = facts.claim(old).expect("it was read")?;
            self.is_given(ask, claim).then_some((old, claim))
        });
        Ok(claims.next().map(|(old, claim)| take_over(ask, old, claim)))
    }

    fn is_given(&self, ask: &Ask, claim: &Stored<Claim>) -> bool {
        let is_at_home = ask.may_take_over
            && ask.owner.pod_uid.is_some()
            && claim.value.owner.home() == ask.owner.home();
        is_at_home && claim.created <= self.begun && ask.may_be_given(&claim.value)
    }
}

fn take_over(ask: &Ask, old: &Attachment, claim: &Stored<Claim>) -> Plan {
    let held = claim.value.held.clone();
    Plan {
        verdicts: vec![Verdict::TakenOver(old.clone(), held.clone())],
        given: vec![Grant {
            ask: ask.clone(),
            held,
        }],
        released: vec![Release {
            attachment: old.clone(),
            home: claim.value.owner.home(),
            modified: claim.modified,
        }],
        ..Plan::default()
    }
}
