//! A real etcd cluster to put under load: on free loopback ports, with data in a temporary folder.
//!
//! The cluster starts like those of the integration tests, and ends when it is dropped. [`Counters`] has its
//! requests.

use std::fmt;

use clap::ValueEnum;
use etcd_client::{Client, CompactionOptions};
use whereabouts_etcd::Access;

use crate::counters::{Counters, whole_number};
use whereabouts_fixtures::etcd::{self, Member, Setup};
use whereabouts_fixtures::poll;

/// Where the members' data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Storage {
    /// In memory (`/dev/shm`): what is measured is not the disk.
    Memory,
    /// In the folder for temporary files (`TMPDIR`, else `/tmp`).
    Disk,
}

/// A running cluster, open to everybody and in the clear.
pub struct Cluster(etcd::Cluster);

/// The size of a cluster's store, in bytes, on the member where it is largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSize {
    /// The database file.
    pub file_bytes: u64,
    /// The part of it that is in use.
    pub used_bytes: u64,
}

impl Cluster {
    /// Starts so many members, with these further arguments each, and waits until they are healthy
    /// and have nothing left to agree on by themselves: from then on each commit is a client's.
    pub fn start(members: usize, storage: Storage, arguments: &'static [&'static str]) -> Self {
        let storage = match storage {
            Storage::Memory => etcd::Storage::Memory,
            Storage::Disk => etcd::Storage::Disk,
        };
        let cluster = etcd::Cluster::with(Setup {
            members,
            storage,
            arguments,
            ..Setup::default()
        });
        poll("the members agree on their version", || {
            let settled = |member: &Member| {
                let metrics = member.metrics().unwrap_or_default();
                let number = |name| number(&metrics, name);
                metrics.contains("\netcd_cluster_version{")
                    && number("etcd_server_proposals_pending") == Some(0)
                    && number("etcd_server_proposals_committed_total")
                        == number("etcd_server_proposals_applied_total")
            };
            cluster.members.iter().all(settled).then_some(())
        });
        Self(cluster)
    }

    /// How the plugin's own store reaches it.
    pub fn access(&self) -> Access {
        self.0.access()
    }

    /// The counters so far.
    pub fn counters(&self) -> Counters {
        Counters::of_members(&self.metrics())
    }

    /// Makes its members forget what was overwritten or deleted, as they do now and then by themselves
    /// where they are operated.
    pub async fn compact(&self) -> Result<(), etcd_client::Error> {
        let urls: Vec<&str> = self
            .0
            .members
            .iter()
            .map(|member| member.url.as_str())
            .collect();
        let mut client = Client::connect(urls, None).await?;
        let status = client.status().await?;
        let present = status
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let to_the_end = CompactionOptions::new().with_physical();
        client.compact(present, Some(to_the_end)).await.map(drop)
    }

    /// The size of its store.
    pub fn store_size(&self) -> StoreSize {
        let metrics = self.metrics();
        let most = |name: &str| {
            let sizes = metrics.iter().filter_map(|metrics| number(metrics, name));
            sizes.max().expect("etcd tells its size")
        };
        StoreSize {
            file_bytes: most("etcd_mvcc_db_total_size_in_bytes"),
            used_bytes: most("etcd_mvcc_db_total_size_in_use_in_bytes"),
        }
    }

    fn metrics(&self) -> Vec<String> {
        let metrics = |member: &Member| member.metrics().expect("a member tells its metrics");
        self.0.members.iter().map(metrics).collect()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.0.members.iter().map(|member| &member.url);
        f.debug_list().entries(urls).finish()
    }
}

fn number(metrics: &str, name: &str) -> Option<u64> {
    let mut values = metrics.lines().filter_map(|line| line.strip_prefix(name));
    values.find_map(|value| whole_number(value.strip_prefix(' ')?))
}
