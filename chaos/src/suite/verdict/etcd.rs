//! The judge of the datastore etcd.
//!
//! The simulator knows the maker of each revision. This suite does not, so it concludes a maker only where the revision itself
//! names it ([`maker`]).

use std::collections::BTreeSet;

use whereabouts_core::address::BlockKey;
use whereabouts_core::claim::Attachment;
use whereabouts_sim::judge::{Judge, Ledger, LockAt, Seen};
use whereabouts_sim::vocabulary::{NodeId, ProcessId, Used, Verb};
use whereabouts_store::keys::{Key, Keys, QueuedVerb};
use whereabouts_store::{Event, Revision};

use super::{Answer, Asked, Court};

/// The judge of what is stored below a prefix.
pub(in crate::suite) struct EtcdCourt {
    keys: Keys,
    judge: Judge,
}

impl EtcdCourt {
    pub(in crate::suite) fn new(prefix: &str) -> Self {
        let keys = Keys::new(prefix);
        Self {
            judge: Judge::new(keys.clone()),
            keys,
        }
    }
}

impl Court for EtcdCourt {
    fn finding(&self) -> Option<String> {
        self.judge.finding().map(ToString::to_string)
    }

    fn seen(&self) -> Revision {
        self.judge.ledger().revision()
    }

    fn starts(&mut self, process: ProcessId, asked: &Asked<'_>) {
        let ranges = asked.ask.into_iter().flat_map(|ask| &ask.wants);
        let seen = Seen {
            ranges: ranges.map(|want| want.range.clone()).collect(),
            ask: asked.ask.cloned(),
            ..seen(
                NodeId(asked.node),
                asked.verb,
                asked.attachment,
                self.seen(),
            )
        };
        self.judge.starts(process, seen);
    }

    fn no_longer_used(&mut self, attachment: &Attachment) {
        self.judge.no_longer_used(attachment);
    }

    fn ended(
        &mut self,
        process: ProcessId,
        attachment: Option<&Attachment>,
        answer: &Answer,
        used: Used,
    ) {
        match answer {
            Answer::Added(held) => self.judge.added(process, held, used),
            Answer::Short(shortage) => self.judge.short(process, shortage),
            Answer::Unknown => {
                if let Some(attachment) = attachment {
                    self.judge.doubts(attachment);
                }
            }
            Answer::Stopped => self.judge.denies(process),
            Answer::Other => {}
        }
    }

    fn has_failed(&mut self, process: ProcessId) {
        self.judge.strikes(process);
    }

    fn is_over(&mut self, process: ProcessId) {
        self.judge.ends(process);
    }

    fn revision(&mut self, events: &[Event]) {
        let events: Vec<&Event> = events.iter().collect();
        match maker(&self.keys, self.judge.ledger(), &events) {
            Ok(maker) => self.judge.told(&events, maker.as_ref()),
            Err(text) => self.judge.accuse(5, text),
        }
    }

    fn accuse(&mut self, promise: u8, text: String) {
        self.judge.accuse(promise, text);
    }

    fn left(&self) -> Vec<(Attachment, String)> {
        let claims = self.judge.ledger().claims().keys().cloned();
        claims
            .map(|attachment| (attachment, "holds addresses".to_owned()))
            .collect()
    }

    fn blocks(&self) -> BTreeSet<BlockKey> {
        BTreeSet::new()
    }

    fn all_is_gone(&mut self) {
        self.judge.all_is_gone();
    }

    fn is_locked(&self) -> bool {
        self.judge.ledger().locks().values().any(LockAt::is_held)
    }

    fn has_waiters(&self) -> bool {
        self.judge.ledger().tickets().next().is_some()
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
    use whereabouts_core::allocator::Shortage;
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
