//! One operation's access to the store: a bound around every call, retries of what may be retried,
//! and the settling of what is unknown.
//!
//! A session knows when its operation must end. It repeats reads and leases until then; a commit is
//! repeated only when it was surely not written. It knows nothing of addresses.

use std::cell::Cell;
use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::exponential::ExponentialBackoff;
use tracing::{Span, debug, instrument};

use crate::traces::{Traces, Untraced};
use whereabouts_clock::{Chance, Clock, within};
use whereabouts_core::failure::Corrupt;
use whereabouts_core::failure::Failure;
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_store::keys::Keys;
use whereabouts_store::snapshot::{Query, Snapshot};
use whereabouts_store::txn_builder::TxnBuilder;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Revision, Store, Txn, Unavailable, View,
};

/// How a commit ended; that it was surely not written is a [`Failure`].
#[derive(Debug)]
pub enum Commit {
    /// Written, and what was read after the writes.
    Done(Snapshot),
    /// Written, but what was read after the writes cannot be used.
    DoneUnread(Corrupt),
    /// Not written, because of what this snapshot shows.
    Conflict(Snapshot),
    /// Perhaps written, now or later.
    Unknown(String),
}

/// Notes on the running span how a commit ended, after so many attempts.
fn note_outcome(outcome: &Result<Outcome, CommitError>, attempts: u32) {
    let span = Span::current();
    let (outcome, revision) = match outcome {
        Ok(Outcome::Done(view)) => ("done", Some(view.revision)),
        Ok(Outcome::Conflict(view)) => ("conflict", Some(view.revision)),
        Err(CommitError::Unknown(_)) => ("unknown", None),
        Err(CommitError::Unavailable(_)) => ("unavailable", None),
    };
    if revision.is_none() {
        span.record("otel.status_code", "ERROR");
    }
    span.record("whereabouts.outcome", outcome);
    span.record("whereabouts.revision", revision);
    span.record("whereabouts.attempts", i64::from(attempts));
}

/// One operation's access to the store.
pub struct Session<'a, S, C> {
    store: &'a S,
    clock: &'a C,
    chance: &'a Chance,
    keys: &'a Keys,
    identity: Option<&'a Identity>,
    traces: &'a dyn Traces,
    until: Instant,
    end: Instant,
    cluster: Cell<Option<u64>>,
    started: Instant,
    /// The revision of the first read, and whether it was answered soon after the start.
    begun: Cell<Option<(Revision, bool)>>,
    /// Whether the store has answered anything.
    is_reached: Cell<bool>,
    attempt: Cell<Duration>,
}

impl<'a, S: Store, C: Clock> Session<'a, S, C> {
    /// A session of an operation that may take `deadline` from now. Part of that is kept for
    /// settling: see [`Session::settling`].
    pub fn new(
        store: &'a S,
        clock: &'a C,
        chance: &'a Chance,
        keys: &'a Keys,
        deadline: Duration,
    ) -> Self {
        let now = clock.now();
        let kept = Duration::from_millis(limits::SETTLE_MS).min(deadline / 4);
        Self {
            store,
            clock,
            chance,
            keys,
            identity: None,
            traces: &Untraced,
            until: now + deadline.saturating_sub(kept),
            end: now + deadline,
            cluster: Cell::new(None),
            started: now,
            begun: Cell::new(None),
            is_reached: Cell::new(false),
            attempt: Cell::new(Duration::from_millis(limits::ATTEMPT_MS)),
        }
    }

    /// The same session, of the cluster `identity`. Until then the identity is not known.
    #[must_use]
    pub fn of(self, identity: Option<&'a Identity>) -> Self {
        Self { identity, ..self }
    }

    /// The same session, of an operation that began at `started`.
    #[must_use]
    pub fn since(self, started: Instant) -> Self {
        Self { started, ..self }
    }

    /// The same session, which takes part in `traces`.
    #[must_use]
    pub fn traced(self, traces: &'a dyn Traces) -> Self {
        Self { traces, ..self }
    }

