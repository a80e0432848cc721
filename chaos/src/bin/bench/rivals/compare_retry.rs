//! Compare and retry, without a lock: read, decide, commit if nothing has changed, else again.
//!
//! 1. Read claim and blocks (linearizable).
//! 2. Commit block and claim, if both are as they were read.
//! 3. Refused: pause, for a time that grows with each refusal and is drawn by chance. Then go on from 1,
//!    as reads that came with the refusal would be stale after the pause.

use std::time::Duration;

use whereabouts_clock::Clock;
use whereabouts_core::allocator::Demand;
use whereabouts_etcd::SystemClock;
use whereabouts_protocol::session::Commit;

use super::{DEADLINE, plan_of, reads_of};
use crate::client::{Client, Connection, text};

/// The first pause, of which up to a half is taken off by chance.
const PAUSE: Duration = Duration::from_millis(4);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(512);

/// A client that compares and retries.
#[derive(Debug)]
pub(crate) struct CompareRetry(pub(crate) Connection);

impl Client for CompareRetry {
    async fn connect(&self) -> Result<(), String> {
        self.0.touch().await
    }

    async fn allocate(&self, number: u64) -> Result<(), String> {
        let session = self.0.session(DEADLINE);
        let demand = Demand::Take(self.0.workload.ask(number));
        let queries = reads_of(&demand);
        let mut pause = PAUSE;
        loop {
            let snapshot = session.snapshot(&queries).await.map_err(text)?;
            let Some(plan) = plan_of(&snapshot, &demand)? else {
                return Ok(());
            };
            let mut draft = session.draft();
            draft.plan(&plan, session.clock().since_epoch());
            match session.commit(draft).await.map_err(text)? {
                Commit::Done(_) => return Ok(()),
                Commit::Conflict(_) | Commit::Unknown(_) => {
                    SystemClock
                        .sleep_until(SystemClock.now() + self.0.chance.jitter(pause))
                        .await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Commit::DoneUnread(corrupt) => return Err(corrupt.to_string()),
            }
        }
    }
}
