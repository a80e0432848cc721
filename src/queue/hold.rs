//! Holding the lock: serving the queue in batches, in order, until alone or for long enough.
//!
//! Each batch is one transaction. It checks that this process still has its ticket as it was read,
//! that each served ticket and each block is as it was read, and that each claim is as the demand
//! says. It returns what the next batch is decided on, so a batch costs one request.

use std::collections::BTreeSet;

use tracing::debug;

use super::leave::write_removal;
use super::line::{LeaseEnded, Line};
use crate::allocator::{Budget, Demand, Plan, Verdict, decide};
use crate::claim::{Ask, Attachment};
use crate::clock::Clock;
use crate::draft::Draft;
use crate::limits;
use crate::session::{Commit, Failure};
use crate::snapshot::{Query, Queued};
use crate::store::keys::{QueuedVerb, TicketId};
use crate::store::record::{self, Ticket};
use crate::store::{Compare, Store, Unavailable, Write};

/// What a holder does next.
enum Step<'q> {
    /// Serve these: the demand, and its ticket where that is not the holder's own.
    Serve(Vec<(Demand, Option<&'q Queued>)>),
    /// Give up the lock.
    Leave,
}

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// Serves the queue. `None`: this process does not hold the lock, or not any more, and its own
    /// demand was not served by it.
    pub(super) async fn hold(&mut self) -> Result<Option<Verdict>, Failure> {
        let session = self.session;
        let mut own: Option<Verdict> = None;
        let mut most = limits::TRANSACTION_OPERATIONS;
        let mut batches = 0;
        let mut wanted = self.hold_queries(&[], own.as_ref());
        let mut snapshot = session.snapshot(&wanted).await?;
        loop {
            if let Err(LeaseEnded) = self.renew().await {
                return Ok(own);
            }
            let queue = snapshot
                .queue(&self.id().queue)
                .expect("the queue was read");
            let Some((mine, others)) = queue.split_first().filter(|(first, _)| self.is_mine(first))
            else {
                return Ok(own);
            };
            if session.clock().now() >= session.until() || batches >= limits::BATCHES_PER_HOLD {
                return own.map(Some).ok_or_else(|| out_of_time(self.id()));
            }
            let served = match self.next_step(others, own.as_ref()) {
                Step::Serve(served) => served,
                Step::Leave => {
                    let mut draft = session.draft();
                    write_removal(
                        &mut draft,
                        queue,
                        &self.id().queue,
                        self.key(),
                        mine.modified,
                    );
                    wanted = self.hold_queries(&[], own.as_ref());
                    draft.read_otherwise(wanted.iter().cloned());
                    match session.commit(draft).await? {
                        Commit::Done(_) | Commit::DoneUnread(_) => self.place = None,
                        Commit::Conflict(after) => {
                            snapshot = after;
                            continue;
                        }
                        Commit::Unknown(reason) => debug!(reason, "leaving the queue again"),
                    }
                    return Ok(own);
                }
            };
            let demands: Vec<Demand> = served.iter().map(|(demand, _)| demand.clone()).collect();
            let next = self.hold_queries(&demands, own.as_ref());
            let plan = decide(&snapshot, &demands, budget(most, next.len()));
            if plan.verdicts.is_empty() {
                match session.extend(&mut snapshot, &plan.missing).await {
                    Err(Failure::Unavailable(Unavailable::Compacted)) => {
                        snapshot = session.snapshot(&wanted).await?;
                    }
                    other => other?,
                }
                continue;
            }
            let mut draft = session.draft();
            draft.compare(Compare::Modified(mine.key.clone(), mine.modified));
            self.write_batch(&mut draft, &plan, &served, others);
            draft
                .read_anyway(next.iter().cloned())
                .read_otherwise(claims_of(&demands));
            let decided_own = if own.is_none() {
                plan.verdicts.first().cloned()
            } else {
                None
            };
            let committed = session.commit(draft).await;
            debug!(
                served = plan.verdicts.len(),
                waiting = others.len(),
                "a batch was committed"
            );
            match committed {
                Ok(Commit::Done(after)) => {
                    own = own.or(decided_own);
                    batches += 1;
                    most = limits::TRANSACTION_OPERATIONS;
                    snapshot = after;
                }
                Ok(Commit::DoneUnread(corrupt)) => {
                    own = own.or(decided_own);
                    return own.map(Some).ok_or_else(|| corrupt.into());
                }
                Ok(Commit::Conflict(after)) => {
                    most = (most / 2).max(limits::LEAST_BATCH_OPERATIONS);
                    snapshot = after;
                }
                Ok(Commit::Unknown(reason)) => {
                    debug!(reason, "the batch is fenced off");
                    let mut fence = session.draft();
                    fence
                        .compare(Compare::Created(mine.key.clone(), mine.created))
                        .write(Write::Touch(mine.key.clone()))
                        .read_anyway(next.iter().cloned().chain(claims_of(&demands)));
                    snapshot = session.settle(&fence).await?;
                }
                Err(Failure::Unavailable(Unavailable::TooManyOperations))
                    if most > limits::LEAST_BATCH_OPERATIONS =>
                {
                    most = (most / 2).max(limits::LEAST_BATCH_OPERATIONS);
                }
                Err(failure) => return own.map(Some).ok_or(failure),
            }
            wanted = next;
        }
    }

    fn is_mine(&self, ticket: &Queued) -> bool {
        ticket.key == self.key()
            && Some(ticket.created) == self.place
            && ticket.lease == self.lease.id
    }

    /// The own demand first, then those of the tickets behind it, as far as they can be read. A
    /// ticket that cannot, from a newer version perhaps, is handed the lock when it is the next.
    fn next_step<'q>(&self, others: &'q [Queued], own: Option<&Verdict>) -> Step<'q> {
        let mut served = Vec::new();
        if own.is_none() {
            served.push((self.demand.clone(), None));
        }
        for queued in others {
            let Ok((id, ticket)) = &queued.request else {
                break;
            };
            match ticket {
                Ticket::Take { wants, owner } => {
                    let (attachment, wants) = (id.attachment.clone(), wants.clone());
                    let ask = Ask {
                        attachment,
                        wants,
                        owner: owner.clone(),
                    };
                    served.push((Demand::Take(ask), Some(queued)));
                }
                Ticket::Release { held, modified } => {
                    let (held, modified) = (held.clone(), *modified);
                    let attachment = id.attachment.clone();
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
        if served.is_empty() {
            Step::Leave
        } else {
            Step::Serve(served)
        }
    }

    fn tickets_query(&self) -> Query {
        Query::Tickets {
            queue: self.id().queue.clone(),
            limit: limits::TICKETS_PER_READ,
        }
    }

    /// What the next batch is decided on: the queue, and the blocks of the demands known by now.
    fn hold_queries(&self, demands: &[Demand], own: Option<&Verdict>) -> Vec<Query> {
        let undecided = if own.is_none() {
            Some(self.demand)
        } else {
            None
        };
        let blocks: BTreeSet<Query> = undecided
            .into_iter()
            .chain(demands)
            .flat_map(Demand::block_queries)
            .take(limits::QUERIES_PER_BATCH)
            .collect();
        [self.tickets_query()].into_iter().chain(blocks).collect()
    }

    /// Adds what the plan writes, and what becomes of the tickets it serves.
    fn write_batch(
        &self,
        draft: &mut Draft<'_>,
        plan: &Plan,
        served: &[(Demand, Option<&Queued>)],
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