    /// The same session with the time that was kept for leaving in good order.
    #[must_use]
    pub fn settling(&self) -> Self {
        Self {
            store: self.store,
            clock: self.clock,
            chance: self.chance,
            keys: self.keys,
            identity: self.identity,
            traces: self.traces,
            until: self.end,
            end: self.end,
            cluster: self.cluster.clone(),
            started: self.started,
            begun: self.begun.clone(),
            is_reached: self.is_reached.clone(),
            attempt: self.attempt.clone(),
        }
    }

    /// The clock.
    pub fn clock(&self) -> &'a C {
        self.clock
    }

    /// The source of chance.
    pub fn chance(&self) -> &'a Chance {
        self.chance
    }

    /// The traces.
    pub fn traces(&self) -> &'a dyn Traces {
        self.traces
    }

    /// The keys.
    pub fn keys(&self) -> &'a Keys {
        self.keys
    }

    /// The identity of this cluster, if it is known.
    pub fn identity(&self) -> Option<&'a Identity> {
        self.identity
    }

    /// The revision of the first read, once there was one: whatever came into being after it is no older than this
    /// operation.
    pub(crate) fn begun(&self) -> Option<Revision> {
        self.begun.get().map(|(revision, _)| revision)
    }

    /// Whether the first read was answered so long after the start that it tells nothing of who began first.
    pub(crate) fn began_late(&self) -> bool {
        self.begun.get().is_some_and(|(_, is_prompt)| !is_prompt)
    }

    /// The surroundings of a machine of the protocol.
    pub(crate) fn surroundings(&self) -> (&'a Keys, Option<&'a Identity>, &'a dyn Traces) {
        (self.keys, self.identity, self.traces)
    }

    /// When the operation must begin to leave.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// An empty transaction.
    pub fn draft(&self) -> TxnBuilder<'a> {
        TxnBuilder::new(self.keys, self.identity)
    }

    /// Reads at one moment between now and the answer.
    pub async fn snapshot(&self, queries: &[Query]) -> Result<Snapshot, Failure> {
        let view = self.view(queries, At::Now).await?;
        self.own(Snapshot::new(self.keys, queries, view)?)
    }

    /// Reads at any moment, as the member that answers knows it.
    pub async fn stale_snapshot(&self, queries: &[Query]) -> Result<Snapshot, Failure> {
        let view = self.view(queries, At::Whenever).await?;
        Ok(Snapshot::new(self.keys, queries, view)?)
    }

    /// Reads more at the revision of `snapshot`: a later one would not fit together with it.
    pub async fn extend(&self, snapshot: &mut Snapshot, queries: &[Query]) -> Result<(), Failure> {
        let view = self
            .view(queries, At::Revision(snapshot.revision()))
            .await?;
        snapshot.extend(self.keys, queries, view)?;
        self.check_owner(snapshot)
    }

    /// The snapshot, if it does not show that the store is another cluster's.
    fn own(&self, snapshot: Snapshot) -> Result<Snapshot, Failure> {
        self.check_owner(&snapshot).map(|()| snapshot)
    }

    fn check_owner(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        match snapshot.cluster() {
            Ok(_) => snapshot.check_owner(self.keys, self.identity),
            Err(_) => Ok(()),
        }
    }

    #[instrument(name = "read", level = "debug", skip_all, fields(
        whereabouts.attempts, whereabouts.revision, otel.status_code
    ))]
    async fn view(&self, queries: &[Query], at: At) -> Result<View, Failure> {
        let reads: Vec<_> = queries.iter().map(|query| query.read(self.keys)).collect();
        let view = self.repeat(|| self.store.read(&reads, at)).await?;
        Span::current().record("whereabouts.revision", view.revision);
        self.check_cluster(view.cluster)?;
        if self.begun.get().is_none() {
            let waited = self.clock.now().saturating_duration_since(self.started);
            let is_prompt = waited <= Duration::from_millis(limits::PROMPT_MS);
            self.begun.set(Some((view.revision, is_prompt)));
        }
        Ok(view)
    }

    /// Commits a transaction.
    #[instrument(level = "debug", skip_all, fields(
        whereabouts.attempts, whereabouts.outcome, whereabouts.revision, otel.status_code
    ))]
    pub async fn commit(&self, draft: TxnBuilder<'_>) -> Result<Commit, Failure> {
        let (txn, then, otherwise) = draft.finish();
        match self.send(&txn).await? {
            Ok(Outcome::Done(view)) => {
                self.check_cluster(view.cluster)?;
                Ok(match Snapshot::new(self.keys, &then, view) {
                    Ok(snapshot) => Commit::Done(snapshot),
                    Err(corrupt) => Commit::DoneUnread(corrupt),
                })
            }
            Ok(Outcome::Conflict(view)) => {
                self.traces.conflict();
                self.check_cluster(view.cluster)?;
                let snapshot = Snapshot::new(self.keys, &otherwise, view)?;
                self.own(snapshot).map(Commit::Conflict)
            }
            Err(reason) => Ok(Commit::Unknown(reason)),
        }
    }

    /// Sends a transaction until an endpoint takes it. The inner error is the reason why the outcome is unknown.
    async fn send(&self, txn: &Txn) -> Result<Result<Outcome, String>, Failure> {
        let mut pauses = self.pauses();
        loop {
            let sent = self.clock.now();
            let outcome = within(self.clock, self.attempt_end(), self.store.commit(txn)).await;
            if outcome.is_some() {
                self.answered_after(self.clock.now() - sent);
            }
            let outcome = outcome.unwrap_or_else(|| {
                self.lengthen_attempts();
                Err(CommitError::Unknown("no reply in time".to_owned()))
            });
            match &outcome {
                Err(CommitError::Unknown(_) | CommitError::Unavailable(Unavailable::Later(_))) => {}
                Ok(_) | Err(CommitError::Unavailable(_)) => self.is_reached.set(true),
            }
            let attempts = pauses.tries + 1;
            if let Err(CommitError::Unavailable(
                Unavailable::Later(reason) | Unavailable::NotNow(reason),
            )) = &outcome
            {
                let longest = self.longest_pause(matches!(
                    outcome,
                    Err(CommitError::Unavailable(Unavailable::NotNow(_)))
                ));
                match self.pause_at_most(&mut pauses, longest, reason).await {
                    Ok(()) => continue,
                    Err(failure) => {
                        note_outcome(&outcome, attempts);
                        return Err(failure);
                    }
                }
            }
            note_outcome(&outcome, attempts);
            return match outcome {
                Ok(outcome) => Ok(Ok(outcome)),
                Err(CommitError::Unknown(reason)) => Ok(Err(reason)),
                Err(CommitError::Unavailable(reason)) => Err(reason.into()),
            };
        }
    }

    /// Commits a fence: a transaction that makes one with an unknown outcome impossible, or fails
    /// because that one, or another, came first. Either way nothing is unknown afterwards, and the
    /// snapshot of `fence`'s reads tells what is.
    #[instrument(level = "debug", skip_all)]
    pub async fn settle(&self, fence: &TxnBuilder<'_>) -> Result<Snapshot, Failure> {
        let session = self.settling();
        let mut pauses = session.pauses();
        loop {
            match session.commit(fence.clone()).await {
                Ok(Commit::Done(snapshot) | Commit::Conflict(snapshot)) => {
                    return self.own(snapshot);
                }
                Ok(Commit::DoneUnread(corrupt)) => return Err(corrupt.into()),
                Err(Failure::Unreachable { reason, .. } | Failure::OutOfTime { reason, .. }) => {
                    return Err(Failure::Unsettled(reason));
                }
                Err(failure) => return Err(failure),
                Ok(Commit::Unknown(reason)) => {
                    let out_of_time = |_| Failure::Unsettled(reason.clone());
                    session
                        .pause(&mut pauses, &reason)
                        .await
                        .map_err(out_of_time)?;
                }
            }
        }
    }

    /// Grants a lease for a lock.
    #[instrument(name = "grant lease", level = "debug", skip_all, fields(
        whereabouts.attempts, otel.status_code
    ))]
    pub async fn grant(&self) -> Result<Lease, Failure> {
        self.repeat(|| self.store.grant(limits::LOCK_TTL_S)).await
    }

    /// Lets a lease live on, in one try: its owner tries again in time.
    #[instrument(name = "keep lease alive", level = "debug", skip_all)]
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        let late = || Err(Unavailable::Later("no reply in time".to_owned()));
        let alive = self.store.keep_alive(lease);
        within(self.clock, self.attempt_end(), alive)
            .await
            .unwrap_or_else(late)
    }

    /// Ends a lease, in one try: if that fails, it ends by itself.
    #[instrument(name = "revoke lease", level = "debug", skip_all)]
    pub async fn revoke(&self, lease: LeaseId) {
        let revoked = within(self.clock, self.attempt_end(), self.store.revoke(lease)).await;
        match revoked {
            Some(Ok(()) | Err(Unavailable::LeaseNotFound)) => {}
            Some(Err(error)) => debug!(lease, %error, "a lease is left to its end"),
            None => debug!(lease, "a lease is left to its end"),
        }
    }

    /// Ends a lease for certain, so that nothing can be bound to it any more: what was sent with it
    /// and is still on its way will be refused.
    #[instrument(name = "end lease", level = "debug", skip_all, fields(whereabouts.attempts))]
    pub async fn end_lease(&self, lease: LeaseId) -> Result<(), Failure> {
        match self.repeat(|| self.store.revoke(lease)).await {
            Err(Failure::Unavailable(Unavailable::LeaseNotFound)) => Ok(()),
            other => other,
        }
    }

    /// Watches `keys` from now on.
    #[instrument(level = "debug", skip_all, fields(whereabouts.attempts, otel.status_code))]
    pub async fn watch(&self, keys: &[Vec<u8>]) -> Result<S::Watch, Failure> {
        self.repeat(|| self.store.watch(keys)).await
    }

    /// Pauses between two tries of something that failed with `reason`, or ends the operation when
    /// its time is over.
    pub async fn pause(&self, pauses: &mut Pauses, reason: &str) -> Result<(), Failure> {
        let longest = self.longest_pause(false);
        self.pause_at_most(pauses, longest, reason).await
    }

    /// The longest pause before another try. A server that has too many requests is left alone for longer, while there is time.
    fn longest_pause(&self, is_busy: bool) -> Duration {
        let longest = Duration::from_millis(limits::LONGEST_RETRY_MS);
        if !is_busy {
            return longest;
        }
        let left = self.until.saturating_duration_since(self.clock.now());
        let most = Duration::from_millis(limits::LONGEST_BUSY_RETRY_MS);
        (left / 3).clamp(longest, most)
    }

    async fn pause_at_most(
        &self,
        pauses: &mut Pauses,
        longest: Duration,
        reason: &str,
    ) -> Result<(), Failure> {
        let pause = self.chance.jitter(pauses.next().min(longest));
        let resume = self.clock.now() + pause;
        if resume >= self.until {
            let (tries, reason) = (pauses.tries, reason.to_owned());
            return Err(if self.is_reached.get() {
                Failure::OutOfTime { tries, reason }
            } else {
                Failure::Unreachable { tries, reason }
            });
        }
        debug!(tries = pauses.tries, reason, "to be tried again");
        self.clock.sleep_until(resume).await;
        Ok(())
    }

    /// Growing pauses, from the start.
    pub fn pauses(&self) -> Pauses {
        Pauses::new(self.clock)
    }

    /// Asks until there is an answer. The span is told of the end alone: it has each attribute once, and is no
    /// error if a later attempt succeeds.
    async fn repeat<T, F>(&self, call: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Unavailable>>,
    {
        let mut attempts = 0;
        let answer = self.attempt(&mut attempts, call).await;
        let span = Span::current();
        span.record("whereabouts.attempts", attempts);
        if answer.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        answer
    }

    async fn attempt<T, F>(&self, attempts: &mut i64, call: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Unavailable>>,
    {
        let mut pauses = self.pauses();
        let mut answered = None;
        loop {
            *attempts += 1;
            let sent = self.clock.now();
            let answer = within(self.clock, self.attempt_end(), call()).await;
            if answer.is_some() {
                self.answered_after(self.clock.now() - sent);
            }
            if !matches!(answer, None | Some(Err(Unavailable::Later(_)))) {
                self.is_reached.set(true);
            }
            let longest = self.longest_pause(matches!(answer, Some(Err(Unavailable::NotNow(_)))));
            let reason = match answer {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(Unavailable::Later(reason) | Unavailable::NotNow(reason))) => {
                    answered.insert(reason).clone()
                }
                Some(Err(reason)) => return Err(reason.into()),
                None => {
                    self.lengthen_attempts();
                    late(answered.as_deref())
                }
            };
            self.pause_at_most(&mut pauses, longest, &reason).await?;
        }
    }

    /// The end of the next attempt. Of the time that is left, each takes a third at most: another member may answer.
    fn attempt_end(&self) -> Instant {
        let now = self.clock.now();
        let share = self.until.saturating_duration_since(now) / 3;
        let most = share.max(Duration::from_millis(limits::ATTEMPT_MS));
        (now + self.attempt.get().min(most)).min(self.until)
    }

    /// After a slow reply: the next one may be slower, and giving it up would double the work of a busy server.
    fn answered_after(&self, took: Duration) {
        let longest = Duration::from_millis(limits::LONGEST_ATTEMPT_MS);
        let patient = (took * limits::ATTEMPT_ROUND_TRIPS).min(longest);
        self.attempt.set(self.attempt.get().max(patient));
    }

    /// After a reply that did not come: a busy server must not be asked ever faster.
    fn lengthen_attempts(&self) {
        let longest = Duration::from_millis(limits::LONGEST_ATTEMPT_MS);
        self.attempt.set((self.attempt.get() * 2).min(longest));
    }

    fn check_cluster(&self, now: u64) -> Result<(), Failure> {
        match self.cluster.replace(Some(now)) {
            Some(before) if before != now => Err(Failure::OtherCluster { before, now }),
            Some(_) | None => Ok(()),
        }
    }
}

