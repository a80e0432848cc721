//! The way of one demand: read, decide, commit, settle; and through the queue when others are at it.
//!
//! Without contention this is one read and one transaction, which is the lock: taken and released
//! in one instant. Contention shows as refused commits, and as a lock that somebody holds; then the
//! demand goes to [`queue`]. Why a demand is made is not known here.

use std::collections::BTreeSet;

use tracing::{debug, instrument};

use crate::allocator::{Budget, Demand, Plan, Reach, Verdict, decide};
use crate::claim::QueueId;
use crate::clock::{Chance, Clock};
use crate::limits;
use crate::queue;
use crate::session::{Commit, Failure, Session};
use crate::snapshot::{HeldLock, Query, Snapshot};
use crate::store::keys::Key;
use crate::store::{Store, Unavailable};

/// Carries out `demand`.
pub async fn perform<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    demand: &Demand,
) -> Result<Verdict, Failure> {
    let queues = demand.queues();
    let queries = queries(demand, &queues);
    let mut snapshot = session.snapshot(&queries).await?;
    let mut tries = 0;
    while lock_in(&snapshot, &queues).is_none() && tries_again(session.chance(), tries) {
        tries += 1;
        let budget = Budget {
            compares: limits::TRANSACTION_OPERATIONS - queues.len(),
            operations: limits::TRANSACTION_OPERATIONS,
        };
        let plan = decide_fully(session, &mut snapshot, &queries, demand, budget).await?;
        if plan.writes_nothing() {
            return Ok(only_verdict(plan));
        }
        let mut draft = session.draft();
        for queue in &queues {
            draft.absent(&Key::Lock(queue.clone()));
        }
        plan.write(&mut draft, session.clock().since_epoch());
        draft.read_otherwise(queries.iter().cloned());
        snapshot = match session.commit(draft).await? {
            Commit::Done(_) => return Ok(only_verdict(plan)),
            Commit::DoneUnread(corrupt) => unreachable!("nothing was read after: {corrupt}"),
            Commit::Conflict(snapshot) => snapshot,
            Commit::Unknown(reason) => {
                debug!(reason, "the commit is fenced off");
                let mut fence = session.draft();
                plan.write_fence(&mut fence);
                fence.read_anyway(queries.iter().cloned());
                session.settle(&fence).await?
            }
        };
    }
    let first = queues
        .iter()
        .next()
        .expect("a demand is about at least one address");
    let (queue, lock) = lock_in(&snapshot, &queues).unzip();
    queue::line_up(session, demand, queue.unwrap_or(first), lock).await
}

/// Whether to try once more without the lock. Each refusal means that somebody else got what was to be
/// had. With few others the next try succeeds; of many, one soon takes the lock and serves all.
fn tries_again(chance: &Chance, tries: usize) -> bool {
    tries == 0 || (tries < limits::OPTIMISTIC_TRIES && chance.below(limits::LOCK_CHANCE) != 0)
}

fn queries(demand: &Demand, queues: &BTreeSet<QueueId>) -> Vec<Query> {
    let claim = Query::Claim(demand.attachment().clone());
    let mut queries = vec![claim];
    queries.extend(queues.iter().cloned().map(Query::Lock));
    queries.extend(demand.block_queries(Reach::OneDemand));
    queries
}

/// The first of `queues` whose lock somebody holds.
fn lock_in<'q>(
    snapshot: &Snapshot,
    queues: &'q BTreeSet<QueueId>,
) -> Option<(&'q QueueId, HeldLock)> {
    queues.iter().find_map(|queue| {
        let lock = snapshot.lock(queue).expect("the locks were read");
        Some((queue, lock?))
    })
}

/// Decides `demand`, reading as much more as that takes, at the revision of the snapshot. If that
/// revision has been compacted, begins anew.
#[instrument(name = "decide", level = "debug", skip_all)]
async fn decide_fully<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    snapshot: &mut Snapshot,
    queries: &[Query],
    demand: &Demand,
    budget: Budget,
) -> Result<Plan, Failure> {
    for _ in 0..limits::READS_PER_DECISION {
        let plan = decide(snapshot, std::slice::from_ref(demand), budget);
        if !plan.verdicts.is_empty() {
            return Ok(plan);
        }
        match session.extend(snapshot, &plan.missing).await {
            Err(Failure::Unavailable(Unavailable::Compacted)) => {
                *snapshot = session.snapshot(queries).await?;
            }
            other => other?,
        }
    }
    let reason = format!("not decided after {} reads", limits::READS_PER_DECISION);
    Err(Unavailable::Later(reason).into())
}

fn only_verdict(plan: Plan) -> Verdict {
    plan.verdicts
        .into_iter()
        .next()
        .expect("a full decision has a verdict")
}
