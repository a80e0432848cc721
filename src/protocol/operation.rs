//! The way of one demand: read, decide, commit, settle; and through the queue when others are at it.
//!
//! Without contention this is one read and one transaction, which is the lock: taken and released
//! in one instant. Contention shows as a refused commit, and as a lock that somebody has; then the
//! demand goes to [`queue`]. A second commit, if it is refused too, offers the lock to its sender in the same
//! instant, if it is free: so whoever is refused after it finds whom to wait for. Why a demand is made is not
//! known here.

use std::collections::BTreeSet;

use tracing::{debug, instrument};

use crate::queue::{self, Lock};
use crate::session::{Commit, Session};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::{Budget, Demand, Plan, Reach, Verdict, decide};
use whereabouts_core::claim::QueueId;
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::keys::Key;
use whereabouts_store::record;
use whereabouts_store::snapshot::{HeldLock, Query, Snapshot};
use whereabouts_store::{Store, Unavailable};

/// Carries out `demand`.
pub async fn perform<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    demand: &Demand,
) -> Result<Verdict, Failure> {
    let queues = demand.queues();
    let queries = queries(demand, &queues);
    let when_refused = || queries.iter().cloned().chain(Query::whose_store(demand));
    let locks: Vec<Key> = queues.iter().cloned().map(Key::Lock).collect();
    // A process that does not know its cluster gets nothing once the store has an identity, and would leave an offered
    // lock. A known identity is the store's when its first commit was refused, and stays so.
    let unless = (Query::whose_store(demand).is_some() && session.identity().is_none())
        .then_some(Key::Cluster);
    let mut snapshot = session.snapshot(&queries).await?;
    let mut pauses = session.pauses();
    let mut unknown: Option<String> = None;
    let mut was_refused = false;
    loop {
        if let Some((queue, lock)) = lock_in(&snapshot, &queues) {
            let is_own = snapshot.holder(queue) == Some(&queue::holder(demand));
            let lock = match unknown {
                Some(_) if lock.is_offered() && is_own => Lock::PerhapsOffered(lock),
                _ => Lock::Taken(lock),
            };
            return queue::line_up(session, demand, queue, lock).await;
        }
        let budget = Budget {
            // The locks, and whose the store is.
            compares: limits::TRANSACTION_OPERATIONS - queues.len() - 1,
            operations: limits::TRANSACTION_OPERATIONS,
        };
        let plan = decide_fully(session, &mut snapshot, &queries, demand, budget).await?;
        if plan.writes_nothing() {
            let verdict = only_verdict(plan);
            if let Verdict::Held(_) = verdict {
                // No commit compares whose the store is.
                session.snapshot(&[Query::Cluster]).await?;
            }
            return Ok(verdict);
        }
        if let Some(reason) = unknown.take() {
            session.pause(&mut pauses, &reason).await?;
        }
        let mut draft = session.draft();
        for lock in &locks {
            draft.absent(lock);
        }
        draft.plan(&plan, session.clock().since_epoch());
        draft.read_otherwise(when_refused());
        if was_refused {
            let keys = locks.iter().chain(&unless);
            draft.put_otherwise(keys, record::encode_lock(&queue::holder(demand)));
        }
        snapshot = match session.commit(draft).await? {
            Commit::Done(_) => return Ok(only_verdict(plan)),
            Commit::DoneUnread(corrupt) => unreachable!("nothing was read after: {corrupt}"),
            Commit::Conflict(refused) if was_refused && lock_in(&refused, &queues).is_none() => {
                let first = queues.first().expect("a demand is about an address");
                let lock = Lock::Offered(refused.revision());
                return queue::line_up(session, demand, first, lock).await;
            }
            // Somebody else got what was to be had. Where few meet, the next try succeeds.
            Commit::Conflict(refused) => {
                was_refused = true;
                refused
            }
            Commit::Unknown(reason) => {
                debug!(reason, "the commit is fenced off");
                unknown = Some(reason);
                let mut fence = session.draft();
                fence.fence(&plan);
                fence.read_anyway(when_refused());
                session.settle(&fence).await?
            }
        };
    }
}

fn queries(demand: &Demand, queues: &BTreeSet<QueueId>) -> Vec<Query> {
    let claim = Query::Claim(demand.attachment().clone());
    let mut queries = vec![claim];
    queries.extend(queues.iter().cloned().map(Query::Lock));
    queries.extend(
        demand
            .block_questions(Reach::OneDemand)
            .into_iter()
            .map(Query::Blocks),
    );
    queries
}

/// The first of `queues` whose lock is not free.
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
        let plan = decide(snapshot.facts(), std::slice::from_ref(demand), budget);
        if !plan.verdicts.is_empty() {
            return Ok(plan);
        }
        let missing: Vec<Query> = plan.missing.into_iter().map(Query::Blocks).collect();
        match session.extend(snapshot, &missing).await {
            Err(Failure::Unavailable(Unavailable::Compacted)) => {
                *snapshot = session.snapshot(queries).await?;
            }
            other => other?,
        }
    }
    Err(Failure::Undecided(limits::READS_PER_DECISION))
}

fn only_verdict(plan: Plan) -> Verdict {
    plan.verdicts
        .into_iter()
        .next()
        .expect("a full decision has a verdict")
}
