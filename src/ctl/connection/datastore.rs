//! The datastore, however it is reached, as one store.

use super::page::PageStore;
use whereabouts_etcd::{EtcdStore, EtcdWatch, LeaseLife};
use whereabouts_local::{Held, LocalStore, NoWatch};
use whereabouts_store::{
    At, CommitError, Event, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View, Watch,
    WatchEnded,
};

/// etcd, directly or through the page, or a file of this host.
pub(crate) enum AnyStore {
    /// etcd.
    Etcd(EtcdStore),
    /// etcd, through the page.
    Page(PageStore),
    /// A file.
    Local(LocalStore),
}

impl AnyStore {
    /// Sees to it that what is read from now on is of one moment, as long as the answer lives. etcd reads at any
    /// revision, so that nothing needs to be done for it.
    pub(crate) fn hold(&self) -> Result<Option<Held<'_>>, String> {
        match self {
            Self::Etcd(_) | Self::Page(_) => Ok(None),
            Self::Local(store) => store.hold().map(Some).map_err(|error| error.to_string()),
        }
    }

    /// etcd, which `what` needs.
    pub(crate) fn etcd(&self, what: &str) -> Result<&EtcdStore, String> {
        match self {
            Self::Etcd(store) => Ok(store),
            Self::Page(_) => Err(format!("{what} needs etcd itself: the page only reads")),
            Self::Local(store) => Err(no_etcd(what, store)),
        }
    }

    /// Sees that there is etcd, whose locks and leases `what` is about.
    pub(crate) fn has_leases(&self, what: &str) -> Result<(), String> {
        match self {
            Self::Etcd(_) | Self::Page(_) => Ok(()),
            Self::Local(store) => Err(no_etcd(what, store)),
        }
    }

    /// The rest of a lease's life, if it lives.
    pub(crate) async fn life_of(&self, lease: LeaseId) -> Result<Option<LeaseLife>, Unavailable> {
        match self {
            Self::Etcd(store) => store.life_of(lease).await,
            Self::Page(store) => store.life_of(lease),
            Self::Local(_) => Err(Unavailable::NotInFiles("leases")),
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
        }
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        match self {
            Self::Etcd(store) => store.commit(txn).await,
            Self::Page(store) => store.commit(txn).await,
            Self::Local(store) => store.commit(txn).await,
        }
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        match self {
            Self::Etcd(store) => store.grant(ttl_s).await,
            Self::Page(store) => store.grant(ttl_s).await,
            Self::Local(store) => store.grant(ttl_s).await,
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        match self {
            Self::Etcd(store) => store.keep_alive(lease).await,
            Self::Page(store) => store.keep_alive(lease).await,
            Self::Local(store) => store.keep_alive(lease).await,
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        match self {
            Self::Etcd(store) => store.revoke(lease).await,
            Self::Page(store) => store.revoke(lease).await,
            Self::Local(store) => store.revoke(lease).await,
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
