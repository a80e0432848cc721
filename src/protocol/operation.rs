//! The driver of the protocol: it does what the machine asks for, and decides nothing.

use std::time::{Duration, Instant};

use tracing::field::Empty;
use tracing::{Instrument, Span, debug, debug_span, instrument};

use crate::queue::{Answer, Machine, Moment, Step};
use crate::session::{Commit, Pauses, Session};
use whereabouts_clock::{Clock, within};
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::keys::{Key, Seat};
use whereabouts_store::{Lease, Purpose, Store, Watch};

/// Carries out `demand`.
pub async fn perform<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    demand: &Demand,
) -> Result<Verdict, Failure> {
    let sender = session.chance().bits();
    let machine = Machine::new(demand, sender, session.surroundings()).begun(session.begun());
    let step = machine.start();
    drive(session, machine, step).await
}

/// Does what `machine` asks for, from `step` on.
pub(crate) async fn drive<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    mut machine: Machine<'_>,
    mut step: Step<'_>,
) -> Result<Verdict, Failure> {
    let settling = session.settling();
    let mut driver = Driver::new(session, &settling);
    loop {
        driver.is_leaving = machine.is_leaving();
        let span = span_of(&machine, &step);
        let answer = match step {
            Step::Done(result) => return result,
            step => driver.take(step).instrument(span.clone()).await,
        };
        step = span.in_scope(|| machine.on(answer, driver.moment()));
    }
}

/// The driver of one machine.
struct Driver<'s, 'a, S: Store, C> {
    session: &'s Session<'a, S, C>,
    settling: &'s Session<'a, S, C>,
    is_leaving: bool,
    pauses: Pauses,
    /// Why the outcome of the last commit is unknown, until the next read or commit.
    unknown: Option<String>,
    /// The lease for the lock, and when it must be kept alive next.
    lease: Option<(Lease, Instant)>,
    /// How long the put of the ticket took.
    put_took: Duration,
    /// The pause before the next look, and when it is time to watch the ticket.
    pause: Duration,
    watch_from: Instant,
    /// When others may be dead, if nothing is heard.
    look_at: Option<Instant>,
    watch: Option<(Seat, S::Watch)>,
}

impl<'s, 'a, S: Store, C: Clock> Driver<'s, 'a, S, C> {
    fn new(session: &'s Session<'a, S, C>, settling: &'s Session<'a, S, C>) -> Self {
        Self {
            session,
            settling,
            is_leaving: false,
            pauses: session.pauses(),
            unknown: None,
            lease: None,
            put_took: Duration::ZERO,
            pause: Duration::ZERO,
            watch_from: session.clock().now(),
            look_at: None,
            watch: None,
        }
    }

    fn session(&self) -> &'s Session<'a, S, C> {
        if self.is_leaving {
            self.settling
        } else {
            self.session
        }
    }

    fn moment(&self) -> Moment {
        let clock = self.session.clock();
        Moment {
            is_late: clock.now() >= self.session.until(),
            date: clock.since_epoch(),
            began_late: self.session.began_late(),
        }
    }

    async fn take(&mut self, step: Step<'_>) -> Answer {
        if matches!(step, Step::Read(_) | Step::Commit(_))
            && let Some(reason) = self.unknown.take()
            && let Err(failure) = self.session().pause(&mut self.pauses, &reason).await
        {
            return Answer::Failed(failure);
        }
        let result = match step {
            Step::Read(queries) => self.session().snapshot(&queries).await.map(Answer::Read),
            Step::ReadMore(mut snapshot, queries) => {
                let more = self.session().extend(&mut snapshot, &queries).await;
                more.map(|()| Answer::Read(snapshot))
            }
            Step::Commit(draft) => {
                self.keep_alive().await;
                let begun = self.session.clock().now();
                let is_join = draft.purpose() == Purpose::Join;
                let commit = self.session().commit(draft).await;
                if is_join {
                    self.watch_later(begun);
                }
                commit.and_then(|commit| self.answer(commit))
            }
            Step::Fence(draft) => {
                debug!("a commit is fenced off");
                self.session.settle(&draft).await.map(Answer::Read)
            }
            Step::Wait(seat) => self.wait(&seat).await,
            Step::Grant => self.grant().await,
            Step::EndLease { lease, certain } => {
                self.lease = None;
                if certain {
                    self.session()
                        .end_lease(lease)
                        .await
                        .map(|()| Answer::Ended)
                } else {
                    self.session().revoke(lease).await;
                    Ok(Answer::Ended)
                }
            }
            Step::Done(_) => unreachable!("it is no step to take"),
        };
        result.unwrap_or_else(Answer::Failed)
    }

