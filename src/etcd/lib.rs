//! The store in etcd. Only this crate names `etcd_client`.
//!
//! One request of the trait is one request to etcd. `endpoints` chooses its endpoint, `wire`
//! translates it, and `failure` classifies its failure. The crate keeps no state except its
//! connections, and no deadline. A caller drops a call that hangs, and the store then avoids the
//! endpoint of that call. The crate needs a tokio runtime with time and input enabled.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it meets the machine"
)]

mod access;
mod channel;
mod clock;
mod corked;
mod endpoints;
mod failure;
mod follow;
mod spans;
mod watch;
mod wire;

use std::time::Duration;

use etcd_client::{Client, KvClient, WatchClient};

pub use self::access::{Access, Tls};
pub use self::clock::SystemClock;
use self::endpoints::{Endpoints, Repeat};
use self::failure::Failure;
pub use self::follow::{Change, Changes, LeaseLife, News, Told};
use self::spans::Method;
pub use self::watch::EtcdWatch;
use whereabouts_clock::Chance;
pub use whereabouts_core::secret::Secret;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View, well_formed,
};

/// Largest answer and largest message of a watch, in bytes. A page of claims is smaller.
const ANSWER_BYTES: usize = 64 << 20;

/// An etcd cluster, reached through its endpoints. It connects and logs in at the first request.
#[derive(Debug)]
pub struct EtcdStore {
    endpoints: Endpoints,
}

impl EtcdStore {
    /// The cluster of `access`. `chance` chooses the first endpoint.
    pub fn new(access: &Access, chance: &Chance) -> Self {
        Self {
            endpoints: Endpoints::new(access, chance),
        }
    }
}

impl Store for EtcdStore {
    type Watch = EtcdWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        well_formed::assert_read(reads, at);
        let question = wire::question(reads, at);
        let ask = async |client: Client| {
            let answer = kv(&client).txn(question.clone()).await?;
            Ok(wire::view(&answer, ..reads.len())?)
        };
        self.endpoints.first_to_answer(Method::Txn, ask).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        well_formed::assert_txn(txn);
        let request = wire::transaction(txn);
        let send = async |client: Client| {
            let answer = kv(&client).txn(request.clone()).await?;
            Ok(wire::outcome(&answer, txn)?)
        };
        let served = self.endpoints.serve(Method::Txn, Repeat::IfUnsent, send);
        let outcome = served.await;
        outcome.map_err(Failure::of_commit)
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        let send = async |client: Client| {
            let granted = client.lease_client().grant(ttl_s, None).await?;
            let ttl_s = u64::try_from(granted.ttl())
                .map_err(|_| Failure::Lost("a lease of negative time to live".to_owned()))?;
            Ok(Lease {
                id: granted.id(),
                ttl: Duration::from_secs(ttl_s),
            })
        };
        let granted = self
            .endpoints
            .serve(Method::LeaseGrant, Repeat::Always, send);
        granted.await.map_err(Failure::of_request)
    }

    /// Opens a stream for one keep-alive. It costs no more round trips than a reused stream. A
    /// dropped call leaves no answer in a stream.
    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        let send = async |client: Client| {
            client.lease_client().keep_alive(lease).await?;
            Ok(())
        };
        let kept = self
            .endpoints
            .serve(Method::LeaseKeepAlive, Repeat::Always, send);
        kept.await.map_err(Failure::of_request)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        let send = async |client: Client| {
            client.lease_client().revoke(lease).await?;
            Ok(())
        };
        let revoked = self
            .endpoints
            .serve(Method::LeaseRevoke, Repeat::Always, send);
        revoked.await.map_err(Failure::of_request)
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<EtcdWatch, Unavailable> {
        well_formed::assert_keys(keys);
        let open = async |client: Client| EtcdWatch::open(&client, keys).await;
        let watch = self.endpoints.serve(Method::Watch, Repeat::Always, open);
        watch.await.map_err(Failure::of_request)
    }
}

fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(ANSWER_BYTES)
}

fn watcher(client: &Client) -> WatchClient {
    let watcher = client.watch_client();
    watcher.max_decoding_message_size(ANSWER_BYTES)
}
