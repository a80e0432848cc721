//! Acquiring the lock when nobody has it.

use tracing::{debug, instrument};

use super::line::{LeaseEnded, Line, Standing};
use crate::session::Commit;
use whereabouts_clock::Clock;
use whereabouts_core::failure::Failure;
use whereabouts_store::record;
use whereabouts_store::snapshot::{HeldLock, Query, Snapshot};
use whereabouts_store::{Lease, Revision, Store, Unavailable};

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    /// Takes up the lock that is offered to this process since `revision`, without a lease: reads what to begin
    /// with. Until then it may have been taken by another, who has waited for long.
    #[instrument(level = "debug", skip_all)]
    pub(super) async fn take_up(&mut self, revision: Revision) -> Result<Standing, Failure> {
        self.accept(revision);
        let snapshot = self.session.snapshot(&self.reads_at_first()).await?;
        Ok(match self.standing_at_lock(&snapshot) {
            (standing @ (Standing::Ended(_) | Standing::Lost), _) => standing,
            (_, Some(_)) if self.may_have_lock => Standing::Holding(snapshot),
            (standing, _) => standing,
        })
    }

    /// Puts the lock, if it is free or still `offered` since that revision, and reads what to begin with.
    #[instrument(level = "debug", skip_all)]
    pub(super) async fn acquire(
        &mut self,
        mut offered: Option<Revision>,
    ) -> Result<Standing, Failure> {
        loop {
            let snapshot = self.put_lock(offered, &self.reads_at_first()).await?;
            match self.standing_at_lock(&snapshot) {
                (Standing::Free(_), Some(_)) => return Ok(Standing::Holding(snapshot)),
                (Standing::Free(_), None) => offered = None,
                (Standing::Waiting | Standing::Behind, Some(lock)) if lock.is_offered() => {
                    offered = Some(lock.modified);
                }
                (standing, _) => {
                    self.forget_lock().await?;
                    return Ok(standing);
                }
            }
        }
    }

    /// Where this process stands, and the lock, which may be its own now.
    fn standing_at_lock(&mut self, snapshot: &Snapshot) -> (Standing, Option<HeldLock>) {
        let lock = snapshot.lock(&self.id().queue).expect("the lock was read");
        self.may_have_lock = self.ours(snapshot).is_some();
        (self.standing(snapshot), lock)
    }

    /// Puts the lock, bound to a lease, if it is free or still `offered` since that revision; and reads
    /// `queries`, which tell.
    pub(super) async fn put_lock(
        &mut self,
        offered: Option<Revision>,
        queries: &[Query],
    ) -> Result<Snapshot, Failure> {
        let session = self.session;
        let value = record::encode_lock(&self.id().into());
        let mut pauses = session.pauses();
        // One of an earlier try may be at its end by now.
        let mut lease = match self.renew().await {
            Ok(lease) => lease,
            Err(LeaseEnded) => self.grant().await?,
        };
        loop {
            let mut draft = session.draft();
            match offered {
                Some(revision) => draft.modified(&self.lock_key(), revision),
                None => draft.absent(&self.lock_key()),
            };
            draft
                .put_leased(&self.lock_key(), value.clone(), lease.id)
                .read_anyway(queries.iter().cloned());
            match session.commit(draft).await {
                Ok(Commit::Done(snapshot) | Commit::Conflict(snapshot)) => return Ok(snapshot),
                Ok(Commit::DoneUnread(corrupt)) => return Err(corrupt.into()),
                // The next try finds out whether it was done: the lock names its lease.
                Ok(Commit::Unknown(reason)) => {
                    self.lock_unknown = true;
                    session.pause(&mut pauses, &reason).await?;
                }
                Err(Failure::Unavailable(Unavailable::LeaseNotFound)) => {
                    debug!("the lease ended before the lock was there");
                    lease = self.grant().await?;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A new lease, where there is none or it has ended; with that no put of the lock can come any more.
    async fn grant(&mut self) -> Result<Lease, Failure> {
        self.lock_unknown = false;
        let lease = self.session.grant().await?;
        let renew_at = self.session.clock().now() + lease.ttl / 3;
        self.lease = Some((lease, renew_at));
        Ok(lease)
    }
}