    async fn grant(&mut self) -> Result<Answer, Failure> {
        let lease = self.session().grant().await?;
        let renew_at = self.session.clock().now() + lease.ttl / 3;
        self.lease = Some((lease, renew_at));
        Ok(Answer::Granted(lease))
    }

    /// Keeps the lease alive, if that is due. If it has ended, the commit that relies on it tells.
    async fn keep_alive(&mut self) {
        let session = self.session();
        let now = session.clock().now();
        if let Some((lease, renew_at)) = &mut self.lease
            && now >= *renew_at
        {
            *renew_at = match session.keep_alive(lease.id).await {
                Ok(()) => now + lease.ttl / 3,
                Err(error) => {
                    debug!(%error, "the lease could not be kept alive this time");
                    session.clock().now() + lease.ttl / 12
                }
            };
        }
    }

    /// The ticket is there, by a put begun at `begun`: what a round trip takes, and how long to do without a watch.
    fn watch_later(&mut self, begun: Instant) {
        let now = self.session.clock().now();
        self.put_took = now - begun;
        self.pause = self.put_took;
        let looks = self.put_took * limits::ROUND_TRIPS_BEFORE_WATCH;
        self.watch_from = now + looks.min(Duration::from_millis(limits::WATCH_AFTER_MS));
    }

    /// Waits. Most are served within a few round trips: a waiter looks in growing intervals at first, and only then
    /// watches. Against a holder that is dead, and events that never come, it goes on to look now and then.
    #[instrument(level = "debug", skip_all)]
    async fn wait(&mut self, seat: &Seat) -> Result<Answer, Failure> {
        let session = self.session;
        let clock = session.clock();
        let look_at = *self.look_at.get_or_insert_with(|| {
            let interval = Duration::from_millis(limits::LOOK_AGAIN_MS);
            let interval = interval.max(self.put_took * limits::LOOK_AGAIN_ROUND_TRIPS);
            clock.now() + session.chance().jitter(interval)
        });
        let resume = clock.now() + self.pause;
        if resume < look_at.min(self.watch_from).min(session.until()) {
            clock.sleep_until(resume).await;
            self.pause += self.put_took;
            return Ok(Answer::Look);
        }
        loop {
            let now = clock.now();
            if now >= look_at || now >= session.until() {
                self.look_at = None;
                return Ok(Answer::Late);
            }
            let Some((_, watch)) = self.watch.as_mut().filter(|(at, _)| at == seat) else {
                let key = session.keys().encode(&Key::Ticket(seat.clone()));
                self.watch = Some((seat.clone(), session.watch(&[key]).await?));
                return Ok(Answer::Look);
            };
            match within(clock, look_at.min(session.until()), watch.next()).await {
                Some(Ok(_)) => return Ok(Answer::Look),
                Some(Err(ended)) => {
                    debug!(%ended, "watching anew");
                    self.watch = None;
                }
                None => {}
            }
        }
    }

    fn answer(&mut self, commit: Commit) -> Result<Answer, Failure> {
        Ok(match commit {
            Commit::Done(snapshot) => Answer::Done(snapshot),
            // The process leaves, and the claim tells whether the demand was carried out.
            Commit::DoneUnread(corrupt) => return Err(corrupt.into()),
            Commit::Conflict(snapshot) => Answer::Conflict(snapshot),
            Commit::Unknown(reason) => {
                self.unknown = Some(reason);
                Answer::Unknown
            }
        })
    }
}

/// The span of a step: below that of the queue, and of a commit that of its purpose.
fn span_of(machine: &Machine<'_>, step: &Step<'_>) -> Span {
    let Some(queue) = machine.span() else {
        return Span::current();
    };
    let Step::Commit(draft) = step else {
        return queue.clone();
    };
    queue.in_scope(|| match draft.purpose() {
        Purpose::Join => debug_span!("join"),
        Purpose::Acquire => debug_span!("acquire"),
        Purpose::Batch => debug_span!("batch", whereabouts.queue.length = Empty),
        Purpose::StepDown => debug_span!("step down"),
        Purpose::HandOver => debug_span!("hand over"),
        Purpose::Withdraw => debug_span!("withdraw"),
        _ => queue.clone(),
    })
}
