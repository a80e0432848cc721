//! The lease-backed lock of a range, and the queue for it.
//!
//! ```text
//! join ──> wait ──> hold ──> leave          the oldest ticket holds the lock
//!            └── served by the holder ──> leave
//! ```
//!
//! A ticket is a request's place in the queue and the request itself. Who has the oldest one holds
//! the lock and serves everybody's requests in batches, one transaction each, until alone. The lock
//! gives order and throughput; safety comes from the revisions that each transaction checks, so a
//! holder that was paused or lost its lease can change nothing when it resumes.
//!
//! Nothing here knows how addresses are chosen.

mod hold;
mod leave;
mod line;
mod wait;

use crate::allocator::{Demand, Verdict};
use crate::claim::QueueId;
use crate::clock::Clock;
use crate::session::{Failure, Session};
use crate::store::{Store, Unavailable};
pub(crate) use leave::write_removal;
use line::{Line, Standing};
use tracing::instrument;

/// Carries out `demand` through `queue`.
#[instrument(name = "queue", level = "debug", skip_all, fields(
    whereabouts.range = %queue.cidr, whereabouts.pool = %queue.pool
))]
pub async fn line_up<S: Store, C: Clock>(
    session: &Session<'_, S, C>,
    demand: &Demand,
    queue: &QueueId,
) -> Result<Verdict, Failure> {
    let mut line = Line::new(session, demand, queue).await?;
    let result = line.stand().await;
    line.leave(result).await
}

impl<S: Store, C: Clock> Line<'_, '_, S, C> {
    async fn stand(&mut self) -> Result<Verdict, Failure> {
        let mut standing = self.join().await?;
        loop {
            standing = match standing {
                Standing::Ended(verdict) => return Ok(verdict),
                Standing::Lost => {
                    let reason = format!("the place in the queue of {} is lost", self.id().queue);
                    return Err(Unavailable::Later(reason).into());
                }
                Standing::Waiting => self.wait().await?,
                Standing::First => match self.hold().await? {
                    Some(verdict) => Standing::Ended(verdict),
                    None => self.look().await?,
                },
            }
        }
    }
}
