//! A lock taken by hand: somebody who holds the lock of a range and serves nobody. And what those
//! leave behind who are killed while they wait for it.

use std::collections::BTreeSet;

use whereabouts_clock::Chance;
use whereabouts_core::address::{Name, Pool};
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{Attachment, RangeId};
use whereabouts_etcd::SystemClock;
use whereabouts_protocol::session::{Commit, Session};
use whereabouts_store::keys::{Key, QueuedVerb, Spot, TicketId};
use whereabouts_store::record::{self, Lock, Ticket};
use whereabouts_store::snapshot::{Query, QueueEntry};
use whereabouts_store::{Compare, LeaseId, Outcome, Store, Txn, Write};

use super::{Network, Pod, Running, Site};
use crate::support::{BOUND, poll, run};

/// More than any test takes, in seconds.
const TTL_S: i64 = 300;

/// Tickets that are looked at by who leaves: all.
const TICKETS: u32 = 4_096;

/// The lock of a range, for as long as its lease lives.
pub(crate) struct Foreigner {
    queue: RangeId,
    lease: LeaseId,
}

impl Foreigner {
    /// Takes the lock of the range with this CIDR.
    pub(crate) fn hold(site: &Site, cidr: &str) -> Self {
        let lease = run(site.store().grant(TTL_S)).expect("it grants").id;
        put(site, Self::lock(site, cidr, lease));
        let queue = queue_of(cidr);
        Self { queue, lease }
    }

    /// The write that puts the lock. Without a lease (0) the lock is offered.
    pub(crate) fn lock(site: &Site, cidr: &str, lease: LeaseId) -> Write {
        Write::Put {
            key: site.keys().encode(&Key::Lock(queue_of(cidr))),
            value: lock_value(),
            lease,
        }
    }

    /// Leaves in good order: offers the lock to the oldest of those who wait, as far as it can read
    /// their tickets, or deletes it when nobody waits.
    pub(crate) fn leave(self, site: &Site) {
        let (keys, store, chance) = (site.keys(), site.store(), Chance::new(1));
        let key = Key::Lock(self.queue.clone());
        let queries = [
            Query::Lock(self.queue.clone()),
            Query::Tickets {
                queue: self.queue.clone(),
                limit: TICKETS,
            },
        ];
        run(async {
            let session = Session::new(&store, &SystemClock, &chance, &keys, BOUND);
            loop {
                let snapshot = session.snapshot(&queries).await.expect("it reads");
                let lock = snapshot.lock(&self.queue).expect("it was read");
                let waiting = snapshot.queue(&self.queue).expect("it was read");
                let asks = |ticket: &QueueEntry| Some((ticket.clone(), ticket.asks()?));
                let mut draft = session.draft();
                draft.modified(&key, lock.expect("it is held").modified);
                match waiting.iter().find_map(asks) {
                    Some((next, lock)) => draft
                        .put(&key, record::encode_lock(&lock))
                        .compare(Compare::Modified(next.key.clone(), next.modified))
                        .write(Write::Touch(next.key.clone())),
                    None => draft.delete_lock_if_last(&self.queue, snapshot.revision()),
                };
                draft.read_anyway([Query::Lock(self.queue.clone())]);
                match session.commit(draft).await.expect("it commits") {
                    Commit::Done(after) => {
                        let lock = after.lock(&self.queue).expect("it was read");
                        if lock.is_none_or(|lock| lock.lease != self.lease) {
                            break;
                        }
                    }
                    Commit::Conflict(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        self.crash(site);
    }

    /// Crashes: the lock ends with its lease, and nobody is told.
    pub(crate) fn crash(self, site: &Site) {
        run(site.store().revoke(self.lease)).expect("it revokes");
    }
}

fn queue_of(cidr: &str) -> RangeId {
    RangeId {
        pool: Pool::default(),
        cidr: cidr.parse().expect("a CIDR"),
    }
}

pub(crate) fn attachment(network: &str, pod: &Pod) -> Attachment {
    Attachment {
        network: Name::new(network).expect("a name"),
        container: Name::new(&pod.container).expect("a name"),
        interface: pod.interface.clone(),
    }
}

fn lock_value() -> Vec<u8> {
    record::encode_lock(&Lock {
        sender: 1,
        attachment: attachment("abroad", &Pod::new("foreigner")),
        verb: QueuedVerb::Add,
    })
}

/// The lock of the range with this CIDR.
pub(crate) fn lock_key(cidr: &str) -> Key {
    Key::Lock(queue_of(cidr))
}

/// The ticket of a pod in the network `net`, in the queue of the range with this CIDR.
pub(crate) fn ticket_key(cidr: &str, verb: QueuedVerb, pod: &Pod) -> Key {
    let id = TicketId {
        queue: queue_of(cidr),
        attachment: attachment("net", pod),
        verb,
    };
    let [shared, _] = id.seats();
    Key::Ticket(shared)
}

/// The value of a ticket of the pod in the network `net` that a newer version has put.
pub(crate) fn newer_ticket(pod: &Pod) -> Vec<u8> {
    let refused = Ticket::Refused {
        sender: 7,
        node: None,
        shortage: Shortage::Exhausted(queue_of("10.0.0.0/24")),
    };
    let mut value = record::encode_ticket(&attachment("net", pod), &refused);
    value[0] += 1;
    value
}

/// So many pods whose attachments of the network `net` have seats of their own.
pub(crate) fn seated_apart(count: usize) -> Vec<Pod> {
    let mut seats = BTreeSet::new();
    let pods = (0..).map(|number| Pod::new(&format!("apart-{number}")));
    pods.filter(|pod| seats.insert(Spot::number_of(&attachment("net", pod))))
        .take(count)
        .collect()
}

/// Another pod, whose attachments of the network `net` have the seats of this one's.
pub(crate) fn beside(pod: &Pod) -> Pod {
    let seat = |pod: &Pod| Spot::number_of(&attachment("net", pod));
    let mut pods = (0..).map(|number| Pod::new(&format!("beside-{number}")));
    pods.find(|other| other.container != pod.container && seat(other) == seat(pod))
        .expect("some pod sits there")
}

/// Waits until so many tickets are there, and a process with one of them still runs.
pub(crate) fn await_in_line(site: &Site, tickets: usize, process: &mut Running) {
    poll("it stands in the queue", || {
        assert!(process.is_running(), "it must not end before");
        (site.audit().tickets == tickets).then_some(())
    });
}

/// Leaves the ticket of a process behind that is killed while it waits; somebody must hold the lock.
pub(crate) fn kill_in_line(site: &Site, network: &Network, verb: &str, pod: &Pod) {
    let tickets = site.audit().tickets + 1;
    let mut killed = network.call(verb, pod).start();
    await_in_line(site, tickets, &mut killed);
}

/// Writes one key by hand.
pub(crate) fn put(site: &Site, write: Write) {
    let txn = Txn {
        writes: vec![write],
        ..Txn::default()
    };
    let outcome = run(site.store().commit(&txn)).expect("it commits");
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}
