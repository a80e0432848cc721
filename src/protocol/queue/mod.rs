//! The lease-backed lock of a range, and the queue for it.
//!
//! ```text
//! another has the lock: join ──> wait ──> take up, or acquire ──> hold ──> leave
//!                                  └──── served by the holder ───────────> leave
//! it is offered to this process: take up ──> hold ──> leave
//! ```
//!
//! The lock is a key that lives as long as its holder's lease. While it has none it is offered: to one who was
//! refused, or to the next in line, who takes it up and uses it, and binds it to a lease if that takes more
//! than a few batches. Who is not offered it acquires it with a lease. Who finds it taken puts a ticket: its
//! place in the queue, and the request itself. It is put at a seat that attachments share; if another
//! has that, at one of its own. The holder serves everybody's requests in batches, one
//! transaction each, until nobody waits. The lock gives order and throughput; safety comes from the
//! revisions that each transaction checks, so a holder that was paused or lost its lease can change
//! nothing when it resumes.
//!
//! A ticket is put only while the lock is not free, and who gives up the lock sees that nobody waits, or
//! offers it to one who does. So only the death of a process, or a refused commit that comes when its sender has
//! gone on, leaves others to find out for themselves.
//!
//! Nothing here knows how addresses are chosen.

mod acquire;
mod batch;
mod hold;
mod join;
mod leave;
mod line;
mod removal;
mod wait;

use crate::session::Session;
use line::{Line, Others, Standing};
pub(crate) use removal::take_out;
use tracing::instrument;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::{Demand, Verdict};
use whereabouts_core::claim::QueueId;
use whereabouts_core::failure::Failure;
use whereabouts_store::snapshot::HeldLock;
use whereabouts_store::{Revision, Store, record};

/// How a process finds the lock of a queue.
#[derive(Clone, Copy, Debug)]
pub enum Lock {
    /// Another has it, or it is offered to another.
    Taken(HeldLock),
    /// It is offered to this process since that revision.
    Offered(Revision),
    /// It is offered, perhaps to this process: by a commit that it has heard nothing of.
    PerhapsOffered(HeldLock),
}

/// What a lock says while it is held by, or offered to, the process that has `demand`.
pub fn holder(demand: &Demand) -> record::Lock {
    record::Lock {
        attachment: demand.attachment().clone(),
        verb: line::verb_of(demand),
    }
}

/// Carries out `demand` through `queue`.
#[instrument(name = "queue", level = "debug", skip_all, fields(
    whereabouts.range = %queue.cidr, whereabouts.pool = %queue.pool
))]
pub async fn line_up<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    demand: &Demand,
    queue: &QueueId,
    lock: Lock,
) -> Result<Verdict, Failure> {
    let mut line = Line::new(session, demand, queue);
    let standing = match lock {
        Lock::Taken(lock) => Standing::Outside(lock.modified),
        Lock::Offered(revision) => {
            line.accept(revision);
            Standing::Offered(revision)
        }
        Lock::PerhapsOffered(lock) => {
            line.may_have_lock = true;
            Standing::Free(Some(lock.modified))
        }
    };
    let result = line.stand(standing).await;
    line.leave(result).await
}

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    async fn stand(&mut self, mut standing: Standing) -> Result<Verdict, Failure> {
        loop {
            standing = match standing {
                Standing::Outside(lock) => self.join(lock).await?,
                Standing::Behind => {
                    let others = self.await_other().await?;
                    self.look(others).await?
                }
                // Its process may be about to read why; if not by then, never.
                Standing::BehindRefused(place) => {
                    let others = self.await_other().await?;
                    if let Others::MaybeGone = others {
                        take_out(self.session, self.seat(), |one| one.created == place).await?;
                    }
                    self.look(others).await?
                }
                Standing::Waiting => self.wait().await?,
                Standing::Offered(revision) => self.take_up(revision).await?,
                Standing::Free(offered) => self.acquire(offered).await?,
                Standing::Holding(snapshot) => match self.hold(snapshot).await? {
                    Some(verdict) => Standing::Ended(verdict),
                    None => self.look(Others::MaybeGone).await?,
                },
                Standing::Ended(verdict) => return Ok(verdict),
                Standing::Lost => return Err(Failure::Cancelled(self.id().queue.clone())),
            }
        }
    }
}
