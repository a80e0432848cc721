//! Promise 8, no leak, as soon as it is broken: an ADD that has ended and does not say that its outcome is unknown is
//! given nothing any more.
//!
//! A claim that was served with a ticket is checked at the end, when nothing may be left: a DEL takes ticket
//! and claim alike.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::claim::Attachment;
use whereabouts_store::Revision;

use super::change::Change;
use super::seen::Seen;
use crate::vocabulary::{ProcessId, Verb};

/// Whose ADDs have ended, and how far they can be believed.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Attachments of which every ADD has ended.
    over: BTreeSet<Attachment>,
    /// Attachments of which something may still come: an ADD was killed, or has said so.
    in_doubt: BTreeSet<Attachment>,
    /// Attachments of which an ADD has answered with addresses.
    answered: BTreeSet<Attachment>,
    /// Attachments that were given something, not with a ticket, and the revision at which they first were.
    given: BTreeMap<Attachment, Revision>,
}

impl Settled {
    /// A process starts.
    pub(super) fn starts(&mut self, seen: &Seen) {
        if let (Verb::Add, Some(attachment)) = (seen.verb, &seen.attachment) {
            self.over.remove(attachment);
        }
    }

    /// A request of an ADD of `attachment` may still come.
    pub(super) fn doubts(&mut self, attachment: &Attachment) {
        self.in_doubt.insert(attachment.clone());
    }

    /// An ADD of `attachment` has answered with addresses.
    pub(super) fn answers(&mut self, attachment: &Attachment) {
        self.answered.insert(attachment.clone());
    }

    /// Every ADD of `attachment` that has ended says that it has done nothing, or that its outcome is unknown. One that
    /// runs beside `denying` may have been given what was given since it started.
    pub(super) fn check_denial(
        &self,
        denying: ProcessId,
        attachment: &Attachment,
        processes: &BTreeMap<ProcessId, Seen>,
    ) -> Result<(), String> {
        let explained = [&self.answered, &self.in_doubt];
        let Some(given) = self.given.get(attachment) else {
            return Ok(());
        };
        let is_anothers = processes.iter().any(|(process, seen)| {
            *process != denying
                && seen.verb == Verb::Add
                && seen.attachment.as_ref() == Some(attachment)
                && seen.started < *given
        });
        let began = processes.get(&denying).map(|seen| seen.started);
        let is_older = began.is_none_or(|began| *given <= began);
        if is_older || is_anothers || explained.iter().any(|by| by.contains(attachment)) {
            return Ok(());
        }
        Err(format!(
            "{attachment} was given addresses, and its ADD neither says so nor calls its outcome unknown"
        ))
    }

    /// A process ends, beside `processes`.
    pub(super) fn ends(&mut self, ending: &Seen, processes: &BTreeMap<ProcessId, Seen>) {
        let (Verb::Add, Some(attachment)) = (ending.verb, &ending.attachment) else {
            return;
        };
        let is_adding = |seen: &&Seen| {
            seen.verb == Verb::Add
                && seen.ended.is_none()
                && seen.attachment.as_ref() == Some(attachment)
        };
        if processes.values().filter(is_adding).count() <= 1 {
            self.over.insert(attachment.clone());
        }
    }

    /// Judges what `change` gives, and notes it.
    pub(super) fn check(&mut self, change: &Change) -> Result<(), String> {
        let served = |attachment: &Attachment| {
            let mut left = change.left.iter();
            left.any(|ticket| ticket.id.attachment == *attachment)
        };
        let is_late = |attachment: &Attachment| {
            self.over.contains(attachment)
                && !self.in_doubt.contains(attachment)
                && !served(attachment)
        };
        let unserved = change.given.iter().map(|(attachment, _)| attachment);
        let unserved = unserved.filter(|attachment| !served(attachment)).cloned();
        for attachment in unserved {
            self.given.entry(attachment).or_insert(change.revision);
        }
        let mut given = change.given.iter();
        match given.find(|(attachment, _)| is_late(attachment)) {
            Some((attachment, claim)) => Err(format!(
                "{attachment} was given {claim} after the end of its ADD, which did not call its outcome unknown"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whereabouts_core::claim::{Claim, Owner};

    use super::*;
    use crate::setup::imports;
    use crate::vocabulary::NodeId;

    fn add(started: Revision) -> Seen {
        Seen {
            node: NodeId(0),
            verb: Verb::Add,
            attachment: Some(imports::attachment("a", "eth0")),
            ask: None,
            ranges: BTreeSet::new(),
            started,
            ended: None,
            leases: BTreeSet::new(),
            is_struck: false,
        }
    }

    fn given_at(revision: Revision) -> Settled {
        let claim = Claim {
            held: Vec::new(),
            usable: Vec::new(),
            owner: Owner::default(),
            created: Duration::ZERO,
        };
        let change = Change {
            revision,
            given: vec![(imports::attachment("a", "eth0"), claim)],
            ..Change::default()
        };
        let mut settled = Settled::default();
        settled.check(&change).expect("no ADD has ended");
        settled
    }

    /// An ADD that started at 3 denies what was given at `given`, beside one that started at `other`.
    fn is_accused(given: Revision, other: Option<Revision>) -> bool {
        let other = other.map(|started| (ProcessId(2), add(started)));
        let processes = [(ProcessId(1), add(3))].into_iter().chain(other).collect();
        let attachment = imports::attachment("a", "eth0");
        let denial = given_at(given).check_denial(ProcessId(1), &attachment, &processes);
        denial.is_err()
    }

    #[test]
    fn an_add_that_denies_is_accused_of_what_no_other_can_have_been_given() {
        assert!(is_accused(5, None));
        assert!(!is_accused(3, None), "it was given before");
        assert!(is_accused(5, Some(5)), "the other began later");
        assert!(!is_accused(5, Some(4)), "it may be the other's");
    }

    #[test]
    fn what_is_in_doubt_or_answered_is_not_denied() {
        let attachment = imports::attachment("a", "eth0");
        let processes = BTreeMap::from([(ProcessId(1), add(3))]);
        for explain in [Settled::doubts, Settled::answers] {
            let mut settled = given_at(5);
            explain(&mut settled, &attachment);
            let denial = settled.check_denial(ProcessId(1), &attachment, &processes);
            assert_eq!(denial, Ok(()));
        }
    }
}
