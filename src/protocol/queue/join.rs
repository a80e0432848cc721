//! Joining the queue of a lock that another has.

use tracing::instrument;

use super::line::{Line, Standing};
use crate::session::Commit;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Demand;
use whereabouts_core::failure::Failure;
use whereabouts_store::keys::Key;
use whereabouts_store::record::{self, Ticket};
use whereabouts_store::snapshot::Query;
use whereabouts_store::{Revision, Store};

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// Puts the ticket, if the lock is as it was last written at `lock`: its holder will see the ticket
    /// before it gives the lock up. It is put at the shared seat if that is free; if it is another attachment's, and
    /// as it was read, at the own one. So there is never one at each.
    #[instrument(level = "debug", skip_all)]
    pub(super) async fn join(&mut self, lock: Revision) -> Result<Standing, Failure> {
        let session = self.session;
        // Of an earlier lock no put can come any more.
        self.put_unknown = self.put_unknown.filter(|unknown| *unknown == lock);
        let claim = Key::Claim(self.id().attachment.clone());
        let ticket = self.ticket_key();
        let value = record::encode_ticket(&self.id().attachment, &self.as_waiting());
        let mut pauses = session.pauses();
        loop {
            let mut draft = session.draft();
            match self.demand {
                Demand::Take(_) => draft.absent(&claim).in_own_cluster(),
                Demand::Release { modified, .. } => draft.modified(&claim, *modified),
            };
            let [shared, own] = self.seats().clone().map(Key::Ticket);
            match self.beside {
                None => draft.absent(&shared),
                Some(others) => draft.modified(&shared, others),
            };
            draft
                .absent(&own)
                .modified(&self.lock_key(), lock)
                .put(&ticket, value.clone())
                .read_anyway(self.queries())
                .read_otherwise(Query::whose_store(self.demand));
            let begun = session.clock().now();
            match session.commit(draft).await? {
                Commit::Done(snapshot) | Commit::Conflict(snapshot) => {
                    self.watch_later(begun);
                    return Ok(self.standing(&snapshot));
                }
                Commit::DoneUnread(corrupt) => return Err(corrupt.into()),
                // The next try finds out whether it was done: the ticket names its sender.
                Commit::Unknown(reason) => {
                    self.put_unknown = Some(lock);
                    session.pause(&mut pauses, &reason).await?;
                }
            }
        }
    }

    /// What the ticket says.
    fn as_waiting(&self) -> Ticket {
        let (sender, trace) = (self.sender, self.trace);
        match self.demand {
            Demand::Take(ask) => Ticket::Take {
                sender,
                wants: ask.wants.clone(),
                owner: ask.owner.clone(),
                trace,
            },
            Demand::Release { held, modified, .. } => Ticket::Release {
                sender,
                held: held.clone(),
                modified: *modified,
                trace,
            },
        }
    }
}
