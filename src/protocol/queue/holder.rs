//! The holder: the lock names this process. It serves its own demand and the queue in batches, one transaction each,
//! until nobody asks or for long enough. Each batch returns what the next one is decided on.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::Span;

use super::machine::{Machine, Others, State, Step};
use super::place::{Place, asking};
use super::transactions::{self, Served};
use whereabouts_core::allocator::{Budget, Demand, Plan, Reach, Verdict, decide};
use whereabouts_core::claim::Ask;
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::Revision;
use whereabouts_store::record::Ticket;
use whereabouts_store::snapshot::{LockEntry, Query, QueueEntry, Snapshot};

/// How the holding of a lock goes.
#[derive(Debug)]
pub(super) struct Hold {
    /// The verdict on the holder's own demand, once it is committed.
    pub(super) own: Option<Verdict>,
    /// Operations that a batch may have.
    most: usize,
    /// Batches committed.
    pub(super) batches: usize,
    /// How often the queue may still be found empty before the lock is given up.
    looks: usize,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            own: None,
            most: limits::TRANSACTION_OPERATIONS,
            batches: 0,
            looks: 0,
        }
    }
}

impl Hold {
    /// With smaller batches.
    pub(super) fn shrunk(self) -> Self {
        let most = (self.most / 2).max(limits::LEAST_BATCH_OPERATIONS);
        Self { most, ..self }
    }

    pub(super) fn can_shrink(&self) -> bool {
        self.most > limits::LEAST_BATCH_OPERATIONS
    }
}

/// A batch whose outcome is to come.
#[derive(Debug)]
pub(super) struct Batch {
    /// The verdict that it commits on the holder's own demand.
    own: Option<Verdict>,
    size: usize,
    /// The others in the queue.
    waiting: usize,
    /// The tickets that it serves, each with its place in the batch.
    served: Vec<(usize, QueueEntry)>,
    /// Since when the lock exists.
    lock: Revision,
    /// The questions that tell whether it was done, if the outcome is unknown.
    known: BTreeSet<Query>,
    begun: Duration,
}

impl<'a> Machine<'a> {
    /// The questions for the next batch: the lock, the queue and blocks. Until the own demand is decided, also the questions
    /// that tell whether it is.
    pub(super) fn queries_of_holder(
        &self,
        place: &Place,
        hold: &Hold,
        demands: &[Demand],
    ) -> Vec<Query> {
        let mut queries: Vec<Query> = place.queue_queries().into();
        let undecided = hold.own.is_none();
        if undecided {
            queries.push(Query::Claim(place.id.attachment.clone()));
            queries.extend(place.seat_queries());
        }
        queries.extend(self.block_queries(undecided, demands));
        queries
    }

    fn block_queries(&self, with_own: bool, demands: &[Demand]) -> BTreeSet<Query> {
        let own = with_own.then_some(self.demand);
        let demands = own.into_iter().chain(demands);
        let questions = demands.flat_map(|demand| demand.block_questions(Reach::Batch));
        let queries = questions.map(Query::Blocks);
        queries.take(limits::QUERIES_PER_BATCH).collect()
    }

