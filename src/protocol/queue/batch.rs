//! One batch: what is served, in which order, and the one transaction that serves it. It checks that the lock,
//! each served ticket and each block is as it was read, and that each claim is as the demand says.

use std::collections::BTreeSet;

use tracing::{debug, instrument};

use super::hold::Hold;
use super::line::Line;
use crate::session::Commit;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::{Budget, Demand, Plan, Question, Verdict, decide};
use whereabouts_core::claim::{Ask, Attachment};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::draft::Draft;
use whereabouts_store::keys::{QueuedVerb, TicketId};
use whereabouts_store::record::{self, Ticket};
use whereabouts_store::snapshot::{HeldLock, Query, Queued, Snapshot};
use whereabouts_store::{Compare, Revision, Store, Unavailable, Write};

/// What a batch relies on: the lock, and the holder's own ticket as long as it has one.
#[derive(Clone, Copy)]
pub(super) struct Ground {
    pub(super) lock: HeldLock,
    pub(super) own_ticket: Option<Revision>,
}

/// A demand to serve, and its ticket where that is not the holder's own.
pub(super) type Served<'q> = (Demand, Option<&'q Queued>);

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// The own demand first, then those of the tickets, in order. Tickets that cannot be read, of a newer
    /// version perhaps, are passed over: their owners serve themselves once they have the lock.
    pub(super) fn to_serve<'q>(&self, others: &'q [Queued], hold: &Hold) -> Vec<Served<'q>> {
        let mut served = Vec::new();
        if hold.own.is_none() {
            served.push((self.demand.clone(), None));
        }
        for queued in others {
            let Ok((id, ticket)) = &queued.request else {
                continue;
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
                Ticket::Refused { .. } => {}
            }
        }
        served
    }

    /// Commits one batch, and tells what to go on with; `None` to leave.
    #[instrument(name = "batch", level = "debug", skip_all, fields(whereabouts.queue.length = others.len()))]
    pub(super) async fn serve(
        &mut self,
        hold: &mut Hold,
        snapshot: Snapshot,
        ground: Ground,
        others: &[Queued],
        served: &[Served<'_>],
    ) -> Result<Option<Snapshot>, Failure> {
        let demands: Vec<Demand> = served.iter().map(|(demand, _)| demand.clone()).collect();
        let reads = self.reads(&demands, hold);
        let plan = decide(snapshot.facts(), &demands, budget(hold.most, reads.len()));
        if plan.verdicts.is_empty() {
            return self.read_more(snapshot, plan.missing, hold).await.map(Some);
        }
        let own = if hold.own.is_none() {
            plan.verdicts.first().cloned()
        } else {
            None
        };
        let mut draft = self.session.draft();
        draft.modified(&self.lock_key(), ground.lock.modified);
        self.write_batch(&mut draft, &plan, served, ground.own_ticket, others);
        let size = plan.verdicts.len();
        let everybody = others.len() + usize::from(own.is_some());
        // Where many wait, more may be on their way.
        let many = size >= limits::MANY;
        if size == everybody && !many {
            draft.delete_lock_if_last(&self.id().queue, snapshot.revision());
        }
        draft
            .read_anyway(reads.iter().cloned())
            .read_otherwise(claims_of(&demands))
            .read_otherwise(demands.iter().find_map(Query::whose_store));
        debug!(
            serving = plan.verdicts.len(),
            waiting = others.len(),
            "a batch"
        );
        let begun = self.session.clock().since_epoch();
        match self.session.commit(draft).await {
            Ok(done @ (Commit::Done(_) | Commit::DoneUnread(_))) => {
                let tickets: Vec<_> = others_of(served, size).collect();
                let holder = &self.id().attachment;
                self.session.traces().served(holder, begun, size, &tickets);
                if own.is_some() {
                    hold.own = own;
                    self.place = None;
                }
                hold.most = limits::TRANSACTION_OPERATIONS;
                hold.batches += 1;
                hold.looks = if many { limits::LOOKS_FOR_MORE } else { 0 };
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
                    .created(&self.lock_key(), ground.lock.created)
                    .touch(&self.lock_key())
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
        missing: Vec<Question>,
        hold: &Hold,
    ) -> Result<Snapshot, Failure> {
        let missing: Vec<Query> = missing.into_iter().map(Query::Blocks).collect();
        match self.session.extend(&mut snapshot, &missing).await {
            Err(Failure::Unavailable(Unavailable::Compacted)) => {
                self.session.snapshot(&self.reads_anew(hold)).await
            }
            other => other.map(|()| snapshot),
        }
    }

    /// Adds what the plan writes, and what becomes of the tickets it serves.
    fn write_batch(
        &self,
        draft: &mut Draft<'_>,
        plan: &Plan,
        served: &[Served<'_>],
        own_ticket: Option<Revision>,
        others: &[Queued],
    ) {
        draft.plan(plan, self.session.clock().since_epoch());
        for ((demand, ticket), verdict) in served.iter().zip(&plan.verdicts) {
            match (ticket, own_ticket) {
                (Some(ticket), _) => write_answer(draft, ticket, verdict),
                (None, Some(modified)) => {
                    let own = self.ticket_key();
                    draft.modified(&own, modified).delete(&own);
                }
                (None, None) => {}
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

/// Adds what becomes of a ticket that is served: it is deleted, or says why there is no address.
fn write_answer(draft: &mut Draft<'_>, ticket: &Queued, verdict: &Verdict) {
    let key = ticket.key.clone();
    draft.compare(Compare::Modified(key.clone(), ticket.modified));
    draft.write(match (verdict, &ticket.request) {
        (Verdict::Short(shortage), Ok((id, Ticket::Take { sender, owner, .. }))) => {
            let refused = Ticket::Refused {
                sender: *sender,
                node: owner.node.clone(),
                shortage: shortage.clone(),
            };
            Write::Rewrite {
                key,
                value: record::encode_ticket(&id.attachment, &refused),
            }
        }
        (_, Ok(_) | Err(_)) => Write::Delete(key),
    });
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

/// What the demands of a batch may use: `most`, less what the holder itself needs, for the lock and for
/// its own ticket, and to compare whose the store is.
fn budget(most: usize, reads: usize) -> Budget {
    let slack = limits::CANCELLED_PER_BATCH;
    Budget {
        compares: most.saturating_sub(3 + slack),
        operations: most.saturating_sub(2 + reads + slack),
    }
}

fn claims_of(demands: &[Demand]) -> BTreeSet<Query> {
    demands
        .iter()
        .map(|demand| Query::Claim(demand.attachment().clone()))
        .collect()
}
