//! Waiting to be served, or to be woken because the lock is free.

use std::time::{Duration, Instant};

use tracing::instrument;

use super::line::{Line, Others, Standing};
use whereabouts_clock::{Clock, within};
use whereabouts_core::allocator::Shortage;
use whereabouts_core::allocator::Verdict;
use whereabouts_core::failure::Corrupt;
use whereabouts_core::failure::Failure;
use whereabouts_core::limits;
use whereabouts_store::record::{self, Ticket};
use whereabouts_store::{Event, Revision, Store, Watch};

/// What an event tells.
enum Heard {
    /// Nothing that is not known.
    Nothing,
    /// The ticket was touched at this revision: the lock is offered, or free.
    Woken(Revision),
    /// The ticket says why the demand cannot be met.
    Refused(Shortage),
    /// The ticket is gone: the claim tells whether the demand was met.
    Gone,
}

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// The ticket is there, by a put begun at `begun`: what a round trip takes, and how long to do without
    /// a watch.
    pub(super) fn watch_later(&mut self, begun: Instant) {
        let now = self.session.clock().now();
        self.put_took = now - begun;
        self.watch_from = now + self.put_took * limits::ROUND_TRIPS_BEFORE_WATCH;
    }

    /// Waits until something is to be done. Most are served within a few round trips, so this process
    /// looks for itself at first, and only then watches. Against a holder that crashed, and events that
    /// never come, it goes on to look now and then.
    #[instrument(level = "debug", skip_all)]
    pub(super) async fn wait(&mut self) -> Result<Standing, Failure> {
        let look_at = self.look_later();
        match self.look_around(look_at).await? {
            Standing::Waiting => {}
            other => return Ok(other),
        }
        loop {
            let standing = match self.events_until(look_at).await? {
                Told::Events(events) => self.hear(events).await?,
                Told::Watching => self.look(Others::Alive).await?,
                Told::Late => return self.look(Others::MaybeGone).await,
            };
            match standing {
                Standing::Waiting => {}
                other => return Ok(other),
            }
        }
    }

    /// Waits until the ticket of another process of the same attachment may be gone; or so long that the
    /// process may be.
    pub(super) async fn await_other(&mut self) -> Result<Others, Failure> {
        let look_at = self.look_later();
        loop {
            let events = match self.events_until(look_at).await? {
                Told::Events(events) => events,
                Told::Watching => return Ok(Others::Alive),
                Told::Late => return Ok(Others::MaybeGone),
            };
            let gone = |event: &Event| matches!(event, Event::Deleted { key, .. } if key.as_slice() == self.key());
            if events.iter().any(gone) {
                return Ok(Others::Alive);
            }
        }
    }

    /// Looks in growing intervals, as long as it is too early to watch, or until something is to be done.
    async fn look_around(&mut self, until: Instant) -> Result<Standing, Failure> {
        let session = self.session;
        let until = until.min(self.watch_from).min(session.until());
        let mut pause = self.put_took;
        loop {
            let resume = session.clock().now() + pause;
            if resume >= until {
                return Ok(Standing::Waiting);
            }
            session.clock().sleep_until(resume).await;
            match self.look(Others::Alive).await? {
                Standing::Waiting => pause += self.put_took,
                other => return Ok(other),
            }
        }
    }

    fn look_later(&self) -> Instant {
        let interval = Duration::from_millis(limits::LOOK_AGAIN_MS);
        let interval = interval.max(self.put_took * limits::LOOK_AGAIN_ROUND_TRIPS);
        self.session.clock().now() + self.session.chance().jitter(interval)
    }

    /// The next events; or why to look for oneself.
    async fn events_until(&mut self, look_at: Instant) -> Result<Told, Failure> {
        loop {
            let session = self.session;
            let now = session.clock().now();
            if now >= session.until() {
                return Err(Failure::QueueTooLong(self.id().queue.clone()));
            }
            if now >= look_at {
                return Ok(Told::Late);
            }
            let Some(watch) = &mut self.watch else {
                self.watch = Some(session.watch(&[self.key().to_vec()]).await?);
                return Ok(Told::Watching);
            };
            let wake_at = look_at.min(session.until());
            match within(session.clock(), wake_at, watch.next()).await {
                Some(Ok(events)) => return Ok(Told::Events(events)),
                Some(Err(ended)) => {
                    tracing::debug!(%ended, "watching anew");
                    self.watch = None;
                }
                None => {}
            }
        }
    }

    /// Where this process stands after these events.
    async fn hear(&mut self, events: Vec<Event>) -> Result<Standing, Failure> {
        let mut standing = Standing::Waiting;
        for event in events {
            match self.read_event(event)? {
                Heard::Nothing => {}
                Heard::Woken(revision) => standing = Standing::Offered(revision),
                Heard::Refused(shortage) => return Ok(Standing::Ended(Verdict::Short(shortage))),
                Heard::Gone => return self.look(Others::Alive).await,
            }
        }
        Ok(standing)
    }

    fn read_event(&self, event: Event) -> Result<Heard, Failure> {
        match event {
            Event::Put(entry)
                if Some(entry.created) == self.place && entry.modified != entry.created =>
            {
                match record::decode_ticket(self.seat(), &entry.value) {
                    Ok((_, Ticket::Refused { shortage, .. })) => Ok(Heard::Refused(shortage)),
                    Ok(_) => Ok(Heard::Woken(entry.modified)),
                    Err(error) => Err(Failure::Corrupt(Corrupt {
                        key: String::from_utf8_lossy(&entry.key).into_owned(),
                        reason: error.to_string(),
                    })),
                }
            }
            Event::Deleted { revision, .. } if self.place.is_some_and(|place| revision > place) => {
                Ok(Heard::Gone)
            }
            // That this process has put it; or of one that was at the seat before.
            Event::Put(_) | Event::Deleted { .. } => Ok(Heard::Nothing),
        }
    }
}

/// Why a wait is over.
enum Told {
    Events(Vec<Event>),
    /// The watch is new: what was before, it does not tell.
    Watching,
    /// For long nothing was heard.
    Late,
}
