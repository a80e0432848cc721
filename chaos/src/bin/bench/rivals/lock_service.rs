//! A lock per range as one would write it first: etcd's own lock service, and then the same reads
//! and the same checked transaction as the production code's.
//!
//! 1. Grant a lease.
//! 2. Lock the range, with etcd's own lock service.
//! 3. Read claim and blocks.
//! 4. Commit block and claim, if nothing has changed.
//! 5. Unlock, and revoke the lease.

use etcd_client::{Client as EtcdClient, LockOptions};
use whereabouts_clock::Clock;
use whereabouts_core::allocator::Demand;
use whereabouts_etcd::Access;
use whereabouts_protocol::session::Commit;

use super::{DEADLINE, TTL_S, plan_of, reads_of};
use crate::client::{Client, Connection, text};

/// A client that locks its range with etcd's lock service.
pub(crate) struct LockService {
    connection: Connection,
    locks: EtcdClient,
}

impl LockService {
    /// A client that allocates by `connection`; the lock service has a connection of its own, for
    /// waiting does not hinder it.
    pub(crate) async fn new(access: &Access, connection: Connection) -> Result<Self, String> {
        let locks = EtcdClient::connect(&access.endpoints, None).await;
        let locks = locks.map_err(text)?;
        Ok(Self { connection, locks })
    }

    /// Reads, decides and commits, holding the lock.
    async fn commit(&self, number: u64) -> Result<(), String> {
        let session = self.connection.session(DEADLINE);
        let demand = Demand::Take(self.connection.workload.ask(number));
        let snapshot = session.snapshot(&reads_of(&demand)).await.map_err(text)?;
        let Some(plan) = plan_of(&snapshot, &demand)? else {
            return Ok(());
        };
        let mut draft = session.draft();
        draft.plan(&plan, session.clock().since_epoch());
        match session.commit(draft).await.map_err(text)? {
            Commit::Done(_) => Ok(()),
            other => Err(format!("the lock was held, and yet {other:?}")),
        }
    }
}

impl Client for LockService {
    async fn connect(&self) -> Result<(), String> {
        let got = self.locks.kv_client().get("/", None).await;
        got.map_err(text)?;
        self.connection.touch().await
    }

    async fn allocate(&self, number: u64) -> Result<(), String> {
        let (mut leases, mut locks) = (self.locks.lease_client(), self.locks.lock_client());
        let name = format!("/lock/{}", self.connection.workload.cidr());
        let lease = leases.grant(TTL_S, None).await.map_err(text)?.id();
        let options = LockOptions::new().with_lease(lease);
        let lock = locks.lock(name, Some(options)).await.map_err(text)?;
        self.commit(number).await?;
        locks.unlock(lock.key()).await.map_err(text)?;
        leases.revoke(lease).await.map(drop).map_err(text)
    }
}
