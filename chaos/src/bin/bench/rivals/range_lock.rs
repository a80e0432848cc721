//! A lock per range, without batches: each holder serves itself alone.
//!
//! 1. At once: create a watch on my ticket, from now on, and grant a lease. All my tickets have one key.
//! 2. Put the ticket; the same transaction reads the two oldest tickets, the blocks and the claim.
//! 3. Not the oldest: wait until the ticket is touched, then read the same again.
//! 4. The oldest: commit block and claim, delete the ticket and touch the next one, in one transaction. The
//!    ticket's revision fences it. A refusal brings fresh reads.
//! 5. Revoke the lease.

use futures::future::join;
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Demand;
use whereabouts_protocol::session::Commit;
use whereabouts_store::snapshot::{Query, QueueEntry, Snapshot};
use whereabouts_store::{Compare, Event, Store, Watch, Write};

use super::{DEADLINE, TTL_S, plan_of, reads_of};
use crate::client::{Client, Connection, text};

/// A client that locks its range, and its number: its tickets, one after the other, have one key.
#[derive(Debug)]
pub(crate) struct RangeLock(pub(crate) Connection, pub(crate) usize);

impl Client for RangeLock {
    async fn connect(&self) -> Result<(), String> {
        self.0.touch().await
    }

    async fn allocate(&self, number: u64) -> Result<(), String> {
        let (session, queue) = (self.0.session(DEADLINE), self.0.workload.queue());
        let ask = self.0.workload.ask(number);
        let (first, _) = self.0.keys.tickets(&queue);
        let key = [first, self.1.to_string().into_bytes()].concat();
        let demand = Demand::Take(ask);
        let mut queries = reads_of(&demand);
        queries.push(Query::Tickets {
            queue: queue.clone(),
            limit: 2,
        });
        let keys = [key.clone()];
        let (watch, lease) = join(self.0.store.watch(&keys), self.0.store.grant(TTL_S)).await;
        let (mut watch, lease) = (watch.map_err(text)?, lease.map_err(text)?);
        let mut draft = session.draft();
        draft
            .write(Write::Put {
                key: key.clone(),
                value: Vec::new(),
                lease: lease.id,
            })
            .read_anyway(queries.iter().cloned());
        let put = session.commit(draft).await.map_err(text)?;
        let mut snapshot = self.read(put, &queries).await?;
        while let Some(plan) = plan_of(&snapshot, &demand)? {
            let tickets = snapshot.queue(&queue).expect("the queue was read");
            let Some((mine, others)) = tickets.split_first().filter(|(first, _)| first.key == key)
            else {
                touched(&mut watch).await?;
                snapshot = session.snapshot(&queries).await.map_err(text)?;
                continue;
            };
            let mut draft = session.draft();
            draft
                .compare(Compare::Modified(key.clone(), mine.modified))
                .write(Write::Delete(key.clone()));
            if let Some(QueueEntry { key, created, .. }) = others.first() {
                draft
                    .compare(Compare::Created(key.clone(), *created))
                    .write(Write::Touch(key.clone()));
            } else {
                let (from, until) = self.0.keys.tickets(&queue);
                let after = [key.as_slice(), &[0]].concat();
                draft
                    .compare(Compare::NoneIn(from, key.clone()))
                    .compare(Compare::NoneIn(after, until));
            }
            draft.plan(&plan, session.clock().since_epoch());
            draft.read_otherwise(queries.iter().cloned());
            match session.commit(draft).await.map_err(text)? {
                Commit::Done(_) => break,
                refused => snapshot = self.read(refused, &queries).await?,
            }
        }
        self.0.store.revoke(lease.id).await.map_err(text)
    }
}

impl RangeLock {
    /// The reads of a commit. If its reply was late, fresh reads.
    async fn read(&self, commit: Commit, queries: &[Query]) -> Result<Snapshot, String> {
        match commit {
            Commit::Done(snapshot) | Commit::Conflict(snapshot) => Ok(snapshot),
            Commit::Unknown(_) => {
                let session = self.0.session(DEADLINE);
                session.snapshot(queries).await.map_err(text)
            }
            Commit::DoneUnread(corrupt) => Err(corrupt.to_string()),
        }
    }
}

/// Waits until the ticket is written again.
async fn touched(watch: &mut impl Watch) -> Result<(), String> {
    loop {
        let events = watch.next().await.map_err(text)?;
        let touched = |event: &Event| match event {
            Event::Put(entry) => entry.modified != entry.created,
            Event::Deleted { .. } => false,
        };
        if events.iter().any(touched) {
            return Ok(());
        }
    }
}
