//! etcd with a bug on the way to it.

use std::time::Duration;

use tokio::time::timeout;
use whereabouts_core::claim::Attachment;
use whereabouts_etcd::{EtcdStore, EtcdWatch};
use whereabouts_sim::planted::Bug;
use whereabouts_sim::planted::twist::{self, Piece, Reader};
use whereabouts_sim::vocabulary::{NodeId, Step};
use whereabouts_store::keys::Keys;
use whereabouts_store::{
    At, CommitError, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View,
};

/// Less than the patience of a session with its first attempts.
const IMPATIENT: Duration = Duration::from_millis(900);

/// etcd, with a bug on the way to it.
pub(crate) struct SabotagedStore {
    pub(crate) store: EtcdStore,
    pub(crate) bug: Option<Bug>,
    pub(crate) keys: Keys,
    pub(crate) collects_on: Option<NodeId>,
    pub(crate) verb: String,
    pub(crate) attachment: Option<Attachment>,
}

impl Store for SabotagedStore {
    type Watch = EtcdWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        let at = twist::read_at(self.bug, at);
        let reader = match (self.collects_on, self.verb.as_str(), &self.attachment) {
            (Some(node), ..) => Reader::Collects(node),
            (None, "DEL", Some(attachment)) => Reader::Deletes(attachment),
            (None, "ADD", Some(attachment)) => Reader::Adds(attachment),
            _ => Reader::Other,
        };
        let reads = twist::twist_reads(self.bug, &self.keys, reader, reads);
        let mut view = self.store.read(&reads, at).await?;
        twist::twist_view(self.bug, &self.keys, reader, &mut view);
        Ok(view)
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let step = Step::of_commit(txn);
        for Piece { txn: piece, last } in
            twist::twist_txn(self.bug, &self.keys, self.attachment.as_ref(), txn)
        {
            let commit = self.store.commit(&piece);
            let result = if twist::is_impatient(self.bug) {
                let late = || Err(CommitError::Unknown("no reply in time".to_owned()));
                timeout(IMPATIENT, commit).await.unwrap_or_else(|_| late())
            } else {
                commit.await
            };
            let result = twist::twist_outcome(self.bug, step, txn, result);
            if last || !matches!(result, Ok(Outcome::Done(_))) {
                return result;
            }
        }
        unreachable!("one of the transactions is the last")
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        self.store.grant(ttl_s).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        if self.bug == Some(Bug::LeaseNotKeptAlive) {
            return Ok(());
        }
        self.store.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        self.store.revoke(lease).await
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<EtcdWatch, Unavailable> {
        self.store.watch(keys).await
    }
}
