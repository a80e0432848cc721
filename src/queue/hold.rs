//! Holding the lock: serving the queue in batches, in order, until alone or for long enough.
//!
//! Each batch is one transaction. It checks that this process still has its ticket as it was read,
//! that each served ticket and each block is as it was read, and that each claim is as the demand
//! says. It returns what the next batch is decided on, so a batch costs one request.

use std::collections::BTreeSet;

use tracing::{debug, instrument};

use super::leave::write_removal;
use super::line::{LeaseEnded, Line};
use crate::allocator::{Budget, Demand, Plan, Reach, Verdict, decide};
use crate::claim::{Ask, Attachment};
use crate::clock::Clock;
use crate::draft::Draft;
use crate::limits;
use crate::session::{Commit, Failure};
use crate::snapshot::{Query, Queued, Snapshot};
use crate::store::keys::{QueuedVerb, TicketId};
use crate::store::record::{self, Ticket};
use crate::store::{Compare, Store, Unavailable, Write};
use crate::telemetry;

/// How the holding of a lock goes.
struct Hold {
    /// The verdict on the holder's own demand, once it is committed.
    own: Option<Verdict>,
    /// Operations that a batch may have.
    most: usize,
    /// Batches committed.
    batches: usize,
}

impl Hold {
    fn shrink(&mut self) {
        self.most = (self.most / 2).max(limits::LEAST_BATCH_OPERATIONS);
    }
}

