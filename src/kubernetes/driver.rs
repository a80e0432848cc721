//! Carries out the steps of a machine: bounds, pauses and repetitions, until the deadline of the operation.

use std::cell::Cell;
use std::time::{Duration, Instant};

use whereabouts_clock::{Chance, Clock, within};
use whereabouts_core::failure::{ApiServerFailure, Failure};
use whereabouts_core::limits;

use crate::api::{ApiServer, ReadError, Refusal, WriteError};
use crate::protocol::{Answer, Machine, Next, Pause, Request, Step};
use crate::sound;

/// The shortest bound of the pause after the first write of another process, in milliseconds. It doubles with each further one.
const CONTENDED_MS: u64 = 15;

/// The same bound on a slower server, as so many times the time of the refused write. A slow server has many requesters, and those
/// that come first serve the others meanwhile.
const ANSWERS: u32 = 4;

/// Doublings of that bound, and the longest one, in milliseconds.
const DOUBLINGS: u32 = 5;
const LONGEST_CONTENDED_MS: u64 = 800;

/// One operation's access to the API server.
#[derive(Debug)]
pub(crate) struct Driver<'a, A, C> {
    pub(crate) server: &'a A,
    pub(crate) clock: &'a C,
    pub(crate) chance: &'a Chance,
    pub(crate) started: Instant,
    pub(crate) until: Instant,
    /// Whether the first answer came soon after the start, once there was one.
    pub(crate) is_prompt: Cell<Option<bool>>,
    /// Whether the server has answered anything.
    pub(crate) has_answered: Cell<bool>,
}

/// A try without a definite answer.
enum Unanswered {
    /// Nothing was carried out: another try is harmless.
    Refused(Refusal),
    /// The operation ends.
    Failed(Failure),
}

