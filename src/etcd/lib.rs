//! The store in etcd: the only file, with those below it, that names `etcd_client`.
//!
//! One request of the trait is one request to etcd, sent to one endpoint of several (`endpoints`),
//! translated word for word (`wire`), and its failure told exactly (`failure`). It keeps no state
//! but its connections, and no deadline: a call that hangs is dropped by its caller, and its
//! endpoint is then avoided. It runs on a tokio runtime with time and input enabled.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it meets the machine"
)]

mod access;
mod clock;
mod endpoints;
mod failure;
mod follow;
mod watch;
mod wire;

use std::time::Duration;

use etcd_client::{Client, KvClient, WatchClient};

pub use self::access::{Access, Secret, Tls};
pub use self::clock::SystemClock;
use self::endpoints::{Endpoints, Repeat};
use self::failure::Failure;
pub use self::follow::{Change, Changes, LeaseLife, News, Told};
pub use self::watch::EtcdWatch;
use whereabouts_clock::Chance;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View, well_formed,
};

/// Bytes of an answer, and of a message of a watch, that are accepted: a page of claims, and room.
const ANSWER_BYTES: usize = 64 << 20;

/// An etcd cluster, by its endpoints. It connects, and logs in, when it is first asked.
#[derive(Debug)]
pub struct EtcdStore {
    endpoints: Endpoints,
}

impl EtcdStore {
    /// The cluster that `access` leads to; `chance` chooses the endpoint that is asked first.
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
            wire::view(&answer, ..reads.len())
        };
        self.endpoints.first_to_answer(ask).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        well_formed::assert_txn(txn);
        let request = wire::transaction(txn);
        let send = async |client: Client| {
            let answer = kv(&client).txn(request.clone()).await?;
            wire::outcome(&answer, txn)
        };
        let outcome = self.endpoints.serve(Repeat::IfUnsent, send).await;
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
        let lease = self.endpoints.serve(Repeat::Always, send).await;
        lease.map_err(Failure::of_request)
    }

    /// Opens a stream for one round of it: that costs no round trip more than to reuse one, and
    /// leaves no answer behind in a stream when it is dropped.
    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        let send = async |client: Client| {
            client.lease_client().keep_alive(lease).await?;
            Ok(())
        };
        let kept = self.endpoints.serve(Repeat::Always, send).await;
        kept.map_err(Failure::of_request)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        let send = async |client: Client| {
            client.lease_client().revoke(lease).await?;
            Ok(())
        };
        let revoked = self.endpoints.serve(Repeat::Always, send).await;
        revoked.map_err(Failure::of_request)
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<EtcdWatch, Unavailable> {
        well_formed::assert_keys(keys);
        let open = async |client: Client| EtcdWatch::open(&client, keys).await;
        let watch = self.endpoints.serve(Repeat::Always, open).await;
        watch.map_err(Failure::of_request)
    }
}

fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(ANSWER_BYTES)
}

fn watcher(client: &Client) -> WatchClient {
    let watcher = client.watch_client();
    watcher.max_decoding_message_size(ANSWER_BYTES)
}