    pub(super) fn read_on(&mut self, place: Box<Place>, hold: Hold) -> Step<'a> {
        let queries = self.queries_of_holder(&place, &hold, &[]);
        self.to(State::Holding(place, hold), Step::Read(queries))
    }

    pub(super) fn go_on(&mut self, place: Box<Place>, hold: Hold, snapshot: Snapshot) -> Step<'a> {
        match hold.own {
            None => self.stand(place, hold, snapshot, Others::Alive),
            Some(_) => self.hold(place, hold, snapshot),
        }
    }

    /// The lock is this process's, or was until `snapshot`.
    pub(super) fn hold(
        &mut self,
        mut place: Box<Place>,
        mut hold: Hold,
        snapshot: Snapshot,
    ) -> Step<'a> {
        let lock = place.lock(&snapshot).filter(|lock| self.is_mine(lock));
        let is_over = self.now.is_late || hold.batches >= limits::BATCHES_PER_HOLD;
        let Some(lock) = lock.filter(|_| !is_over) else {
            let too_long = Failure::LockTooLong(place.id.queue.clone());
            return self.leave(place, hold.own.ok_or(too_long), Some(snapshot));
        };
        // Many come, and this process may die while they wait for it.
        if lock.is_offered() && hold.batches >= limits::BATCHES_WITHOUT_LEASE {
            return self.take_lock(place, hold, Some(lock.modified));
        }
        let (own, others) = self.apart(&place, &snapshot);
        if let Some(larger) = place.larger_page(&others, others.len() + own) {
            place.page = larger;
            return self.read_on(place, hold);
        }
        // The next page is larger by the tickets that cannot be served.
        let passed = others.iter().filter(|one| asking(one).is_none()).count();
        let usual = limits::TICKETS_PER_READ + u32::try_from(passed).unwrap_or(u32::MAX / 2);
        place.page = usual.min(limits::TICKETS_PER_LOOK);
        let served = self.to_serve(&hold, &place, &snapshot, &others);
        if !served.is_empty() {
            let others: Vec<QueueEntry> = others.into_iter().cloned().collect();
            return self.serve(place, hold, (lock, snapshot), &others, served);
        }
        if hold.looks > 0 {
            hold.looks -= 1;
            return self.read_on(place, hold);
        }
        let mut draft = self.draft();
        transactions::step_down(
            &mut draft,
            &place.id.queue,
            lock.modified,
            snapshot.revision(),
        );
        draft.read_anyway(self.queries_of_holder(&place, &hold, &[]));
        self.to(State::Holding(place, hold), Step::Commit(draft))
    }

    /// How many of the tickets are the own one, and the others.
    fn apart<'q>(&self, place: &Place, snapshot: &'q Snapshot) -> (usize, Vec<&'q QueueEntry>) {
        let waiting = snapshot.queue(&place.id.queue).expect("the queue was read");
        let is_own = |queued: &&QueueEntry| {
            let request = queued.request.as_ref();
            request.is_ok_and(|(_, ticket)| ticket.sender() == self.sender)
        };
        let (own, others): (Vec<&QueueEntry>, Vec<&QueueEntry>) = waiting.iter().partition(is_own);
        (own.len(), others)
    }

    /// The own demand first, then those of the tickets, in order. Tickets that do not ask, or that a newer version has
    /// written, are passed over.
    fn to_serve(
        &self,
        hold: &Hold,
        place: &Place,
        snapshot: &Snapshot,
        others: &[&QueueEntry],
    ) -> Vec<Served> {
        let own = hold.own.is_none().then(|| {
            let ticket = self.own(place, snapshot);
            let ticket = ticket.map(|(seat, own)| (seat.clone(), own.modified));
            Served::Own(self.demand.clone(), ticket)
        });
        let asked = others.iter().filter_map(|queued| {
            let demand = demand_of(queued)?;
            Some(Served::Other(demand, Box::new((*queued).clone())))
        });
        own.into_iter().chain(asked).collect()
    }

    /// Decides and commits one batch.
    fn serve(
        &mut self,
        place: Box<Place>,
        hold: Hold,
        (lock, snapshot): (LockEntry, Snapshot),
        others: &[QueueEntry],
        served: Vec<Served>,
    ) -> Step<'a> {
        let demands: Vec<Demand> = served.iter().map(|one| one.demand().clone()).collect();
        let mut reads: Vec<Query> = place.queue_queries().into();
        reads.extend(self.block_queries(hold.own.is_none(), &demands));
        let plan = decide(snapshot.facts(), &demands, budget(hold.most, reads.len()));
        if plan.verdicts.is_empty() {
            let missing = plan.missing.into_iter().map(Query::Blocks);
            let more = Step::ReadMore(snapshot, missing.collect());
            return self.to(State::Holding(place, hold), more);
        }
        let size = plan.verdicts.len();
        let is_all = size == others.len() + usize::from(hold.own.is_none());
        let mut draft = self.draft();
        transactions::batch(
            &mut draft,
            &place.id.queue,
            lock.modified,
            (&plan, &served),
            others,
            self.now.date,
        );
        // Where many wait, more may be on their way.
        if is_all && size < limits::MANY {
            transactions::last_batch(&mut draft, &place.id.queue, snapshot.revision());
        }
        let mut known: BTreeSet<Query> = demands.iter().map(claim_of).collect();
        if hold.own.is_none() {
            known.extend(place.seat_queries());
        }
        let whose = demands.iter().find_map(Query::whose_store);
        draft
            .read_anyway(reads)
            .read_otherwise(known.iter().cloned().chain(whose));
        let batch = Batch {
            waiting: others.len(),
            ..Batch::new(&hold, plan, served, lock.created, known, self.now.date)
        };
        self.to(
            State::Serving(place, hold, Box::new(batch)),
            Step::Commit(draft),
        )
    }

    /// Makes a batch impossible whose outcome is unknown, or finds it done.
    pub(super) fn fence_batch(&mut self, place: Box<Place>, hold: Hold, batch: Batch) -> Step<'a> {
        let mut draft = self.draft();
        transactions::fence_batch(&mut draft, &place.lock_key(), batch.lock);
        let queries = self.queries_of_holder(&place, &hold, &[]);
        let queries: BTreeSet<Query> = queries.into_iter().chain(batch.known).collect();
        draft.read_anyway(queries);
        self.to(State::Holding(place, hold), Step::Fence(draft))
    }

    /// A batch is committed.
    pub(super) fn enter(&self, place: &mut Place, mut hold: Hold, batch: Batch) -> Hold {
        let served = batch.served.iter().map(|(place, ticket)| (*place, ticket));
        let served: Vec<_> = served.collect();
        let holder = &place.id.attachment;
        Span::current().record("whereabouts.queue.length", batch.waiting);
        self.traces.served(holder, batch.begun, batch.size, &served);
        if batch.own.is_some() {
            hold.own = batch.own;
            place.ticket = None;
        }
        let is_large = batch.size >= limits::MANY;
        Hold {
            most: limits::TRANSACTION_OPERATIONS,
            batches: hold.batches + 1,
            looks: if is_large { limits::LOOKS_FOR_MORE } else { 0 },
            ..hold
        }
    }
}

