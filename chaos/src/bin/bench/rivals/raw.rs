//! etcd alone: its requests of the same size as the production code's, without conditions and
//! without contention, each client on keys of its own. No way to allocate can be faster.

use etcd_client::{Client as EtcdClient, Txn, TxnOp};
use whereabouts_etcd::Access;

use crate::client::{Client, text};

/// Bytes of a block's value: format version and bitmap.
const BLOCK_BYTES: usize = 33;

/// Bytes of a key and a value in a message besides their own: tags and lengths.
const FRAME_BYTES: usize = 12;

/// Which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawKind {
    /// One put.
    Put,
    /// One transaction that puts a block and a claim.
    Transaction,
    /// A read, then such a transaction.
    ReadAndTransaction,
}

/// A client of etcd alone.
pub(crate) struct Raw {
    client: EtcdClient,
    kind: RawKind,
    /// The name of this client's own keys.
    name: String,
    /// Bytes to etcd of one operation.
    bytes: usize,
}

impl Raw {
    /// A client with keys of its own, that sends so many bytes for each operation.
    pub(crate) async fn new(
        access: &Access,
        kind: RawKind,
        name: String,
        bytes: usize,
    ) -> Result<Self, String> {
        let client = EtcdClient::connect(&access.endpoints, None).await;
        Ok(Self {
            client: client.map_err(text)?,
            kind,
            name,
            bytes,
        })
    }

    async fn get(&self, key: &str) -> Result<(), String> {
        let got = self.client.kv_client().get(key, None).await;
        got.map(drop).map_err(text)
    }

    async fn transaction(&self, claim: String, bytes: usize) -> Result<(), String> {
        let block = format!("/raw/open/{}", self.name);
        let used = claim.len() + block.len() + BLOCK_BYTES + 2 * FRAME_BYTES;
        let value = vec![0; bytes.saturating_sub(used)];
        let puts = [
            TxnOp::put(block, vec![0; BLOCK_BYTES], None),
            TxnOp::put(claim, value, None),
        ];
        let done = self.client.kv_client().txn(Txn::new().and_then(puts)).await;
        done.map(drop).map_err(text)
    }
}

impl Client for Raw {
    async fn connect(&self) -> Result<(), String> {
        self.get("/").await
    }

    async fn allocate(&self, number: u64) -> Result<(), String> {
        let claim = format!("/raw/claim/{}/{number:064x}/eth0", self.name);
        match self.kind {
            RawKind::Put => {
                let value = vec![0; self.bytes.saturating_sub(claim.len() + FRAME_BYTES / 2)];
                let put = self.client.kv_client().put(claim, value, None).await;
                put.map(drop).map_err(text)
            }
            RawKind::Transaction => self.transaction(claim, self.bytes).await,
            RawKind::ReadAndTransaction => {
                self.get(&claim).await?;
                let left = self.bytes.saturating_sub(claim.len() + FRAME_BYTES / 2);
                self.transaction(claim, left).await
            }
        }
    }
}
