//! The holder: the lock names this process. It serves its own demand and the queue in batches, one transaction each,
//! until nobody asks or for long enough. Each batch returns what the next one is decided on.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::Span;

use super::machine::{Machine, Phase, Step};
use super::place::Place;
use super::transactions::{Becomes, Served};
use whereabouts_core::allocator::{Budget, Demand, Reach, Verdict, decide};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::Revision;
use whereabouts_store::snapshot::{LockEntry, Query, QueueEntry, Snapshot};

/// How the holding of a lock goes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hold {
    /// How often the size of a batch was halved.
    halved: u32,
    /// Batches committed.
    pub(super) batches: usize,
}

impl Hold {
    /// Operations that a batch may have.
    fn most(&self) -> usize {
        let most = limits::TRANSACTION_OPERATIONS.checked_shr(self.halved);
        most.map_or(0, |most| most.max(limits::LEAST_BATCH_OPERATIONS))
    }

    /// Makes the next batch one of the own demand alone, unless this one was.
    pub(super) fn serve_alone(&mut self) -> bool {
        std::mem::replace(&mut self.halved, u32::MAX) != u32::MAX
    }

    /// Makes batches smaller, if they can be.
    pub(super) fn shrink(&mut self) -> bool {
        let can_shrink = self.most() > limits::LEAST_BATCH_OPERATIONS;
        self.halved += u32::from(can_shrink);
        can_shrink
    }
}

/// A batch whose outcome is to come.
#[derive(Debug)]
pub(super) struct Batch {
    /// The verdict that it commits on the holder's own demand.
    pub(super) own: Option<Verdict>,
    /// The tickets that it serves.
    pub(super) served: Vec<QueueEntry>,
    /// The others in the queue.
    pub(super) waiting: usize,
    /// The lock as it was read.
    pub(super) lock: Revision,
    /// The questions that tell whether it was done, if the outcome is unknown.
    pub(super) known: BTreeSet<Query>,
    pub(super) begun: Duration,
}

impl<'a> Machine<'a> {
    /// The questions for the next batch: the lock and the queue. Until the own demand is decided, also those that tell
    /// whether it is, and its blocks.
    pub(super) fn queries_of_holder(&self, place: &Place) -> Vec<Query> {
        if place.result.is_some() {
            return place.queue_queries().into();
        }
        let blocks = block_queries(std::slice::from_ref(self.demand));
        let queries = place.queries().into_iter().chain([place.tickets()]);
        queries.chain(blocks).collect()
    }

    /// The lock is this process's, or was until `snapshot`.
    pub(super) fn hold(&mut self, mut place: Box<Place>, snapshot: Snapshot) -> Step<'a> {
        let lock = place.lock(&snapshot).filter(|lock| place.is_mine(lock));
        let is_over = self.now.is_late || place.hold.batches >= limits::BATCHES_PER_HOLD;
        let Some(lock) = lock.filter(|_| !is_over) else {
            let too_long = Failure::LockTooLong(place.id.queue.clone());
            return self.leave(place, Err(too_long), Some(&snapshot));
        };
        // Many come, and this process may die while they wait for it.
        if lock.is_offered() && place.hold.batches >= limits::BATCHES_WITHOUT_LEASE {
            return self.take_lock(place, Some(lock.modified));
        }
        if place.turn_page(&snapshot) {
            return self.begin(place);
        }
        let others = place.others(&snapshot);
        if place.result.is_none() || others.iter().any(|other| other.demand().is_some()) {
            return self.serve(place, lock, snapshot);
        }
        let (lock, becomes) = (Some(lock.modified), Becomes::Free(snapshot.revision()));
        let draft = self.lock_becomes(&place, lock, becomes, place.queue_queries());
        self.stay(place, Phase::Reading, Step::Commit(draft))
    }

    /// Decides and commits one batch: the own demand first, then those of the tickets, in order. Tickets that do not ask,
    /// or that a newer version has written, are passed over.
    fn serve(&mut self, place: Box<Place>, lock: LockEntry, snapshot: Snapshot) -> Step<'a> {
        let own = place.result.is_none().then_some((self.demand, None));
        let others = place.others(&snapshot);
        let mut served: Vec<Served<'_>> = own.into_iter().collect();
        let asking = |other| Some((QueueEntry::demand(other)?, Some(other)));
        served.extend(others.iter().copied().filter_map(asking));
        let demands: Vec<Demand> = served.iter().map(|(demand, _)| (*demand).clone()).collect();
        let mut reads = Vec::from(place.queue_queries());
        reads.extend(block_queries(&demands));
        let budget = budget(place.hold.most(), reads.len());
        let plan = decide(snapshot.facts(), &demands, budget);
        if plan.verdicts.is_empty() {
            let missing = plan.missing.into_iter().map(Query::Blocks).collect();
            return self.stay(place, Phase::Reading, Step::ReadMore(snapshot, missing));
        }
        served.truncate(plan.verdicts.len());
        let mut draft = self.batch(&place, (&snapshot, lock.modified), &plan, &served);
        let is_all = served.len() == others.len() + usize::from(own.is_some());
        // Where many wait, and where a waiter took the lock, more may be on their way.
        if is_all && served.len() < limits::MANY && place.lease.is_none() {
            draft.delete_lock_if_last(&place.id.queue, snapshot.revision());
        }
        let records = served.iter().flat_map(|(demand, _)| Query::records(demand));
        let mut known: BTreeSet<Query> = records.collect();
        known.extend(own.into_iter().flat_map(|_| place.seat_queries()));
        let whose = demands[..served.len()].iter().find_map(Query::whose_store);
        draft
            .read_anyway(reads)
            .read_otherwise(known.iter().cloned().chain(whose));
        let tickets = served.iter().filter_map(|(_, ticket)| ticket.cloned());
        let batch = Box::new(Batch {
            served: tickets.collect(),
            own: own.and(plan.verdicts.into_iter().next()),
            waiting: others.len(),
            lock: lock.modified,
            known,
            begun: self.now.date,
        });
        self.stay(place, Phase::Serving(batch), Step::Commit(draft))
    }

    /// Makes a batch impossible whose outcome is unknown, or finds it done.
    pub(super) fn fence_batch(&mut self, place: Box<Place>, batch: Batch) -> Step<'a> {
        let queries = self.queries_of_holder(&place).into_iter();
        let queries = queries.chain(batch.known);
        let fence = self.lock_becomes(&place, Some(batch.lock), Becomes::Touched, queries);
        self.stay(place, Phase::Reading, Step::Fence(fence))
    }

    /// A batch is committed.
    pub(super) fn enter(&self, place: &mut Place, batch: Batch) {
        let first = 1 + usize::from(batch.own.is_some());
        let served: Vec<_> = (first..).zip(&batch.served).collect();
        let size = first - 1 + served.len();
        Span::current().record("whereabouts.queue.length", batch.waiting);
        let holder = &place.id.attachment;
        self.traces.served(holder, batch.begun, size, &served);
        if let Some(verdict) = batch.own {
            place.result = Some(Ok(verdict));
            place.ticket = None;
        }
        place.hold.halved = 0;
        place.hold.batches += 1;
    }
}

fn block_queries(demands: &[Demand]) -> BTreeSet<Query> {
    let questions = demands
        .iter()
        .flat_map(|demand| demand.block_questions(Reach::Batch));
    let queries = questions.map(Query::Blocks);
    queries.take(limits::QUERIES_PER_BATCH).collect()
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
