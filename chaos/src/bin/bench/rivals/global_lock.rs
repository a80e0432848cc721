//! The ancestor's way: one write lock for all ranges, and one text value for each.
//!
//! 1. Grant a lease.
//! 2. Lock, with etcd's own lock service.
//! 3. Get the range's list, and take the lowest address that is not in it.
//! 4. Put the whole list, one line more.
//! 5. Unlock, and revoke the lease.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use etcd_client::{Client as EtcdClient, LockOptions};
use whereabouts_etcd::Access;

use super::TTL_S;
use crate::client::{Client, text};

/// The name of the one lock.
const LOCK: &str = "/ancestor/lock";

/// A client of the ancestor's kind.
pub(crate) struct GlobalLock {
    client: EtcdClient,
    list: String,
    first: Ipv4Addr,
}

impl GlobalLock {
    /// A client that allocates in the range of this name, from `first` on.
    pub(crate) async fn new(access: &Access, name: &str, first: Ipv4Addr) -> Result<Self, String> {
        let client = EtcdClient::connect(&access.endpoints, None).await;
        Ok(Self {
            client: client.map_err(text)?,
            list: format!("/ancestor/{name}"),
            first,
        })
    }

    /// The list with one line more: `<address> <pod>`.
    fn with_one_more(&self, list: &str, number: u64) -> String {
        let addresses = list.lines().filter_map(|line| line.split(' ').next());
        let taken: BTreeSet<u32> = addresses
            .filter_map(|address| address.parse().ok())
            .map(Ipv4Addr::to_bits)
            .collect();
        let lowest = (self.first.to_bits()..=u32::MAX)
            .find(|address| !taken.contains(address))
            .expect("IPv4 is larger than a list can be");
        let address = Ipv4Addr::from_bits(lowest);
        format!("{list}{address} {number:064x}\n")
    }
}

impl Client for GlobalLock {
    async fn connect(&self) -> Result<(), String> {
        let got = self.client.kv_client().get("/", None).await;
        got.map(drop).map_err(text)
    }

    async fn allocate(&self, number: u64) -> Result<(), String> {
        let (mut leases, mut locks) = (self.client.lease_client(), self.client.lock_client());
        let mut values = self.client.kv_client();
        let lease = leases.grant(TTL_S, None).await.map_err(text)?.id();
        let options = LockOptions::new().with_lease(lease);
        let lock = locks.lock(LOCK, Some(options)).await.map_err(text)?;
        let got = values.get(self.list.as_str(), None).await.map_err(text)?;
        let list = got.kvs().first().map_or(Ok(""), |list| list.value_str());
        let list = self.with_one_more(list.map_err(text)?, number);
        let put = values.put(self.list.as_str(), list, None).await;
        put.map_err(text)?;
        locks.unlock(lock.key()).await.map_err(text)?;
        leases.revoke(lease).await.map(drop).map_err(text)
    }
}
