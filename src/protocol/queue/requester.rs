//! The requester: read, decide, commit. Without contention that is all, and the commit is the lock for one instant.

use tracing::debug_span;

use super::machine::{Machine, State, Step};
use super::place::Place;
use whereabouts_core::allocator::{Budget, Plan, Predecessors, Reach, Verdict, decide};
use whereabouts_core::claim::{Attachment, RangeId};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::snapshot::{LockEntry, Query, Snapshot};

/// How often a requester has tried.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// Whether a commit was refused. If the next one is refused as well, it offers the lock to this process.
    pub(super) is_refused: bool,
    /// Further reads of this decision.
    pub(super) reads: usize,
    /// The attachments that this one may take over from, once they were read.
    pub(super) predecessors: Option<Predecessors>,
}

impl<'a> Machine<'a> {
    pub(super) fn queries_of_requester(&self, trial: &Trial) -> Vec<Query> {
        let own = Query::Claim(self.demand.attachment().clone());
        let mut queries = match (&trial.predecessors, Query::of_pod(self.demand)) {
            // An own claim is nearly always among those of its pod, and the commit checks that there is none.
            (None, Some(of_pod)) => vec![of_pod],
            (None, None) => vec![own],
            (Some(known), _) => [claims(known.attachments()), vec![own]].concat(),
        };
        queries.extend(self.ranges.iter().cloned().map(Query::Lock));
        let blocks = self.demand.block_questions(Reach::OneDemand);
        queries.extend(blocks.into_iter().map(Query::Blocks));
        queries.extend(Query::of_owner(self.demand));
        queries
    }

    /// Decides on `snapshot`, unless the claim tells the verdict, or a lock is taken. An address that the pod or
    /// its name has is its own, whoever has the lock.
    pub(super) fn decide(&mut self, mut trial: Trial, snapshot: Snapshot) -> Step<'a> {
        // A later read, after a compaction, shows claims that are newer than this operation.
        let begun = *self.begun.get_or_insert(snapshot.revision());
        // A refused commit that this process has not heard of has offered it the lock: it gives that lock up, also if the
        // claim is decided.
        let is_mine = |lock: &LockEntry| lock.sender == Some(self.sender);
        if let Some(range) = self.locked(&snapshot, is_mine) {
            return self.contend(range, Some(snapshot));
        }
        if snapshot.shows_unread(self.demand.attachment()) {
            return self.read_own(trial, snapshot);
        }
        if let Some(verdict) = self.verdict(&snapshot) {
            // Nothing was compared with a claim that is there already: whose the store is, a read tells.
            if matches!(verdict, Verdict::Held(_)) && snapshot.cluster().is_err() {
                return self.read_more(trial, snapshot, vec![Query::Cluster]);
            }
            return Step::Done(Ok(verdict));
        }
        let known = trial.predecessors.take();
        let known = known.unwrap_or_else(|| snapshot.predecessors(self.demand, begun));
        let plan = known.plan(self.demand, snapshot.facts());
        trial.predecessors = Some(known);
        match plan {
            Ok(None) => {}
            Ok(Some(plan)) => match plan.predecessor() {
                Some(old) if self.now.began_late => {
                    return Step::Done(Err(Failure::BeganLate(old.clone())));
                }
                _ => return self.carry_out(trial, plan, snapshot),
            },
            Err(unread) => return self.read_more(trial, snapshot, claims(&unread)),
        }
        if let Some(range) = self.locked(&snapshot, |_| true) {
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
        self.carry_out(trial, plan, snapshot)
    }

    fn carry_out(&mut self, mut trial: Trial, plan: Plan, seen: Snapshot) -> Step<'a> {
        if plan.writes_nothing() {
            if seen.claim(self.demand.attachment()).is_err() {
                return self.read_own(trial, seen);
            }
            return Step::Done(Ok(plan.only_verdict()));
        }
        trial.reads = 0;
        let draft = self.claim(&trial, &plan);
        self.to(State::Committing(trial, plan), Step::Commit(draft))
    }

    /// The first range whose lock is not free, and `is` so.
    fn locked(&self, snapshot: &Snapshot, is: impl Fn(&LockEntry) -> bool) -> Option<RangeId> {
        let lock = |range: &RangeId| snapshot.lock(range).expect("the locks were read");
        let is_so = |range: &&RangeId| lock(range).is_some_and(|lock| is(&lock));
        self.ranges.iter().find(is_so).cloned()
    }

    /// Reads the own claim. The answer may rest on it alone, so whose the store is matters, too.
    fn read_own(&mut self, trial: Trial, snapshot: Snapshot) -> Step<'a> {
        let claim = Query::Claim(self.demand.attachment().clone());
        self.read_more(trial, snapshot, vec![claim, Query::Cluster])
    }

    fn read_more(&mut self, mut trial: Trial, snapshot: Snapshot, more: Vec<Query>) -> Step<'a> {
        trial.reads += 1;
        if trial.reads >= limits::READS_PER_DECISION {
            return Step::Done(Err(Failure::Undecided(trial.reads)));
        }
        self.to(State::Deciding(trial), Step::ReadMore(snapshot, more))
    }

    /// The commit was refused. Where few meet, the next one succeeds; the second one has offered the lock to this process,
    /// if it was free. A move meets nobody at a block.
    pub(super) fn refused(&mut self, mut trial: Trial, plan: &Plan, seen: Snapshot) -> Step<'a> {
        if plan.moves() {
            return self.decide(trial, seen);
        }
        if trial.is_refused && self.locked(&seen, |_| true).is_none() {
            let first = self.ranges.first().expect("a demand is about an address");
            return self.contend(first.clone(), None);
        }
        trial.is_refused = true;
        self.decide(trial, seen)
    }

    /// Goes to the queue of `range`. Without a snapshot the lock is this process's.
    fn contend(&mut self, range: RangeId, snapshot: Option<Snapshot>) -> Step<'a> {
        self.queue = Some(debug_span!(
            "queue",
            whereabouts.range = %range.cidr,
            whereabouts.pool = %range.pool
        ));
        let place = Box::new(Place::new(self.demand, self.sender, range));
        match snapshot {
            Some(snapshot) => self.stand(place, snapshot),
            None => self.begin(place),
        }
    }
}

fn claims(of: &[Attachment]) -> Vec<Query> {
    of.iter().cloned().map(Query::Predecessor).collect()
}