/// A demand to serve, and its ticket where that is not the holder's own.
type Served<'q> = (Demand, Option<&'q Queued>);

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// Serves the queue. `None`: this process does not hold the lock, or not any more, and its own
    /// demand was not served by it.
    #[instrument(level = "debug", skip_all)]
    pub(super) async fn hold(&mut self) -> Result<Option<Verdict>, Failure> {
        let mut hold = Hold {
            own: None,
            most: limits::TRANSACTION_OPERATIONS,
            batches: 0,
        };
        let mut snapshot = self.session.snapshot(&self.reads(&[], &hold)).await?;
        loop {
            if let Err(LeaseEnded) = self.renew().await {
                return Ok(hold.own);
            }
            let queue = snapshot
                .queue(&self.id().queue)
                .expect("the queue was read")
                .to_vec();
            let Some((mine, others)) = queue.split_first().filter(|(first, _)| self.is_mine(first))
            else {
                return Ok(hold.own);
            };
            let late = self.session.clock().now() >= self.session.until();
            if late || hold.batches >= limits::BATCHES_PER_HOLD {
                return hold.own.map(Some).ok_or_else(|| out_of_time(self.id()));
            }
            let served = self.to_serve(others, &hold);
            let next = if served.is_empty() {
                self.step_down(&hold, &queue, mine).await?
            } else {
                self.serve(&mut hold, snapshot, mine, others, &served)
                    .await?
            };
            match next {
                Some(next) => snapshot = next,
                None => return Ok(hold.own),
            }
        }
    }

    /// Commits one batch, and tells what to go on with; `None` to leave.
    #[instrument(name = "batch", level = "debug", skip_all, fields(whereabouts.queue.length = others.len()))]
    async fn serve(
        &mut self,
        hold: &mut Hold,
        snapshot: Snapshot,
        mine: &Queued,
        others: &[Queued],
        served: &[Served<'_>],
    ) -> Result<Option<Snapshot>, Failure> {
        let demands: Vec<Demand> = served.iter().map(|(demand, _)| demand.clone()).collect();
        let reads = self.reads(&demands, hold);
        let plan = decide(&snapshot, &demands, budget(hold.most, reads.len()));
        if plan.verdicts.is_empty() {
            return self
                .read_more(snapshot, &plan.missing, &reads)
                .await
                .map(Some);
        }
        let own = if hold.own.is_none() {
            plan.verdicts.first().cloned()
        } else {
            None
        };
        let mut draft = self.session.draft();
        draft.compare(Compare::Modified(mine.key.clone(), mine.modified));
        self.write_batch(&mut draft, &plan, served, others);
        draft
            .read_anyway(reads.iter().cloned())
            .read_otherwise(claims_of(&demands));
        debug!(
            serving = plan.verdicts.len(),
            waiting = others.len(),
            "a batch"
        );
        let begun = self.session.clock().since_epoch();
        match self.session.commit(draft).await {
            Ok(done @ (Commit::Done(_) | Commit::DoneUnread(_))) => {
                let size = plan.verdicts.len();
                telemetry::served(&self.id().attachment, begun, size, others_of(served, size));
                hold.own = hold.own.take().or(own);
                hold.most = limits::TRANSACTION_OPERATIONS;
                hold.batches += 1;
                match done {
                    Commit::Done(after) => Ok(Some(after)),
                    Commit::DoneUnread(_) | Commit::Conflict(_) | Commit::Unknown(_) => Ok(None),
                }
            }
            Ok(Commit::Conflict(after)) => {
                hold.shrink();
                Ok(Some(after))
            }
            Ok(Commit::Unknown(reason)) => {
                debug!(reason, "the batch is fenced off");
                let mut fence = self.session.draft();
                fence
                    .compare(Compare::Created(mine.key.clone(), mine.created))
                    .write(Write::Touch(mine.key.clone()))
                    .read_anyway(reads.into_iter().chain(claims_of(&demands)));
                self.session.settle(&fence).await.map(Some)
            }
            Err(Failure::Unavailable(Unavailable::TooManyOperations))
                if hold.most > limits::LEAST_BATCH_OPERATIONS =>
            {
                hold.shrink();
                Ok(Some(snapshot))
            }
            Err(failure) => match hold.own {
                Some(_) => Ok(None),
                None => Err(failure),
            },
        }
    }

    /// Reads what the first demand needs too, at the same revision; if that is compacted, begins
    /// anew.
    async fn read_more(
        &self,
        mut snapshot: Snapshot,
        missing: &[Query],
        reads: &[Query],
    ) -> Result<Snapshot, Failure> {
        match self.session.extend(&mut snapshot, missing).await {
            Err(Failure::Unavailable(Unavailable::Compacted)) => self.session.snapshot(reads).await,
            other => other.map(|()| snapshot),
        }
    }

    /// Gives up the lock: to the next ticket, or because there is none. `Some`: others have come
    /// meanwhile.
    async fn step_down(
        &mut self,
        hold: &Hold,
        queue: &[Queued],
        mine: &Queued,
    ) -> Result<Option<Snapshot>, Failure> {
        let mut draft = self.session.draft();
        write_removal(
            &mut draft,
            queue,
            &self.id().queue,
            self.key(),
            mine.modified,
        );
        draft.read_otherwise(self.reads(&[], hold));
        match self.session.commit(draft).await? {
            Commit::Done(_) | Commit::DoneUnread(_) => {
                self.place = None;
                Ok(None)
            }
            Commit::Conflict(after) => Ok(Some(after)),
            Commit::Unknown(reason) => {
                debug!(reason, "whether the lock was given up is still to be seen");
                Ok(None)
            }
        }
    }

    fn is_mine(&self, ticket: &Queued) -> bool {
        ticket.key == self.key()
            && Some(ticket.created) == self.place
            && ticket.lease == self.lease.id
    }

    /// The own demand first, then those of the tickets behind it, as far as they can be read. A
    /// ticket that cannot, from a newer version perhaps, is handed the lock when it is the next.
    fn to_serve<'q>(&self, others: &'q [Queued], hold: &Hold) -> Vec<Served<'q>> {
        let mut served = Vec::new();
        if hold.own.is_none() {
            served.push((self.demand.clone(), None));
        }
        for queued in others {
            let Ok((id, ticket)) = &queued.request else {
                break;
            };
            let attachment = id.attachment.clone();
            match ticket.clone() {
                Ticket::Take { wants, owner, .. } => {
                    let ask = Ask {
                        attachment,
                        wants,
                        owner,
                    };
                    served.push((Demand::Take(ask), Some(queued)));
                }
                Ticket::Release { held, modified, .. } => {
                    let release = Demand::Release {
                        attachment,
                        held,
                        modified,
                    };
                    served.push((release, Some(queued)));
                }
                // Answered: it is its waiter's to delete.
                Ticket::Refused(_) => {}
            }
        }
        served
    }

    /// What the next batch is decided on: the queue, and the blocks of the demands known by now.
    fn reads(&self, demands: &[Demand], hold: &Hold) -> Vec<Query> {
        let undecided = if hold.own.is_none() {
            Some(self.demand)
        } else {
            None
        };
        let blocks: BTreeSet<Query> = undecided
            .into_iter()
            .chain(demands)
            .flat_map(|demand| demand.block_queries(Reach::Batch))
            .take(limits::QUERIES_PER_BATCH)
            .collect();
        let (queue, limit) = (self.id().queue.clone(), limits::TICKETS_PER_READ);
        [Query::Tickets { queue, limit }]
            .into_iter()
            .chain(blocks)
            .collect()
    }

    /// Adds what the plan writes, and what becomes of the tickets it serves.
    fn write_batch(
        &self,
        draft: &mut Draft<'_>,
        plan: &Plan,
        served: &[Served<'_>],
        others: &[Queued],
    ) {
        plan.write(draft, self.session.clock().since_epoch());
        for ((demand, ticket), verdict) in served.iter().zip(&plan.verdicts) {
            if let Some(ticket) = ticket {
                let value = match verdict {
                    Verdict::Short(shortage) => {
                        Some(record::encode_ticket(&Ticket::Refused(shortage.clone())))
                    }
                    Verdict::Granted(_)
                    | Verdict::Held(_)
                    | Verdict::HoldsOther(_)
                    | Verdict::Released
                    | Verdict::NothingHeld
                    | Verdict::ClaimChanged(_) => None,
                };
                let key = ticket.key.clone();
                draft.compare(Compare::Modified(key.clone(), ticket.modified));
                draft.write(match value {
                    Some(value) => Write::Rewrite { key, value },
                    None => Write::Delete(key),
                });
            }
            if let Demand::Release { attachment, .. } = demand {
                let cancelled = others.iter().find(|other| is_add_of(other, attachment));
                if let Some(cancelled) = cancelled {
                    draft
                        .compare(Compare::Modified(cancelled.key.clone(), cancelled.modified))
                        .write(Write::Delete(cancelled.key.clone()));
                }
            }
        }
    }
}

