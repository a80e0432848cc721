//! The requester: read, decide, commit. Without contention that is all, and the commit is the lock for one instant.

use std::collections::BTreeSet;

use tracing::debug_span;

use super::machine::{Machine, State, Step};
use super::place::Place;
use super::transactions;
use whereabouts_core::allocator::{Budget, Demand, Plan, Predecessors, Reach, Verdict, decide};
use whereabouts_core::claim::{Attachment, RangeId};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::keys::Key;
use whereabouts_store::snapshot::{Query, Snapshot};

/// How often a requester has tried.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// Whether a commit was refused. If the next one is refused as well, it offers the lock to this process.
    pub(super) is_refused: bool,
    /// Further reads of this decision.
    pub(super) reads: usize,
    /// Why the last commit's outcome was unknown, until the next commit.
    pub(super) unknown: Option<String>,
    /// The attachments that this one may take over from, once they were read.
    pub(super) predecessors: Option<Predecessors>,
}

impl<'a> Machine<'a> {
    pub(super) fn queries_of_requester(&self, trial: &Trial) -> Vec<Query> {
        let claim = Query::Claim(self.demand.attachment().clone());
        let old = match &trial.predecessors {
            Some(known) => claims(known.attachments()),
            None => Query::of_pod(self.demand).into_iter().collect(),
        };
        let locks = self.ranges.iter().cloned().map(Query::Lock);
        let blocks = self.demand.block_questions(Reach::OneDemand);
        let blocks = blocks.into_iter().map(Query::Blocks);
        let own = [claim].into_iter().chain(old);
        own.chain(locks).chain(blocks).collect()
    }

    /// Decides on `snapshot`, unless the claim tells the verdict, or a lock is taken. An address that the pod has is its
    /// own, whoever has the lock.
    pub(super) fn decide(&mut self, mut trial: Trial, snapshot: Snapshot) -> Step<'a> {
        if let Some(range) = self.offered(&snapshot) {
            return self.contend(range, Some(snapshot));
        }
        if let Some(verdict) = self.verdict(&snapshot) {
            return self.confirm(verdict);
        }
        if let Demand::Take(ask) = self.demand {
            let begun = self.begun.unwrap_or(snapshot.revision());
            let known = trial.predecessors.take();
            let known = known.unwrap_or_else(|| snapshot.predecessors(ask, begun));
            let plan = known.plan(ask, snapshot.facts());
            trial.predecessors = Some(known);
            match plan {
                Ok(None) => {}
                Ok(Some(plan)) => return self.commit(trial, plan),
                Err(unread) => return self.read_more(trial, snapshot, claims(&unread)),
            }
        }
        if let Some(range) = taken(&self.ranges, &snapshot) {
            return self.contend(range, Some(snapshot));
        }
        let budget = Budget {
            // The locks, and whose the store is.
            compares: limits::TRANSACTION_OPERATIONS - self.ranges.len() - 1,
            operations: limits::TRANSACTION_OPERATIONS,
        };
        let decide = || decide(snapshot.facts(), std::slice::from_ref(self.demand), budget);
        let plan = debug_span!("decide").in_scope(decide);
        if plan.verdicts.is_empty() {
            let missing = plan.missing.into_iter().map(Query::Blocks).collect();
            return self.read_more(trial, snapshot, missing);
        }
        if plan.writes_nothing() {
            return Step::Done(Ok(plan.only_verdict()));
        }
        self.commit(trial, plan)
    }

    /// The range whose lock a refused commit has offered to this process, which has not heard of it. This
    /// process gives that lock up, also if the claim is decided.
    fn offered(&self, snapshot: &Snapshot) -> Option<RangeId> {
        let is_mine = |range: &&RangeId| {
            let lock = snapshot.lock(range).expect("the locks were read");
            lock.is_some_and(|lock| self.is_mine(&lock))
        };
        self.ranges.iter().find(is_mine).cloned()
    }

    fn read_more(&mut self, mut trial: Trial, snapshot: Snapshot, more: Vec<Query>) -> Step<'a> {
        trial.reads += 1;
        if trial.reads >= limits::READS_PER_DECISION {
            return Step::Done(Err(Failure::Undecided(trial.reads)));
        }
        self.to(State::Deciding(trial), Step::ReadMore(snapshot, more))
    }

    /// A claim that is there already was compared with nothing: whose the store is, a read tells.
    fn confirm(&mut self, verdict: Verdict) -> Step<'a> {
        if !matches!(verdict, Verdict::Held(_)) {
            return Step::Done(Ok(verdict));
        }
        self.to(State::Confirming(verdict), Step::Read(vec![Query::Cluster]))
    }

    pub(super) fn commit(&mut self, mut trial: Trial, plan: Plan) -> Step<'a> {
        if let Some(reason) = trial.unknown.take() {
            return self.to(State::Committing(trial, plan), Step::Pause(reason));
        }
        trial.reads = 0;
        let mut draft = self.draft();
        transactions::claim(&mut draft, &self.ranges, &plan, self.now.date);
        draft.read_otherwise(self.when_refused(&trial));
        if trial.is_refused && !plan.takes_over() {
            // A process that does not know its cluster gets nothing once the store has an identity: it would leave an
            // offered lock.
            let is_unknown = Query::whose_store(self.demand).is_some() && !self.knows_its_cluster();
            let unless = is_unknown.then_some(Key::Cluster);
            transactions::offer(&mut draft, &self.ranges, unless, &self.lock());
        }
        self.to(State::Committing(trial, plan), Step::Commit(draft))
    }

    fn when_refused(&self, trial: &Trial) -> impl Iterator<Item = Query> {
        let whose = Query::whose_store(self.demand);
        self.queries_of_requester(trial).into_iter().chain(whose)
    }

    /// The commit was refused. Where few meet, the next one succeeds; the second one has offered the lock to this process,
    /// if it was free. A take-over meets nobody at a block.
    pub(super) fn refused(&mut self, trial: Trial, plan: &Plan, refused: Snapshot) -> Step<'a> {
        if plan.takes_over() {
            return self.decide(trial, refused);
        }
        if trial.is_refused && taken(&self.ranges, &refused).is_none() {
            let first = self.ranges.first().expect("a demand is about an address");
            return self.contend(first.clone(), None);
        }
        let is_refused = true;
        self.decide(
            Trial {
                is_refused,
                ..trial
            },
            refused,
        )
    }

    /// Makes a commit impossible whose outcome is unknown, or finds it done.
    pub(super) fn fence(&mut self, trial: Trial, plan: &Plan, reason: String) -> Step<'a> {
        let mut draft = self.draft();
        transactions::fence_claim(&mut draft, plan);
        draft.read_anyway(self.when_refused(&trial));
        let trial = Trial {
            reads: 0,
            unknown: Some(reason),
            ..trial
        };
        self.to(State::Deciding(trial), Step::Fence(draft))
    }

    fn contend(&mut self, range: RangeId, snapshot: Option<Snapshot>) -> Step<'a> {
        let place = Box::new(Place::new(self.demand, range.clone()));
        self.to(
            State::Entering(place, snapshot.map(Box::new)),
            Step::Enter(range),
        )
    }
}

fn claims(of: &[Attachment]) -> Vec<Query> {
    of.iter().cloned().map(Query::Claim).collect()
}

/// The first of `ranges` whose lock is not free.
fn taken(ranges: &BTreeSet<RangeId>, snapshot: &Snapshot) -> Option<RangeId> {
    let is_taken = |range: &&RangeId| snapshot.lock(range).expect("the locks were read").is_some();
    ranges.iter().find(is_taken).cloned()
}
