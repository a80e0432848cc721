//! The parts of the protocol's table: stores, states, answers, and steps in few words.

use std::time::Duration;

use super::super::holder::Batch;
use super::super::machine::{Answer, Machine, Moment, Phase, State, Step};
use super::super::place::Place;
use super::super::requester::Trial;
use crate::traces::Untraced;
use whereabouts_core::address::{Name, Range, RangeSpec};
use whereabouts_core::allocator::{Demand, Plan, Shortage, Verdict};
use whereabouts_core::claim::{Ask, Attachment, Claim, Held, Owner, RangeId, Want};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::keys::{Key, Keys, QueuedVerb, TicketId};
use whereabouts_store::memory::State as Memory;
use whereabouts_store::record::{self, Lock, Sender, Ticket};
use whereabouts_store::snapshot::{Query, Snapshot};
use whereabouts_store::{At, LeaseId, Outcome, Txn, Unavailable, Write};

/// The name of the process, of another process of its attachment, and of other processes.
pub(super) const ME: Sender = 1;
pub(super) const MATE: Sender = 2;
pub(super) const OTHER: Sender = 3;

pub(super) const CIDR: &str = "10.0.0.0/29";

/// Whose the lock is, in a store.
#[derive(Clone, Copy)]
pub(super) enum Holder {
    Nobody,
    /// The sender has it, with a lease.
    Bound(Sender),
    /// It is offered to the sender.
    Offered(Sender),
}

/// The ticket at the shared seat of the process.
#[derive(Clone, Copy)]
pub(super) enum Seat {
    Free,
    /// A ticket of the attachment, by this sender.
    Asks(Sender),
    /// The own ticket, which was refused.
    Refused,
    /// A ticket of another attachment.
    Strangers,
}

/// The content of a store.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub(super) claim: bool,
    pub(super) lock: Holder,
    pub(super) seat: Seat,
    /// Tickets of other attachments, which ask.
    pub(super) others: usize,
    /// Whether the process also reads whose the store is.
    pub(super) is_known: bool,
}

pub(super) const REST: Stored = Stored {
    claim: false,
    lock: Holder::Nobody,
    seat: Seat::Free,
    others: 0,
    is_known: false,
};

pub(super) fn range() -> Range {
    let spec = RangeSpec::of(CIDR.parse().expect("a CIDR"));
    Range::new(spec).expect("a range")
}

pub(super) fn queue() -> RangeId {
    RangeId::of(&range())
}

pub(super) fn attachment(container: &str) -> Attachment {
    Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(container).expect("a name"),
        interface: "eth0".to_owned(),
    }
}

pub(super) fn ask(container: &str) -> Ask {
    Ask {
        attachment: attachment(container),
        wants: vec![Want::lowest(&range())],
        owner: Owner::default(),
        may_take_over: true,
    }
}

pub(super) fn held() -> Vec<Held> {
    vec![Held {
        range: queue(),
        address: "10.0.0.1".parse::<std::net::IpAddr>().expect("one").into(),
    }]
}

pub(super) fn id(container: &str) -> TicketId {
    TicketId {
        queue: queue(),
        attachment: attachment(container),
        verb: QueuedVerb::Add,
    }
}

pub(super) fn take(sender: Sender, container: &str) -> Ticket {
    Ticket::Asks {
        sender,
        demand: Demand::Take(ask(container)),
        trace: None,
    }
}

pub(super) fn refused() -> Ticket {
    Ticket::Refused {
        sender: ME,
        node: None,
        shortage: Shortage::Exhausted(queue()),
    }
}

pub(super) fn ticket(keys: &Keys, container: &str, at: &TicketId, ticket: &Ticket) -> Write {
    Write::Put {
        key: keys.encode(&Key::Ticket(at.seats()[0].clone())),
        value: record::encode_ticket(&attachment(container), ticket),
        lease: 0,
    }
}

