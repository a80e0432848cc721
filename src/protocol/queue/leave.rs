//! Leaving: nothing of a process stays behind, and nobody is left waiting for it.

use std::collections::BTreeSet;

use tracing::{debug, instrument, warn};

use super::line::Line;
use super::removal::{
    REMOVAL_PAGE, asking, larger_page, larger_page_of_removal, queries_of_removal, write_removal,
    write_wakes,
};
use crate::session::{Commit, Session};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Verdict;
use whereabouts_core::claim::QueueId;
use whereabouts_core::failure::Failure;
use whereabouts_store::keys::{Key, Seat};
use whereabouts_store::record;
use whereabouts_store::snapshot::Query;
use whereabouts_store::{LeaseId, Store};

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// Leaves the queue for good and tells how the demand ended. After a failure the claim tells
    /// whether the demand was carried out all the same, once the ticket is gone and nobody can
    /// serve it any more.
    #[instrument(level = "debug", skip_all)]
    pub(super) async fn leave(
        mut self,
        result: Result<Verdict, Failure>,
    ) -> Result<Verdict, Failure> {
        let result = match result {
            Ok(verdict) => {
                if (self.place.is_some() || self.put_unknown.is_some())
                    && let Err(failure) = self.withdraw().await
                {
                    warn!(%failure, "the ticket is left to the next holder of the lock");
                }
                Ok(verdict)
            }
            Err(failure) => match self.withdraw().await {
                Ok(verdict) => verdict.ok_or(failure),
                Err(further) => {
                    warn!(%further, "the ticket is left to the next holder of the lock");
                    // That the demand may still be carried out is to be told.
                    Err(match further {
                        Failure::Unsettled(_) => further,
                        _ => failure,
                    })
                }
            },
        };
        if let Err(failure) = self.let_go().await {
            warn!(%failure, "the lock may be left to the end of its lease");
        }
        result
    }

    /// Deletes the ticket, if it is there, and tells what came of the demand until then.
    async fn withdraw(&mut self) -> Result<Option<Verdict>, Failure> {
        let session = self.session.settling();
        let claim = Query::Claim(self.id().attachment.clone());
        let seats = self.seats().iter().cloned().map(Query::Seat);
        let further: Vec<Query> = seats.chain([claim]).collect();
        let queries_with = |seat: &Seat, page| -> Vec<Query> {
            let queries: BTreeSet<Query> = queries_of_removal(seat, page)
                .into_iter()
                .chain(further.iter().cloned())
                .collect();
            queries.into_iter().collect()
        };
        let mut page = REMOVAL_PAGE;
        let mut queries = queries_with(self.seat(), page);
        let mut pauses = session.pauses();
        let mut snapshot = match self.put_unknown {
            None => session.snapshot(&queries).await?,
            Some(lock) => {
                debug!("the ticket is fenced off");
                let mut fence = session.draft();
                fence
                    .modified(&self.lock_key(), lock)
                    .touch(&self.lock_key())
                    .read_anyway(queries.iter().cloned());
                session.settle(&fence).await?
            }
        };
        self.put_unknown = None;
        loop {
            let Some((at, ticket)) = self.own_among(&snapshot) else {
                self.place = None;
                return Ok(self.verdict(&snapshot));
            };
            let seat = &self.seats()[at];
            if let Some(larger) = larger_page_of_removal(page, &snapshot, seat, session.keys()) {
                page = larger;
                queries = queries_with(seat, page);
                snapshot = session.snapshot(&queries).await?;
                continue;
            }
            let mut draft = session.draft();
            write_removal(&mut draft, &snapshot, seat, ticket.modified);
            draft.read_anyway(queries.iter().cloned());
            // Offered to this ticket, it goes to the next with it.
            if snapshot.offered_to(seat).is_some() {
                self.may_have_lock = false;
            }
            snapshot = match session.commit(draft).await? {
                Commit::Done(snapshot) | Commit::Conflict(snapshot) => snapshot,
                Commit::DoneUnread(corrupt) => return Err(corrupt.into()),
                Commit::Unknown(reason) => {
                    session.pause(&mut pauses, &reason).await?;
                    session.snapshot(&queries).await?
                }
            };
        }
    }

    /// Gives up the lock, if it is still this process's: offers it to the oldest who still asks, or
    /// deletes it. The owner of a ticket that cannot be read, of a newer version perhaps, is woken too, but
    /// may be gone for ever. Who has been refused wakes the next by leaving.
    #[instrument(level = "debug", skip_all)]
    async fn give_up(&self) -> Result<(), Failure> {
        let session = self.session.settling();
        let queue = &self.id().queue;
        let mut page = self.page;
        let mut queries = queries_of_wake(queue, page);
        let mut pauses = session.pauses();
        let mut snapshot = session.snapshot(&queries).await?;
        loop {
            let Some(lock) = self.ours(&snapshot) else {
                return Ok(());
            };
            let waiting = snapshot.queue(queue).expect("the queue was read");
            if let Some(larger) = larger_page(page, waiting, None) {
                page = larger;
                queries = queries_of_wake(queue, page);
                snapshot = session.snapshot(&queries).await?;
                continue;
            }
            let mut draft = session.draft();
            draft.modified(&self.lock_key(), lock.modified);
            let next = waiting.iter().find_map(asking);
            match next {
                Some(id) => draft.put(&self.lock_key(), record::encode_lock(&id.into())),
                None if waiting.is_empty() => draft.nobody_in(queue).delete(&self.lock_key()),
                // Beside those that cannot be served another may have come.
                None => draft.delete_lock_if_last(queue, snapshot.revision()),
            };
            write_wakes(&mut draft, &waiting.iter().collect::<Vec<_>>());
            let may_stay = next.is_none() && !waiting.is_empty();
            if may_stay {
                draft.read_anyway(queries.iter().cloned());
            } else {
                draft.read_otherwise(queries.iter().cloned());
            }
            snapshot = match session.commit(draft).await? {
                Commit::Done(after) if may_stay && self.ours(&after).is_some() => after,
                Commit::Done(_) | Commit::DoneUnread(_) => return Ok(()),
                Commit::Conflict(snapshot) => snapshot,
                Commit::Unknown(reason) => {
                    session.pause(&mut pauses, &reason).await?;
                    session.snapshot(&queries).await?
                }
            };
        }
    }

    /// Gives up the lock, and ends the lease. A put of the lock that may still be on its way is made
    /// impossible by that.
    async fn let_go(&self) -> Result<(), Failure> {
        let session = self.session.settling();
        let given_up = if self.may_have_lock {
            self.give_up().await
        } else {
            Ok(())
        };
        match self.lease {
            None => given_up,
            Some((lease, _)) if given_up.is_ok() && !self.lock_unknown => {
                session.revoke(lease.id).await;
                Ok(())
            }
            Some((lease, _)) => end_lease(&session, lease.id, &self.id().queue).await,
        }
    }

    /// Sees to it that a put of the lock that may still be on its way cannot come any more: its owner would not know,
    /// and all would wait for it.
    pub(super) async fn forget_lock(&mut self) -> Result<(), Failure> {
        if self.lock_unknown
            && let Some((lease, _)) = self.lease
        {
            end_lease(self.session, lease.id, &self.id().queue).await?;
            self.lease = None;
            self.lock_unknown = false;
        }
        Ok(())
    }
}