impl Batch {
    pub(super) fn new(
        hold: &Hold,
        plan: Plan,
        served: Vec<Served>,
        lock: Revision,
        known: BTreeSet<Query>,
        begun: Duration,
    ) -> Self {
        let size = plan.verdicts.len();
        let others = (1..).zip(served).take(size);
        let others = others.filter_map(|(place, one)| match one {
            Served::Own(..) => None,
            Served::Other(_, ticket) => Some((place, *ticket)),
        });
        Self {
            served: others.collect(),
            own: match hold.own {
                Some(_) => None,
                None => plan.verdicts.into_iter().next(),
            },
            size,
            waiting: 0,
            lock,
            known,
            begun,
        }
    }
}

fn claim_of(demand: &Demand) -> Query {
    Query::Claim(demand.attachment().clone())
}

/// The demand of a ticket.
fn demand_of(queued: &QueueEntry) -> Option<Demand> {
    let (id, ticket) = queued.request.as_ref().ok()?;
    let attachment = id.attachment.clone();
    match ticket.clone() {
        Ticket::Take { wants, owner, .. } => Some(Demand::Take(Ask {
            attachment,
            wants,
            owner,
            may_take_over: false,
        })),
        Ticket::Release {
            held,
            home,
            modified,
            ..
        } => Some(Demand::Release {
            attachment,
            held,
            home,
            modified,
        }),
        // Its waiter deletes it.
        Ticket::Refused { .. } => None,
    }
}

/// The share of the demands of a batch: `most`, less the holder's own needs. These are the lock, its own ticket, and the
/// comparison of the owner of the store.
fn budget(most: usize, reads: usize) -> Budget {
    let slack = limits::CANCELLED_PER_BATCH;
    Budget {
        compares: most.saturating_sub(3 + slack),
        operations: most.saturating_sub(2 + reads + slack),
    }
}
