//! Promise 8, no leak, as soon as it is broken: an ADD that has ended and does not say that its outcome is unknown is
//! given nothing any more.
//!
//! What is served with a ticket is left to the end, when nothing may be left: a DEL takes ticket and claim alike.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::claim::Attachment;

use super::change::Change;
use super::seen::Seen;
use crate::step::Verb;
use crate::who::ProcessId;

/// Whose ADDs have ended, and how far they can be believed.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Attachments of which every ADD has ended.
    over: BTreeSet<Attachment>,
    /// Attachments of which something may still come: an ADD was killed, or has said so.
    in_doubt: BTreeSet<Attachment>,
    /// Attachments of which an ADD has answered with addresses.
    answered: BTreeSet<Attachment>,
    /// Attachments that were given something, and not with a ticket.
    given: BTreeSet<Attachment>,
}

impl Settled {
    /// A process starts.
    pub(super) fn starts(&mut self, seen: &Seen) {
        if let (Verb::Add, Some(attachment)) = (seen.verb, &seen.attachment) {
            self.over.remove(attachment);
        }
    }

    /// What an ADD of `attachment` has sent may still come.
    pub(super) fn doubts(&mut self, attachment: &Attachment) {
        self.in_doubt.insert(attachment.clone());
    }

    /// An ADD of `attachment` has answered with addresses.
    pub(super) fn answers(&mut self, attachment: &Attachment) {
        self.answered.insert(attachment.clone());
    }

    /// Every ADD of `attachment` says that it has done nothing, or that its outcome is unknown.
    pub(super) fn check_denial(&self, attachment: &Attachment) -> Result<(), String> {
        let explained = [&self.answered, &self.in_doubt];
        if explained.iter().any(|by| by.contains(attachment)) || !self.given.contains(attachment) {
            return Ok(());
        }
        Err(format!(
            "{attachment} was given addresses, and its ADD neither says so nor that it may be"
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
        self.given.extend(unserved);
        let mut given = change.given.iter();
        match given.find(|(attachment, _)| is_late(attachment)) {
            Some((attachment, claim)) => Err(format!(
                "{attachment} was given {claim} after its ADD had ended, which did not say that it may be"
            )),
            None => Ok(()),
        }
    }
}
