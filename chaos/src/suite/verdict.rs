//! The verdict: the simulator's judge, told by the watch what the store went through and by the
//! nodes what was asked and answered.
//!
//! The simulator knows the maker of each revision, and the revisions at which a process began and ended. This suite
//! does not. So it concludes a maker only where the revision itself names it ([`maker`]). A process begins at the
//! last revision seen before it, which is no later than the truth. The watch must first pass a tick that was sent
//! after an answer. Then the answer is judged, at a revision that is no earlier than the truth. Both make an interval
//! longer, never shorter: a sound history is never accused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Ask, Attachment, Held};
use whereabouts_sim::judge::{Judge, Ledger, Seen};
use whereabouts_sim::vocabulary::{NodeId, ProcessId, Used, Verb};
use whereabouts_store::keys::{Key, Keys, QueuedVerb};
use whereabouts_store::{Event, Revision};

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

/// An execution that has ended, and not been judged yet.
struct Ended {
    process: ProcessId,
    answer: Answer,
    /// Whether it was killed or has failed: it may not have reached etcd to give up a lock of its own.
    has_failed: bool,
    /// The last tick that was sent before.
    tick: u64,
}

/// The verdict of one run.
pub(super) struct Verdict {
    keys: Keys,
    judge: Judge,
    next: u64,
    sent: u64,
    ended: VecDeque<Ended>,
    running: BTreeMap<ProcessId, Attachment>,
    /// Attachments whose DEL has begun: whatever an ADD answered is not used any more.
    deleted: BTreeSet<Attachment>,
    revisions: u64,
}

impl Verdict {
    /// A verdict on what is stored below `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        let keys = Keys::new(prefix);
        Self {
            judge: Judge::new(keys.clone()),
            keys,
            next: 0,
            sent: 0,
            ended: VecDeque::new(),
            running: BTreeMap::new(),
            deleted: BTreeSet::new(),
            revisions: 0,
        }
    }

    /// The first promise that was broken.
    pub(super) fn finding(&self) -> Option<String> {
        self.judge.finding().map(ToString::to_string)
    }

    /// The store's content, as far as it was seen.
    pub(super) fn ledger(&self) -> &Ledger {
        self.judge.ledger()
    }

    /// How many revisions were judged.
    pub(super) fn revisions(&self) -> u64 {
        self.revisions
    }

    /// The last revision that was seen.
    pub(super) fn seen(&self) -> Revision {
        self.judge.ledger().revision()
    }

    /// An execution is about to start.
    pub(super) fn starts(
        &mut self,
        node: u64,
        verb: Verb,
        attachment: Option<&Attachment>,
        ask: Option<&Ask>,
    ) -> ProcessId {
        let process = ProcessId(self.next);
        self.next += 1;
        let ranges = ask.into_iter().flat_map(|ask| &ask.wants);
        let seen = Seen {
            ranges: ranges.map(|want| want.range.clone()).collect(),
            ask: ask.cloned(),
            ..seen(NodeId(node), verb, attachment, self.seen())
        };
        self.judge.starts(process, seen);
        if let Some(attachment) = attachment {
            self.running.insert(process, attachment.clone());
        }
        process
    }

    /// A runtime begins to delete an attachment, or has forgotten it.
    pub(super) fn no_longer_used(&mut self, attachment: &Attachment) {
        self.judge.no_longer_used(attachment);
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
        self.judge.accuse(promise, text);
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
            match &ended.answer {
                Answer::Added(held) => {
                    let deleted = attachment.is_none_or(|it| self.deleted.contains(&it));
                    let used = if deleted {
                        Used::ByNobody
                    } else {
                        Used::ByRuntime
                    };
                    self.judge.added(ended.process, held, used);
                }
                Answer::Short(shortage) => self.judge.short(ended.process, shortage),
                Answer::Unknown => {
                    if let Some(attachment) = &attachment {
                        self.judge.doubts(attachment);
                    }
                }
                Answer::Stopped => self.judge.denies(ended.process),
                Answer::Other => {}
            }
            if ended.has_failed {
                self.judge.strikes(ended.process);
            }
            self.judge.ends(ended.process);
        }
    }

    /// The store has changed.
    pub(super) fn revision(&mut self, events: &[Event]) {
        self.revisions += 1;
        let events: Vec<&Event> = events.iter().collect();
        match maker(&self.keys, self.judge.ledger(), &events) {
            Ok(maker) => self.judge.told(&events, maker.as_ref()),
            Err(text) => self.judge.accuse(5, text),
        }
    }

    /// Everything was deleted, and collected: nothing may be left.
    pub(super) fn all_is_gone(&mut self) {
        self.judge.all_is_gone();
    }
}

fn seen(node: NodeId, verb: Verb, attachment: Option<&Attachment>, started: Revision) -> Seen {
    Seen {
        node,
        verb,
        attachment: attachment.cloned(),
        ask: None,
        ranges: BTreeSet::new(),
        started,
        ended: None,
        leases: BTreeSet::new(),
        is_struck: false,
    }
}