impl Stored {
    fn memory(self, keys: &Keys) -> Memory {
        let mut memory = Memory::default();
        let lease = memory.grant(10).id;
        let mut put = |write| {
            let writes = vec![write];
            let txn = Txn {
                writes,
                ..Txn::default()
            };
            let outcome = memory.commit(&txn).expect("it is well formed");
            assert!(matches!(outcome, Outcome::Done(_)));
        };
        let (sender, lease) = match self.lock {
            Holder::Nobody => (None, 0),
            Holder::Bound(sender) => (Some(sender), lease),
            Holder::Offered(sender) => (Some(sender), 0),
        };
        if let Some(sender) = sender {
            put(lock(keys, sender, lease));
        }
        match self.seat {
            Seat::Free => {}
            Seat::Asks(sender) => put(ticket(keys, "me", &id("me"), &take(sender, "me"))),
            Seat::Refused => put(ticket(keys, "me", &id("me"), &refused())),
            Seat::Strangers => put(ticket(
                keys,
                "stranger",
                &id("me"),
                &take(OTHER, "stranger"),
            )),
        }
        for number in 0..self.others {
            let name = format!("other{number}");
            put(ticket(keys, &name, &id(&name), &take(OTHER, &name)));
        }
        if self.claim {
            put(Write::Put {
                key: keys.encode(&Key::Claim(attachment("me"))),
                value: record::encode_claim(&Claim {
                    held: held(),
                    usable: Vec::new(),
                    owner: Owner::default(),
                    created: Duration::ZERO,
                }),
                lease: 0,
            });
        }
        memory
    }

    pub(super) fn read(self, keys: &Keys, queries: &[Query]) -> Snapshot {
        let whose = self.is_known.then_some(Query::Cluster);
        let queries: Vec<Query> = queries.iter().cloned().chain(whose).collect();
        let reads: Vec<_> = queries.iter().map(|query| query.read(keys)).collect();
        let view = self.memory(keys).read(&reads, At::Now).expect("it reads");
        Snapshot::new(keys, &queries, view).expect("it is in order")
    }
}

pub(super) fn lock(keys: &Keys, sender: Sender, lease: LeaseId) -> Write {
    Write::Put {
        key: keys.encode(&Key::Lock(queue())),
        value: record::encode_lock(&Lock::of(sender, &Demand::Take(ask("me")))),
        lease,
    }
}

/// A step in few words.
pub(super) fn shown(step: &Step<'_>) -> String {
    match step {
        Step::Read(queries) => {
            let is_page = |query: &Query| matches!(query, Query::Tickets { .. });
            let is_seat = |query: &Query| matches!(query, Query::Seat(_));
            let is_cluster = |query: &Query| matches!(query, Query::Cluster);
            match (
                queries.iter().any(is_page),
                queries.iter().filter(|query| is_seat(query)).count(),
            ) {
                (true, 0) => "read the queue".to_owned(),
                (true, _) => "read to begin".to_owned(),
                (false, 0) if queries.iter().any(is_cluster) => "read the cluster".to_owned(),
                (false, 0) => "read to decide".to_owned(),
                (false, seats) => format!("look at {seats}"),
            }
        }
        Step::ReadMore(..) => "read more".to_owned(),
        Step::Commit(draft) => format!("{:?}", draft.purpose()),
        Step::Fence(draft) => format!("settle {:?}", draft.purpose()),
        Step::Wait(_) => "wait".to_owned(),
        Step::Grant => "grant".to_owned(),
        Step::EndLease { certain: true, .. } => "end the lease for certain".to_owned(),
        Step::EndLease { .. } => "end the lease".to_owned(),
        Step::Done(Ok(verdict)) => name(verdict),
        Step::Done(Err(failure)) => name(failure),
    }
}