impl<A: ApiServer, C: Clock> Driver<'_, A, C> {
    /// Runs a machine to its end. `note` sees it after each answer.
    pub(crate) async fn run<M: Machine>(
        &self,
        machine: &mut M,
        note: impl Fn(&mut M),
    ) -> Result<M::End, Failure> {
        let mut next = machine.begin();
        let mut repeated = 0;
        let mut took = Duration::ZERO;
        loop {
            let step = match next {
                Next::Done(end) => return Ok(end),
                Next::Ask(step) => step,
            };
            repeated = match step.pause {
                Pause::Again => repeated + 1,
                Pause::No | Pause::Contended(_) => 0,
            };
            self.pause(&step, repeated, took).await;
            let asked = self.clock.now();
            let answer = self.answer(&step.request).await?;
            took = self.clock.now().saturating_duration_since(asked);
            let answer = sound::checked(step.purpose, answer)?;
            note(machine);
            next = machine.on(answer);
        }
    }

    /// The pause before `step`, after a request that took so long.
    async fn pause(&self, step: &Step, repeated: u32, took: Duration) {
        let pause = match step.pause {
            Pause::No => return,
            Pause::Contended(writes) => {
                let first = Duration::from_millis(CONTENDED_MS).max(took * ANSWERS);
                let doubled = first * (1 << writes.saturating_sub(1).min(DOUBLINGS));
                let longest = doubled.min(Duration::from_millis(LONGEST_CONTENDED_MS));
                let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
                Duration::from_micros(self.chance.below(micros.max(1)))
            }
            Pause::Again => self.growing(repeated),
        };
        self.sleep(pause).await;
    }

    fn growing(&self, tries: u32) -> Duration {
        let doubled = limits::RETRY_MS << tries.min(10);
        let pause = doubled.min(limits::LONGEST_RETRY_MS);
        self.chance.jitter(Duration::from_millis(pause))
    }

    /// The definite answer to a write, which is sent again while its outcome is unknown.
    pub(crate) async fn settle(&self, write: &Request) -> Result<Answer, Failure> {
        let mut tries = 0;
        loop {
            match self.answer(write).await? {
                Answer::Unknown => tries += 1,
                settled => return Ok(settled),
            }
            self.sleep(self.growing(tries)).await;
        }
    }

    async fn sleep(&self, pause: Duration) {
        self.clock.sleep_until(self.clock.now() + pause).await;
    }

    /// The answer to `request`. A request that was surely not carried out is sent again.
    pub(crate) async fn answer(&self, request: &Request) -> Result<Answer, Failure> {
        let (mut tries, mut denied) = (0, None);
        loop {
            if self.clock.now() >= self.until {
                let reason = "the deadline has passed".to_owned();
                return Err(self.given_up(ApiServerFailure::Unavailable(reason)));
            }
            let refusal = match self.attempt(request).await {
                Ok(answer) => return Ok(self.answered(answer)),
                Err(Unanswered::Failed(failure)) => return Err(failure),
                Err(Unanswered::Refused(refusal)) => refusal,
            };
            match &refusal.failure {
                ApiServerFailure::NotNow(_) => self.has_answered.set(true),
                ApiServerFailure::Denied(_) => {
                    self.has_answered.set(true);
                    let now = self.clock.now();
                    let since: &mut Instant = denied.get_or_insert(now);
                    if now >= *since + Duration::from_millis(limits::DENIED_MS) {
                        return Err(refusal.failure.into());
                    }
                }
                _ => {}
            }
            tries += 1;
            let pause = refusal
                .retry_after
                .unwrap_or(Duration::ZERO)
                .max(self.growing(tries));
            if self.clock.now() + pause >= self.until {
                return Err(self.given_up(refusal.failure));
            }
            self.sleep(pause).await;
        }
    }

    /// The failure of an operation that has no time for another try.
    fn given_up(&self, failure: ApiServerFailure) -> Failure {
        match failure {
            ApiServerFailure::Unavailable(reason) if !self.has_answered.get() => {
                ApiServerFailure::Unreachable(reason).into()
            }
            // The server has perhaps just started.
            ApiServerFailure::Denied(reason) => ApiServerFailure::NotNow(reason).into(),
            failure => failure.into(),
        }
    }

    fn answered(&self, answer: Answer) -> Answer {
        if answer == Answer::Unknown {
            return answer;
        }
        self.has_answered.set(true);
        if self.is_prompt.get().is_none() {
            let prompt = Duration::from_millis(limits::PROMPT_MS);
            let is_prompt = self.clock.now() <= self.started + prompt;
            self.is_prompt.set(Some(is_prompt));
        }
        answer
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, Unanswered> {
        let longest = Duration::from_millis(limits::LONGEST_ATTEMPT_MS);
        let until = self.until.min(self.clock.now() + longest);
        match within(self.clock, until, self.send(request)).await {
            Some(answer) => answer,
            None if matches!(request, Request::Write(_)) => Ok(Answer::Unknown),
            None => Err(Unanswered::Refused(Refusal {
                failure: ApiServerFailure::Unavailable("no answer in time".to_owned()),
                retry_after: None,
            })),
        }
    }

    async fn send(&self, request: &Request) -> Result<Answer, Unanswered> {
        match request {
            Request::Get(kind, name) => {
                let got = self.server.get(*kind, name).await;
                got.map(Answer::Got).or_else(ungotten)
            }
            Request::List(query) => {
                let listed = self.server.list(query).await;
                listed.map(Answer::Listed).or_else(unread)
            }
            Request::ListMetadata(query) => {
                let listed = self.server.list_metadata(query).await;
                listed.map(Answer::Names).or_else(unread)
            }
            Request::Write(write) => match self.server.write(write).await {
                Ok(object) => Ok(Answer::Done(object)),
                Err(WriteError::Exists) => Ok(Answer::Exists),
                Err(WriteError::Changed) => Ok(Answer::Changed),
                Err(WriteError::Gone) => Ok(Answer::Gone),
                Err(WriteError::Unknown(_)) => Ok(Answer::Unknown),
                Err(WriteError::Refused(refusal)) => Err(refused(refusal)),
            },
        }
    }
}

/// One object is of no revision that could be too old. A proxy has perhaps answered 410.
fn ungotten(error: ReadError) -> Result<Answer, Unanswered> {
    match error {
        ReadError::Expired => Err(Unanswered::Refused(Refusal {
            failure: ApiServerFailure::NotNow("410 Gone for one object".to_owned()),
            retry_after: None,
        })),
        ReadError::Failed(refusal) => Err(refused(refusal)),
    }
}

fn unread(error: ReadError) -> Result<Answer, Unanswered> {
    match error {
        ReadError::Expired => Ok(Answer::Expired),
        ReadError::Failed(refusal) => Err(refused(refusal)),
    }
}

fn refused(refusal: Refusal) -> Unanswered {
    match refusal.failure {
        ApiServerFailure::Unreachable(_)
        | ApiServerFailure::Unavailable(_)
        | ApiServerFailure::NotNow(_)
        | ApiServerFailure::Denied(_) => Unanswered::Refused(refusal),
        ApiServerFailure::Refused(_) => Unanswered::Failed(refusal.failure.into()),
    }
}
