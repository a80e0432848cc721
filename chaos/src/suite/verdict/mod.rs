//! The verdict: the simulator's judges, told by the watch what the store went through and by the nodes what was asked and
//! answered. Each datastore has its [`Court`].
//!
//! The simulator knows the revisions at which a process began and ended. This suite does not. A process begins at the last
//! revision seen before it, which is no later than the truth. The watch must first pass a tick that was sent after an answer.
//! Then the answer is judged, at a revision that is no earlier than the truth. Both make an interval longer, never shorter:
//! a sound history is never accused.

mod etcd;
mod kubernetes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use whereabouts_core::address::BlockKey;
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Ask, Attachment, Held};
use whereabouts_sim::vocabulary::{ProcessId, Used, Verb};
use whereabouts_store::{Event, Revision};

pub(super) use etcd::EtcdCourt;
pub(super) use kubernetes::KubernetesCourt;

/// The answer of an execution, as far as the judge can use it.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// ADD was given these.
    Added(Vec<Held>),
    /// ADD could not be given what it wants.
    Short(Shortage),
    /// Whether it did anything is unknown: it was killed, or says so.
    Unknown,
    /// It was stopped beyond its deadline while nothing else was wrong, and says that it has failed.
    Stopped,
    /// Anything else.
    Other,
}

/// A question to the plugin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) node: u64,
    pub(super) verb: Verb,
    pub(super) attachment: Option<&'a Attachment>,
    /// The request of an ADD.
    pub(super) ask: Option<&'a Ask>,
}

/// The judge of one datastore, with its books.
pub(super) trait Court {
    /// The first promise that was broken.
    fn finding(&self) -> Option<String>;

    /// The last revision that was seen.
    fn seen(&self) -> Revision;

    /// An execution is about to start.
    fn starts(&mut self, process: ProcessId, asked: &Asked<'_>);

    /// A runtime begins to delete an attachment, or has forgotten it.
    fn no_longer_used(&mut self, attachment: &Attachment);

    /// Judges an answer.
    fn ended(
        &mut self,
        process: ProcessId,
        attachment: Option<&Attachment>,
        answer: &Answer,
        used: Used,
    );

    /// The execution was killed or has failed: it may not have reached the store to tidy up.
    fn has_failed(&mut self, process: ProcessId);

    /// The execution is over, and judged.
    fn is_over(&mut self, process: ProcessId);

    /// Judges a revision.
    fn revision(&mut self, events: &[Event]);

    /// Something else breaks a promise.
    fn accuse(&mut self, promise: u8, text: String);

    /// Everything that is stored for an attachment, in words that continue its name.
    fn left(&self) -> Vec<(Attachment, String)>;

    /// The blocks that the controller sweeps.
    fn blocks(&self) -> BTreeSet<BlockKey>;

    /// Everything was deleted, and collected: nothing may be left.
    fn all_is_gone(&mut self);

    /// Whether a lock is held.
    fn is_locked(&self) -> bool;

    /// Whether a process waits in a queue.
    fn has_waiters(&self) -> bool;
}

/// An execution that has ended, and not been judged yet.
struct Ended {
    process: ProcessId,
    answer: Answer,
    has_failed: bool,
    /// The last tick that was sent before.
    tick: u64,
}

/// The verdict of one run.
pub(super) struct Verdict {
    court: Box<dyn Court>,
    next: u64,
    sent: u64,
    ended: VecDeque<Ended>,
    running: BTreeMap<ProcessId, Attachment>,
    /// Attachments whose DEL has begun: whatever an ADD answered is not used any more.
    deleted: BTreeSet<Attachment>,
    revisions: u64,
}

impl Verdict {
    /// The verdict of `court`.
    pub(super) fn of(court: Box<dyn Court>) -> Self {
        Self {
            court,
            next: 0,
            sent: 0,
            ended: VecDeque::new(),
            running: BTreeMap::new(),
            deleted: BTreeSet::new(),
            revisions: 0,
        }
    }

    /// The judge.
    pub(super) fn court(&self) -> &dyn Court {
        &*self.court
    }

    /// How many revisions were judged.
    pub(super) fn revisions(&self) -> u64 {
        self.revisions
    }

    /// An execution is about to start.
    pub(super) fn starts(&mut self, asked: &Asked<'_>) -> ProcessId {
        let process = ProcessId(self.next);
        self.next += 1;
        self.court.starts(process, asked);
        if let Some(attachment) = asked.attachment {
            self.running.insert(process, attachment.clone());
        }
        process
    }

    /// A runtime begins to delete an attachment, or has forgotten it.
    pub(super) fn no_longer_used(&mut self, attachment: &Attachment) {
        self.court.no_longer_used(attachment);
        self.deleted.insert(attachment.clone());
    }

    /// Whether its DEL has begun.
    pub(super) fn is_deleted(&self, attachment: &Attachment) -> bool {
        self.deleted.contains(attachment)
    }

    /// An execution has ended.
    pub(super) fn ended(&mut self, process: ProcessId, answer: Answer, has_failed: bool) {
        self.ended.push_back(Ended {
            process,
            answer,
            has_failed,
            tick: self.sent,
        });
    }

    /// Something else breaks a promise.
    pub(super) fn accuse(&mut self, promise: u8, text: String) {
        self.court.accuse(promise, text);
    }

    /// A tick is about to be sent.
    pub(super) fn sends(&mut self, tick: u64) {
        self.sent = tick;
    }

    /// Whether everything that has ended was judged.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.ended.is_empty()
    }

    /// A tick has come: what ended before it was sent is judged.
    pub(super) fn tick(&mut self, number: u64) {
        while self.ended.front().is_some_and(|ended| ended.tick < number) {
            let ended = self.ended.pop_front().expect("just looked at");
            let attachment = self.running.remove(&ended.process);
            let attachment = attachment.as_ref();
            let is_deleted = attachment.is_none_or(|it| self.deleted.contains(it));
            let used = if is_deleted {
                Used::ByNobody
            } else {
                Used::ByRuntime
            };
            self.court
                .ended(ended.process, attachment, &ended.answer, used);
            if ended.has_failed {
                self.court.has_failed(ended.process);
            }
            self.court.is_over(ended.process);
        }
    }

    /// The store has changed.
    pub(super) fn revision(&mut self, events: &[Event]) {
        self.revisions += 1;
        self.court.revision(events);
    }

    /// Everything was deleted, and collected: nothing may be left.
    pub(super) fn all_is_gone(&mut self) {
        self.court.all_is_gone();
    }
}