/// The name of a variant.
pub(super) fn name(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

/// The maker of a state, from a machine with that demand and those keys.
pub(super) type Given = fn(&Demand, &Keys) -> State;

pub(super) fn place(demand: &Demand) -> Box<Place> {
    Box::new(Place::new(demand, ME, queue()))
}

pub(super) fn in_queue(place: Box<Place>, phase: Phase) -> State {
    State::InQueue(place, phase)
}

/// The name of a state; in a queue, that of the phase.
fn name_of(state: &State) -> String {
    match state {
        State::InQueue(_, phase) => name(phase),
        State::Deciding(_) | State::Committing(..) | State::Over => name(state),
    }
}

pub(super) fn in_line(demand: &Demand) -> Box<Place> {
    let mut place = place(demand);
    place.ticket = Some(place.seats[0].clone());
    place
}

pub(super) fn leased(demand: &Demand) -> Box<Place> {
    let mut place = place(demand);
    place.lease = Some(5);
    place
}

/// A holder that has its verdict, after so many batches.
pub(super) fn served(demand: &Demand, batches: usize) -> Box<Place> {
    let mut place = place(demand);
    place.result = Some(Ok(Verdict::Granted(held())));
    place.hold.batches = batches;
    place
}

pub(super) fn decided(keys: &Keys, demand: &Demand) -> Plan {
    let questions = demand.block_questions(whereabouts_core::allocator::Reach::OneDemand);
    let queries: Vec<Query> = questions.into_iter().map(Query::Blocks).collect();
    let snapshot = REST.read(keys, &queries);
    let budget = whereabouts_core::allocator::Budget {
        compares: 100,
        operations: 100,
    };
    whereabouts_core::allocator::decide(snapshot.facts(), std::slice::from_ref(demand), budget)
}

pub(super) fn committing(demand: &Demand, keys: &Keys, is_refused: bool) -> State {
    let trial = Trial {
        is_refused,
        ..Trial::default()
    };
    State::Committing(trial, decided(keys, demand))
}

pub(super) fn serving(demand: &Demand, keys: &Keys) -> State {
    serving_with(demand, keys, |_| {})
}

/// A holder whose batch is under way, with a changed place.
pub(super) fn serving_with(demand: &Demand, _: &Keys, change: fn(&mut Place)) -> State {
    let mut place = place(demand);
    change(&mut place);
    let batch = Batch {
        own: Some(Verdict::Granted(held())),
        served: Vec::new(),
        waiting: 0,
        lock: 2,
        known: std::collections::BTreeSet::new(),
        begun: Duration::ZERO,
    };
    in_queue(place, Phase::Serving(Box::new(batch)))
}

/// An answer, by what the store holds at that moment.
pub(super) enum Told {
    Read(Stored),
    Done(Stored),
    Conflict(Stored),
    Says(fn() -> Answer),
    /// The same, when the operation must begin to leave.
    Late(fn() -> Answer),
    LateRead(Stored),
}

pub(super) fn unknown() -> Answer {
    Answer::Unknown
}

pub(super) fn failed() -> Answer {
    Answer::Failed(Failure::Undecided(1))
}

/// The store has claims and no identity.
pub(super) fn nobodys() -> Answer {
    Answer::Failed(Failure::NobodysStore {
        key: "/t/cluster".to_owned(),
        own: whereabouts_core::identity::Identity::new("west").expect("an identity"),
    })
}

pub(super) fn unavailable(why: Unavailable) -> Answer {
    Answer::Failed(Failure::Unavailable(why))
}

/// The step that the machine waits for: all that it ever reads of this demand.
pub(super) fn all_of(demand: &Demand, keys_of: &State) -> Vec<Query> {
    let mut place = Place::new(demand, ME, queue());
    let is_alone = matches!(keys_of, State::Deciding(_) | State::Committing(..));
    let blocks = demand.block_questions(whereabouts_core::allocator::Reach::Batch);
    let mut queries = place.queries();
    queries.extend(blocks.into_iter().map(Query::Blocks));
    place.page = limits::TICKETS_PER_READ;
    if !is_alone {
        queries.extend(place.queue_queries());
    }
    queries
}

pub(super) fn run(given: Given, told: &Told) -> (String, String) {
    let (keys, demand) = (Keys::new("/t/"), Demand::Take(ask("me")));
    let mut machine = Machine::new(&demand, ME, (&keys, None, &Untraced));
    machine.state = given(&demand, &keys);
    let queries = all_of(&demand, &machine.state);
    let answer = match told {
        Told::Read(stored) | Told::LateRead(stored) => Answer::Read(stored.read(&keys, &queries)),
        Told::Done(stored) => Answer::Done(stored.read(&keys, &queries)),
        Told::Conflict(stored) => Answer::Conflict(stored.read(&keys, &queries)),
        Told::Says(answer) | Told::Late(answer) => answer(),
    };
    let step = machine.on(
        answer,
        Moment {
            is_late: matches!(told, Told::Late(_) | Told::LateRead(_)),
            began_late: false,
            date: Duration::ZERO,
        },
    );
    (name_of(&machine.state), shown(&step))
}
