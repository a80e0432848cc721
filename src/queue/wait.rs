//! Waiting to be served, or to be handed the lock.

use std::time::{Duration, Instant};

use tracing::instrument;

use super::line::{LeaseEnded, Line, Standing};
use crate::allocator::{Demand, Verdict};
use crate::clock::{Clock, within};
use crate::limits;
use crate::session::Failure;
use crate::snapshot::Corrupt;
use crate::store::record::{self, Ticket};
use crate::store::{Event, Store, Unavailable, Watch};

/// What the events so far tell.
#[derive(Default)]
struct Heard {
    /// The demand is decided.
    verdict: Option<Verdict>,
    /// The ticket was touched: perhaps the lock is ours.
    touched: bool,
    /// The ticket is gone.
    ticket_gone: bool,
}

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// Waits until something is to be done. Events come from the watch; against a holder that
    /// crashed, and events that never come, this process looks for itself now and then.
    #[instrument(level = "debug", skip_all)]
    pub(super) async fn wait(&mut self) -> Result<Standing, Failure> {
        let mut heard = Heard::default();
        let mut look_at = self.look_later();
        loop {
            let events = match self.events_until(look_at).await? {
                Woken::Events(events) => events,
                Woken::Look => return self.look().await,
            };
            for event in events {
                self.hear(event, &mut heard)?;
            }
            match heard {
                Heard {
                    verdict: Some(verdict),
                    ticket_gone: true,
                    ..
                } => {
                    self.place = None;
                    return Ok(Standing::Ended(verdict));
                }
                Heard {
                    verdict: Some(verdict @ Verdict::Short(_)),
                    ..
                } => {
                    return Ok(Standing::Ended(verdict));
                }
                Heard {
                    touched: true,
                    ticket_gone: false,
                    verdict: None,
                } => {
                    return Ok(Standing::First);
                }
                // Claim and ticket change in one transaction, so the other's event is on its way.
                Heard {
                    verdict: Some(_), ..
                }
                | Heard {
                    ticket_gone: true, ..
                } => {
                    let grace = Duration::from_millis(limits::EVENT_GRACE_MS);
                    look_at = look_at.min(self.session.clock().now() + grace);
                }
                Heard {
                    verdict: None,
                    touched: false,
                    ticket_gone: false,
                } => {}
            }
        }
    }

    /// Waits until the ticket of another process of the same attachment may be gone.
    pub(super) async fn await_other(&mut self) -> Result<(), Failure> {
        let look_at = self.look_later();
        loop {
            let events = match self.events_until(look_at).await? {
                Woken::Events(events) => events,
                Woken::Look => return Ok(()),
            };
            let gone = |event: &Event| matches!(event, Event::Deleted { key, .. } if key.as_slice() == self.key());
            if events.iter().any(gone) {
                return Ok(());
            }
        }
    }

    fn look_later(&self) -> Instant {
        let interval = Duration::from_millis(limits::LOOK_AGAIN_MS);
        self.session.clock().now() + self.session.chance().jitter(interval)
    }

    /// The next events; or that it is time to look for oneself. Keeps the lease alive meanwhile.
    async fn events_until(&mut self, look_at: Instant) -> Result<Woken, Failure> {
        loop {
            let session = self.session;
            let now = session.clock().now();
            if now >= session.until() {
                let reason = format!(
                    "the queue of {} is too long for the deadline",
                    self.id().queue
                );
                return Err(Unavailable::Later(reason).into());
            }
            if now >= look_at {
                return Ok(Woken::Look);
            }
            if let Err(LeaseEnded) = self.renew().await {
                return Ok(Woken::Look);
            }
            let wake_at = look_at.min(self.renew_at).min(session.until());
            match within(session.clock(), wake_at, self.watch.next()).await {
                Some(Ok(events)) => return Ok(Woken::Events(events)),
                Some(Err(ended)) => {
                    tracing::debug!(%ended, "watching anew");
                    let keys = [self.claim_key().to_vec(), self.key().to_vec()];
                    self.watch = session.watch(&keys).await?;
                    return Ok(Woken::Look);
                }
                None => {}
            }
        }
    }

    fn hear(&self, event: Event, heard: &mut Heard) -> Result<(), Failure> {
        let unusable = |error: record::RecordError, key: &[u8]| {
            Failure::Corrupt(Corrupt {
                key: String::from_utf8_lossy(key).into_owned(),
                reason: error.to_string(),
            })
        };
        match (event, self.demand) {
            (Event::Put(entry), Demand::Take(ask)) if entry.key == self.claim_key() => {
                let claim = record::decode_claim(&entry.value)
                    .map_err(|error| unusable(error, &entry.key))?;
                heard.verdict = Some(Verdict::on_claim(ask, &claim));
            }
            (Event::Deleted { key, .. }, Demand::Release { .. }) if key == self.claim_key() => {
                heard.verdict = Some(Verdict::Released);
            }
            (Event::Put(entry), _) if entry.key == self.key() => {
                let ours = entry.lease == self.lease.id && Some(entry.created) == self.place;
                match record::decode_ticket(&entry.value) {
                    Ok(Ticket::Refused(shortage)) if ours => {
                        heard.verdict = Some(Verdict::Short(shortage));
                    }
                    // The first event of a ticket is that it was put, by this process.
                    Ok(_) => heard.touched |= ours && entry.modified != entry.created,
                    Err(error) => return Err(unusable(error, &entry.key)),
                }
            }
            (Event::Deleted { key, revision }, _) if key == self.key() => {
                heard.ticket_gone |= self.place.is_some_and(|place| revision > place);
            }
            // Not of this demand: a claim taken away while adding, or given while deleting.
            (Event::Put(_) | Event::Deleted { .. }, _) => {}
        }
        Ok(())
    }
}

/// Why a wait is over.
enum Woken {
    Events(Vec<Event>),
    Look,
}