fn out_of_time(id: &TicketId) -> Failure {
    Unavailable::Later(format!(
        "the deadline came while holding the lock of {}",
        id.queue
    ))
    .into()
}

/// The tickets of other processes in a batch of the first `size` demands, and their places in it.
fn others_of<'q>(served: &[Served<'q>], size: usize) -> impl Iterator<Item = (usize, &'q Queued)> {
    let batch = (1..).zip(served).take(size);
    batch.filter_map(|(place, (_, ticket))| Some((place, (*ticket)?)))
}

/// Whether a ticket is an ADD of `attachment`: a DEL of it takes the ticket along.
fn is_add_of(queued: &Queued, attachment: &Attachment) -> bool {
    matches!(
        &queued.request,
        Ok((TicketId { attachment: other, verb: QueuedVerb::Add, .. }, _)) if other == attachment
    )
}

/// What the demands of a batch may use: `most`, less what the holder itself needs.
fn budget(most: usize, reads: usize) -> Budget {
    let slack = limits::CANCELLED_PER_BATCH;
    Budget {
        compares: most.saturating_sub(1 + slack),
        operations: most.saturating_sub(reads + slack),
    }
}

fn claims_of(demands: &[Demand]) -> BTreeSet<Query> {
    demands
        .iter()
        .map(|demand| Query::Claim(demand.attachment().clone()))
        .collect()
}
