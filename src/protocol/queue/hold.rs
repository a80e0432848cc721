//! Holding the lock: serving the queue in batches, in order, until nobody waits or for long enough.
//!
//! Each batch is one transaction, which checks that the lock is as it was read, and so this process's. It
//! returns what the next batch is decided on, so a batch costs one request.

use std::collections::BTreeSet;

use tracing::{debug, instrument};

use super::batch::Ground;
use super::line::{LeaseEnded, Line};
use super::removal::{asking, larger_page};
use crate::session::Commit;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::{Demand, Reach, Verdict};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::Store;
use whereabouts_store::snapshot::{HeldLock, Query, Queued, Snapshot};

/// How the holding of a lock goes.
pub(super) struct Hold {
    /// The verdict on the holder's own demand, once it is committed.
    pub(super) own: Option<Verdict>,
    /// Operations that a batch may have.
    pub(super) most: usize,
    /// Batches committed.
    pub(super) batches: usize,
    /// How often the queue may still be found empty before the lock is given up.
    pub(super) looks: usize,
}

impl Hold {
    fn new() -> Self {
        Self {
            own: None,
            most: limits::TRANSACTION_OPERATIONS,
            batches: 0,
            looks: 0,
        }
    }

    pub(super) fn shrink(&mut self) {
        self.most = (self.most / 2).max(limits::LEAST_BATCH_OPERATIONS);
    }
}

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// Serves the queue, beginning with what was read when the lock was acquired. `None`: this process
    /// does not hold the lock, or not any more, and its own demand was not served by it.
    #[instrument(level = "debug", skip_all)]
    pub(super) async fn hold(
        &mut self,
        mut snapshot: Snapshot,
    ) -> Result<Option<Verdict>, Failure> {
        let mut hold = Hold::new();
        loop {
            let Some(kept) = self.keep(snapshot, &hold).await? else {
                return Ok(hold.own);
            };
            let lock;
            (lock, snapshot) = kept;
            let own_ticket = match self.place {
                Some(_) => self.asking(&snapshot),
                None => None,
            };
            if self.place.is_some() && own_ticket.is_none() {
                // Cancelled, or served by a batch whose outcome was unknown.
                return Ok(hold.own);
            }
            let late = self.session.clock().now() >= self.session.until();
            if late || hold.batches >= limits::BATCHES_PER_HOLD {
                let too_long = || Failure::LockTooLong(self.id().queue.clone());
                return hold.own.map(Some).ok_or_else(too_long);
            }
            let ground = Ground { lock, own_ticket };
            if self.reads_on(&snapshot) {
                snapshot = self.session.snapshot(&self.reads_anew(&hold)).await?;
                continue;
            }
            let others = self.others(&snapshot);
            let served = self.to_serve(&others, &hold);
            let next = if !served.is_empty() {
                self.serve(&mut hold, snapshot, ground, &others, &served)
                    .await?
            } else if hold.looks > 0 {
                hold.looks -= 1;
                Some(self.session.snapshot(&self.reads(&[], &hold)).await?)
            } else if others.is_empty() {
                self.step_down(lock, &hold).await?
            } else {
                None
            };
            match next {
                Some(next) => snapshot = next,
                None => return Ok(hold.own),
            }
        }
    }

    /// Tells whether the lock is this process's, by what was read last, and keeps it so: by its lease, or by binding
    /// it to one. That takes the place of an offer when many come, as this process may die while they wait for it; and
    /// when another has touched the lock, to fence off its own ticket.
    async fn keep(
        &mut self,
        mut snapshot: Snapshot,
        hold: &Hold,
    ) -> Result<Option<(HeldLock, Snapshot)>, Failure> {
        let early = hold.batches < limits::BATCHES_WITHOUT_LEASE;
        while let Some(lock) = self.ours(&snapshot)
            && lock.is_offered()
            && !(early && self.is_ours(&lock))
        {
            let reads = self.reads_anew(hold);
            snapshot = self.put_lock(Some(lock.modified), &reads).await?;
        }
        let mut lock = self.ours(&snapshot);
        if lock.is_some_and(|lock| !lock.is_offered())
            && let Err(LeaseEnded) = self.renew().await
        {
            lock = None;
        }
        self.may_have_lock = lock.is_some();
        Ok(lock.map(|lock| (lock, snapshot)))
    }

    /// Whether more tickets must be read before a batch, as none of a whole page can be served. If not, the next page is
    /// larger than usual by the tickets that cannot.
    fn reads_on(&mut self, snapshot: &Snapshot) -> bool {
        let queue = &self.id().queue;
        let waiting = snapshot.queue(queue).expect("the queue was read");
        let own = self.place.is_some().then(|| self.key());
        let larger = larger_page(self.page, waiting, own);
        let unserved = waiting.iter().filter(|one| asking(one).is_none()).count();
        let usual = limits::TICKETS_PER_READ + u32::try_from(unserved).unwrap_or(u32::MAX / 2);
        self.page = larger.unwrap_or(usual.min(limits::TICKETS_PER_LOOK));
        larger.is_some()
    }

    /// The queue but for this process.
    fn others(&self, snapshot: &Snapshot) -> Vec<Queued> {
        let queue = snapshot
            .queue(&self.id().queue)
            .expect("the queue was read");
        let is_other = |ticket: &&Queued| Some(ticket.created) != self.place;
        queue.iter().filter(is_other).cloned().collect()
    }

    /// Gives up the lock, because nobody waits. `Some`: others have come meanwhile.
    async fn step_down(
        &mut self,
        lock: HeldLock,
        hold: &Hold,
    ) -> Result<Option<Snapshot>, Failure> {
        let mut draft = self.session.draft();
        draft
            .modified(&self.lock_key(), lock.modified)
            .nobody_in(&self.id().queue)
            .delete(&self.lock_key())
            .read_otherwise(self.reads(&[], hold));
        match self.session.commit(draft).await? {
            Commit::Done(_) | Commit::DoneUnread(_) => {
                self.may_have_lock = false;
                Ok(None)
            }
            Commit::Conflict(after) => Ok(Some(after)),
            Commit::Unknown(reason) => {
                debug!(reason, "whether the lock was given up is still to be seen");
                Ok(None)
            }
        }
    }

    /// What the first batch is decided on, and whether there is to be one.
    pub(super) fn reads_at_first(&self) -> Vec<Query> {
        let claim = Query::Claim(self.id().attachment.clone());
        let mut reads = vec![claim];
        if self.place.is_none() {
            reads.extend(self.own_seats());
        }
        reads.extend(self.reads(&[], &Hold::new()));
        reads
    }

    /// The same, where nothing that was read before counts any more: whether the own demand was carried out is to be
    /// seen as well, as long as that is not known.
    pub(super) fn reads_anew(&self, hold: &Hold) -> Vec<Query> {
        match hold.own {
            None => self.reads_at_first(),
            Some(_) => self.reads(&[], hold),
        }
    }

    /// What the next batch is decided on: the lock and the own ticket, the queue, and the blocks of the
    /// demands known by now.
    pub(super) fn reads(&self, demands: &[Demand], hold: &Hold) -> Vec<Query> {
        let undecided = if hold.own.is_none() {
            Some(self.demand)
        } else {
            None
        };
        let blocks: BTreeSet<Query> = undecided
            .into_iter()
            .chain(demands)
            .flat_map(|demand| demand.block_questions(Reach::Batch))
            .map(Query::Blocks)
            .take(limits::QUERIES_PER_BATCH)
            .collect();
        let queue = || self.id().queue.clone();
        let waiting = Query::Tickets {
            queue: queue(),
            limit: self.page,
        };
        let own_ticket = self.place.map(|_| Query::Seat(self.seat().clone()));
        [Query::Lock(queue()), waiting]
            .into_iter()
            .chain(own_ticket)
            .chain(blocks)
            .collect()
    }
}