/// The reason of a try that had no reply. The deadline often cuts the last try: an earlier reason then still names
/// the cause.
fn late(earlier: Option<&str>) -> String {
    match earlier {
        None => "no reply in time".to_owned(),
        Some(earlier) => format!("no reply in time; before that: {earlier}"),
    }
}

/// The growing pauses of one sequence of tries: `backoff`'s policy on the given clock, without a
/// randomisation of its own.
#[derive(Debug)]
pub struct Pauses {
    policy: ExponentialBackoff<Standstill>,
    tries: u32,
}

/// The clock `backoff` wants: it stands still, as the end of all tries is the session's to tell.
#[derive(Debug)]
struct Standstill(Instant);

impl backoff::Clock for Standstill {
    fn now(&self) -> Instant {
        self.0
    }
}

impl Pauses {
    fn new<C: Clock>(clock: &C) -> Self {
        let first = Duration::from_millis(limits::RETRY_MS);
        let start_time = clock.now();
        let policy = ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: Duration::from_millis(limits::LONGEST_BUSY_RETRY_MS),
            start_time,
            max_elapsed_time: None,
            clock: Standstill(start_time),
        };
        Self { policy, tries: 0 }
    }

    fn next(&mut self) -> Duration {
        self.tries += 1;
        self.policy
            .next_backoff()
            .expect("a policy without an end always has a next pause")
    }
}