/// The maker of a revision, if the revision tells. A commit serves its own demand and those of the tickets that it
/// deletes. So a demand that is served without a deleted ticket is the commit's own. A commit that serves tickets
/// alone does not tell, and neither does the end of a lease.
fn maker(keys: &Keys, ledger: &Ledger, events: &[&Event]) -> Result<Option<Seen>, String> {
    let (mut given, mut taken) = (Vec::new(), Vec::new());
    let mut tickets = BTreeSet::new();
    for event in events {
        match (keys.decode(event.key()), event) {
            (Ok(Key::Claim(attachment)), Event::Put(_)) => {
                if ledger.claim(&attachment).is_none() {
                    given.push(attachment);
                }
            }
            (Ok(Key::Claim(attachment)), Event::Deleted { .. }) => taken.push(attachment),
            (Ok(Key::Ticket(seat)), Event::Deleted { .. }) => {
                let queue = ledger.queue(&seat.queue).iter();
                let left = queue.filter(|ticket| ticket.is_at(&seat));
                tickets.extend(left.map(|ticket| (ticket.id.attachment.clone(), seat.verb)));
            }
            (
                Ok(
                    Key::Open(_)
                    | Key::Full(_)
                    | Key::OnNode(..)
                    | Key::Owner(_)
                    | Key::Lock(_)
                    | Key::Ticket(_)
                    | Key::Cluster
                    | Key::Network(_),
                )
                | Err(_),
                _,
            ) => {}
        }
    }
    given.retain(|attachment| !tickets.contains(&(attachment.clone(), QueuedVerb::Add)));
    taken.retain(|attachment| !tickets.contains(&(attachment.clone(), QueuedVerb::Del)));
    let revision = events.last().map_or(0, |event| event.revision());
    let (verb, attachment) = match (given.as_slice(), taken.as_slice()) {
        ([], []) => return Ok(None),
        ([attachment], []) => (Verb::Add, attachment),
        ([], [attachment]) => (Verb::Del, attachment),
        _ => {
            return Err(format!(
                "revision {revision} serves more than one who was not in the queue: \
                 given {given:?}, taken {taken:?}"
            ));
        }
    };
    let mut maker = seen(NodeId(0), verb, Some(attachment), revision);
    let locks = ledger.locks().values();
    let own = locks.filter(|lock| lock.is_held() && lock.holder.attachment == *attachment);
    maker.leases = own.map(|lock| lock.lease).collect();
    Ok(Some(maker))
}

#[cfg(test)]
mod tests {
    use whereabouts_core::address::{Name, Pool};
    use whereabouts_core::claim::RangeId;
    use whereabouts_store::Entry;
    use whereabouts_store::keys::TicketId;
    use whereabouts_store::record::{self, Ticket};

    use super::*;

    fn attachment(container: &str) -> Attachment {
        Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        }
    }

    fn claim(container: &str) -> Key {
        Key::Claim(attachment(container))
    }

    fn queue() -> RangeId {
        RangeId {
            pool: Pool::default(),
            cidr: "10.0.0.0/24".parse().expect("a CIDR"),
        }
    }

    fn ticket(container: &str, verb: QueuedVerb) -> Key {
        let id = TicketId {
            queue: queue(),
            attachment: attachment(container),
            verb,
        };
        let [shared, _] = id.seats();
        Key::Ticket(shared)
    }

    fn put_as(key: &Key, value: Vec<u8>, revision: Revision) -> Event {
        Event::Put(Entry {
            key: Keys::new("/w/").encode(key),
            value,
            created: revision,
            modified: revision,
            lease: 0,
        })
    }

    fn put(key: &Key) -> Event {
        put_as(key, Vec::new(), 9)
    }

    /// A judge who knows who waits: a and b, each for both verbs.
    fn judge() -> Judge {
        let mut judge = Judge::new(Keys::new("/w/"));
        let says = Ticket::Refused {
            sender: 7,
            node: None,
            shortage: Shortage::Exhausted(queue()),
        };
        let verbs = [QueuedVerb::Add, QueuedVerb::Del];
        let all = ["a", "b"]
            .into_iter()
            .flat_map(|name| verbs.map(|verb| (name, verb)));
        for (revision, (name, verb)) in (1..).zip(all) {
            let value = record::encode_ticket(&attachment(name), &says);
            judge.told(&[&put_as(&ticket(name, verb), value, revision)], None);
        }
        judge
    }

    fn deleted(key: &Key) -> Event {
        Event::Deleted {
            key: Keys::new("/w/").encode(key),
            revision: 9,
        }
    }

    fn check(events: &[Event], expected: Result<Option<(Verb, &str)>, ()>) {
        let keys = Keys::new("/w/");
        let events: Vec<&Event> = events.iter().collect();
        let found = maker(&keys, judge().ledger(), &events);
        let found = found.map(|maker| maker.map(|seen| (seen.verb, seen.attachment)));
        let expected =
            expected.map(|maker| maker.map(|(verb, name)| (verb, Some(attachment(name)))));
        assert_eq!(found.map_err(drop), expected, "{events:?}");
    }

    #[test]
    fn a_revision_tells_its_maker_by_what_it_serves_without_a_ticket() {
        let (add, del) = (QueuedVerb::Add, QueuedVerb::Del);
        check(&[put(&claim("a"))], Ok(Some((Verb::Add, "a"))));
        check(&[deleted(&claim("a"))], Ok(Some((Verb::Del, "a"))));
        let batch = [put(&claim("b")), deleted(&ticket("b", add))];
        check(&batch, Ok(None));
        check(
            &[&batch[..], &[put(&claim("a"))]].concat(),
            Ok(Some((Verb::Add, "a"))),
        );
        check(
            &[deleted(&claim("a")), deleted(&ticket("a", del))],
            Ok(None),
        );
        // A DEL takes the waiting ADD of its attachment along.
        check(
            &[deleted(&claim("a")), deleted(&ticket("a", add))],
            Ok(Some((Verb::Del, "a"))),
        );
        check(&[deleted(&ticket("a", add))], Ok(None));
    }

    #[test]
    fn no_commit_serves_two_who_did_not_queue() {
        check(&[put(&claim("a")), put(&claim("b"))], Err(()));
        check(&[put(&claim("a")), deleted(&claim("b"))], Err(()));
    }
}