/// Ends a lease, and the lock of `queue` with it, if that was bound to it. Somebody may have put a ticket meanwhile.
async fn end_lease<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    lease: LeaseId,
    queue: &QueueId,
) -> Result<(), Failure> {
    session.end_lease(lease).await?;
    wake_if_free(session, queue).await
}

/// Wakes the next who waits in `queue`, if nobody has the lock.
async fn wake_if_free<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    queue: &QueueId,
) -> Result<(), Failure> {
    let mut page = 1;
    let mut pauses = session.pauses();
    loop {
        let snapshot = session.snapshot(&queries_of_wake(queue, page)).await?;
        let lock = snapshot.lock(queue).expect("the lock was read");
        let waiting = snapshot.queue(queue).expect("the queue was read");
        if lock.is_some() || waiting.is_empty() {
            return Ok(());
        }
        if let Some(larger) = larger_page(page, waiting, None) {
            page = larger;
            continue;
        }
        let mut draft = session.draft();
        draft.absent(&Key::Lock(queue.clone()));
        write_wakes(&mut draft, &waiting.iter().collect::<Vec<_>>());
        match session.commit(draft).await? {
            // Refused: another has the lock by now, or the ticket is gone and its owner has woken the next.
            Commit::Done(_) | Commit::DoneUnread(_) | Commit::Conflict(_) => return Ok(()),
            Commit::Unknown(reason) => session.pause(&mut pauses, &reason).await?,
        }
    }
}

/// The lock and a page of the oldest tickets, which tell whom to wake.
fn queries_of_wake(queue: &QueueId, page: u32) -> [Query; 2] {
    let oldest = Query::Tickets {
        queue: queue.clone(),
        limit: page,
    };
    [Query::Lock(queue.clone()), oldest]
}
