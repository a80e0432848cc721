//! The datastore, however it is reached, as one store.

use super::objects::{HeldView, ObjectStore};
use super::page::PageStore;
use whereabouts_etcd::{EtcdStore, EtcdWatch, LeaseLife};
use whereabouts_local::{Held, LocalStore, NoWatch};
use whereabouts_store::{
    At, CommitError, Event, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View, Watch,
    WatchEnded,
};

/// etcd, directly or through the page, a file of this host, or the objects of an API server.
pub(crate) enum AnyStore {
    /// etcd.
    Etcd(EtcdStore),
    /// etcd, through the page.
    Page(PageStore),
    /// A file.
    Local(LocalStore),
    /// Objects.
    Kubernetes(ObjectStore),
}

/// All reads are of one moment, for as long as this lives.
#[must_use]
#[expect(dead_code, reason = "a guard is only held")]
pub(crate) enum Moment<'s> {
    /// A revision tells the moment.
    Any,
    /// The file is held.
    File(Held<'s>),
    /// The view is held.
    Objects(HeldView<'s>),
}

impl AnyStore {
    /// Sees that claims are no objects of an API server: `what` cannot work on them, and `instead` tells what can.
    pub(crate) fn expect_keys(&self, what: &str, instead: &str) -> Result<(), String> {
        match self {
            Self::Etcd(_) | Self::Page(_) | Self::Local(_) => Ok(()),
            Self::Kubernetes(_) => Err(format!(
                "{what} is not for the datastore kubernetes: {instead}"
            )),
        }
    }

    /// etcd, which `what` needs.
    pub(crate) fn etcd(&self, what: &str) -> Result<&EtcdStore, String> {
        match self {
            Self::Etcd(store) => Ok(store),
            Self::Page(_) => Err(format!("{what} needs etcd itself: the page only reads")),
            Self::Local(store) => Err(no_etcd(what, store)),
            Self::Kubernetes(_) => Err(format!("{what} needs etcd: the datastore is kubernetes")),
        }
    }

    /// Sees that there is etcd, whose locks and leases `what` is about.
    pub(crate) fn has_leases(&self, what: &str) -> Result<(), String> {
        match self {
            Self::Etcd(_) | Self::Page(_) => Ok(()),
            Self::Local(store) => Err(no_etcd(what, store)),
            Self::Kubernetes(_) => self.expect_keys(
                what,
                "it has no locks and no queue, and `check` tells which claims wait for an address",
            ),
        }
    }

    /// The rest of a lease's life, if it lives.
    pub(crate) async fn life_of(&self, lease: LeaseId) -> Result<Option<LeaseLife>, Unavailable> {
        match self {
            Self::Etcd(store) => store.life_of(lease).await,
            Self::Page(store) => store.life_of(lease),
            Self::Local(_) => Err(Unavailable::NotInFiles("leases")),
            Self::Kubernetes(_) => Err(Unavailable::NotInObjects("leases of keys")),
        }
    }
}

impl Store for AnyStore {
    type Watch = AnyWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        match self {
            Self::Etcd(store) => store.read(reads, at).await,
            Self::Page(store) => store.read(reads, at).await,
            Self::Local(store) => store.read(reads, at).await,
            Self::Kubernetes(store) => store.read(reads, at).await,
        }
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        match self {
            Self::Etcd(store) => store.commit(txn).await,
            Self::Page(store) => store.commit(txn).await,
            Self::Local(store) => store.commit(txn).await,
            Self::Kubernetes(store) => store.commit(txn).await,
        }
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        match self {
            Self::Etcd(store) => store.grant(ttl_s).await,
            Self::Page(store) => store.grant(ttl_s).await,
            Self::Local(store) => store.grant(ttl_s).await,
            Self::Kubernetes(store) => store.grant(ttl_s).await,
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        match self {
            Self::Etcd(store) => store.keep_alive(lease).await,
            Self::Page(store) => store.keep_alive(lease).await,
            Self::Local(store) => store.keep_alive(lease).await,
            Self::Kubernetes(store) => store.keep_alive(lease).await,
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        match self {
            Self::Etcd(store) => store.revoke(lease).await,
            Self::Page(store) => store.revoke(lease).await,
            Self::Local(store) => store.revoke(lease).await,
            Self::Kubernetes(store) => store.revoke(lease).await,
        }
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<AnyWatch, Unavailable> {
        match self {
            Self::Etcd(store) => {
                let watch = store.watch(keys).await?;
                Ok(AnyWatch::Etcd(Box::new(watch)))
            }
            Self::Page(store) => store.watch(keys).await,
            Self::Local(store) => store.watch(keys).await.map(AnyWatch::Local),
            Self::Kubernetes(store) => store.watch(keys).await,
        }
    }
}

fn no_etcd(what: &str, store: &LocalStore) -> String {
    let path = store.path().display();
    format!("{what} needs etcd: the datastore is local, the file {path}")
}

/// A watch of one of them.
pub(crate) enum AnyWatch {
    /// etcd's.
    Etcd(Box<EtcdWatch>),
    /// There is none of a file.
    Local(NoWatch),
}

impl Watch for AnyWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        match self {
            Self::Etcd(watch) => watch.next().await,
            Self::Local(watch) => watch.next().await,
        }
    }
}
