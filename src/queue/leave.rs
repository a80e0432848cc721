//! Leaving the queue: whoever deletes the oldest ticket wakes the next, in the same transaction.

use tracing::{debug, instrument, warn};

use super::line::Line;
use crate::allocator::Verdict;
use crate::claim::QueueId;
use crate::clock::Clock;
use crate::draft::Draft;
use crate::session::{Commit, Failure};
use crate::snapshot::Queued;
use crate::store::{Compare, Revision, Store, Write};

/// Adds to a transaction that the ticket `key` of `queue`, last written at `modified`, is deleted:
/// the next is touched if the ticket is the oldest, or there must be none.
pub(crate) fn write_removal(
    draft: &mut Draft<'_>,
    queue: &[Queued],
    id: &QueueId,
    key: &[u8],
    modified: Revision,
) {
    draft
        .compare(Compare::Modified(key.to_vec(), modified))
        .write(Write::Delete(key.to_vec()));
    if queue.first().is_none_or(|oldest| oldest.key != key) {
        return;
    }
    match queue.get(1) {
        Some(next) => draft
            .compare(Compare::Created(next.key.clone(), next.created))
            .write(Write::Touch(next.key.clone())),
        None => draft.nobody_else_in(id, key),
    };
}

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
                if self.place.is_some()
                    && let Err(failure) = self.withdraw().await
                {
                    debug!(%failure, "the ticket is left to the end of its lease");
                }
                Ok(verdict)
            }
            Err(failure) => match self.withdraw().await {
                Ok(verdict) => verdict.ok_or(failure),
                Err(further) => {
                    debug!(%further, "the ticket is left to the end of its lease");
                    Err(failure)
                }
            },
        };
        self.end_lease().await;
        result
    }

    /// Ends the lease: for certain, if a put of the ticket may still be on its way. It would put the
    /// ticket of a process that is gone, perhaps of an attachment that is deleted by then.
    async fn end_lease(&self) {
        let session = self.session.settling();
        if !self.put_unknown {
            session.revoke(self.lease.id).await;
        } else if let Err(failure) = session.end_lease(self.lease.id).await {
            warn!(%failure, "a ticket may come back until its lease ends by itself");
        }
    }

    /// Deletes the ticket, if it is there, and tells what came of the demand until then.
    async fn withdraw(&mut self) -> Result<Option<Verdict>, Failure> {
        let session = self.session.settling();
        let mut pauses = session.pauses();
        let mut snapshot = session.snapshot(&self.queries()).await?;
        loop {
            let ticket = snapshot.ticket(self.id()).expect("the ticket was read");
            let Some(ticket) = ticket.filter(|ticket| ticket.lease == self.lease.id) else {
                self.place = None;
                return Ok(self.verdict(&snapshot));
            };
            let queue = snapshot
                .queue(&self.id().queue)
                .expect("the queue was read");
            let mut draft = session.draft();
            write_removal(
                &mut draft,
                queue,
                &self.id().queue,
                self.key(),
                ticket.modified,
            );
            draft.read_anyway(self.queries());
            snapshot = match session.commit(draft).await? {
                Commit::Done(snapshot) | Commit::Conflict(snapshot) => snapshot,
                Commit::DoneUnread(corrupt) => return Err(corrupt.into()),
                Commit::Unknown(reason) => {
                    session.pause(&mut pauses, &reason).await?;
                    session.snapshot(&self.queries()).await?
                }
            };
        }
    }
}
