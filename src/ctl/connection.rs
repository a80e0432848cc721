//! How the tool reaches the datastore: options named after the keys of a config, and the plugin's own stores.

mod datastore;
mod objects;
mod operations;
mod options;
mod page;
mod source;

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;
use whereabouts_apiserver::Server;
use whereabouts_clock::Chance;
use whereabouts_cni::request::Datastore;
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_etcd::EtcdStore;
use whereabouts_local::{LocalStore, Wait};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::listing::Pages;
use whereabouts_store::{
    At, CommitError, Entry, Order, Outcome, Read, Revision, Store, Txn, record,
};

use crate::output::Progress;
use crate::output::shown::Shown;
use datastore::{AnyStore, Moment};
pub(crate) use objects::{ObjectStore, ObjectView, PREFIX as OBJECTS_PREFIX, StatedNetworks};
pub(crate) use options::DatastoreOptions;
use page::{PageStore, Way};
pub(crate) use page::{ReadOptions, is_plugin};

/// How long the datastore may take to answer one question.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How long one operation may take: as long as a DEL.
const DEADLINE: Duration = Duration::from_millis(limits::DEL_DEADLINE_MS);

/// A datastore that is asked, one thing after the other.
pub(crate) struct Connection {
    runtime: tokio::runtime::Runtime,
    chance: Chance,
    /// Of which cluster this tool is, if that is known.
    pub(crate) cluster: Option<Identity>,
    /// The store.
    pub(crate) store: AnyStore,
    /// Its keys.
    pub(crate) keys: Keys,
    /// Below what they are.
    pub(crate) prefix: String,
    /// Where they are, to a person.
    pub(crate) place: String,
}

impl Connection {
    /// Connects lazily, as `options` say.
    pub(crate) fn open(options: &DatastoreOptions) -> Result<Self, String> {
        let (datastore, cluster) = options.reach()?;
        // Two tools, on two nodes perhaps, must not take each other's tickets for their own.
        let chance = Chance::new(RandomState::new().build_hasher().finish());
        let (store, prefix, place) = match datastore {
            Datastore::Etcd(access) => {
                let store = EtcdStore::new(&access, &chance);
                let place = format!("below {}", access.prefix);
                (AnyStore::Etcd(store), access.prefix, place)
            }
            Datastore::Local(path) => {
                let store = LocalStore::new(&path, Wait::Each(DEADLINE));
                let place = format!("in {}", path.display());
                let prefix = whereabouts_local::PREFIX.to_owned();
                (AnyStore::Local(store), prefix, place)
            }
            Datastore::Kubernetes(access) => {
                let store = ObjectStore::new(&access, &chance)?;
                let place = format!("at the API server {}", access.server.host());
                (
                    AnyStore::Kubernetes(store),
                    OBJECTS_PREFIX.to_owned(),
                    place,
                )
            }
        };
        Self::to(store, prefix, place, cluster, chance)
    }

    /// Connects to read, directly or through the page.
    pub(crate) fn open_to_read(options: &ReadOptions) -> Result<Self, String> {
        match options.way()? {
            Way::Direct(options) => Self::open(options),
            Way::Page(kubectl) => {
                let store = PageStore::open(kubectl)?;
                let (prefix, place) = (store.prefix().to_owned(), store.place().to_owned());
                let chance = Chance::new(RandomState::new().build_hasher().finish());
                let mut connection = Self::to(AnyStore::Page(store), prefix, place, None, chance)?;
                // A reader sees whatever the page shows, and knows no cluster of its own.
                connection.cluster = connection.stored_cluster()?;
                Ok(connection)
            }
        }
    }

    /// The cluster that the keys belong to, if they say it.
    pub(crate) fn stored_cluster(&self) -> Result<Option<Identity>, String> {
        let key = Read::Key(self.keys.encode(&Key::Cluster));
        let view = self.ask(self.store.read(&[key], At::Now))?;
        let entry = view.answers.into_iter().flatten().next();
        // A value that cannot be read is a finding of `check`, and an error of what depends on it.
        Ok(entry.and_then(|entry| record::decode_cluster(&entry.value).ok()))
    }

    fn to(
        store: AnyStore,
        prefix: String,
        place: String,
        cluster: Option<Identity>,
        chance: Chance,
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            runtime,
            cluster,
            store,
            keys: Keys::new(&prefix),
            prefix,
            place,
            chance,
        })
    }

    /// Sees to it that what is read from now on is of one moment, as long as the answer lives. etcd reads at any
    /// revision, so that nothing needs to be done for it.
    pub(crate) fn hold(&self) -> Result<Moment<'_>, String> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => Ok(Moment::Any),
            AnyStore::Local(store) => {
                let held = store.hold().map_err(|error| error.to_string())?;
                Ok(Moment::File(held))
            }
            AnyStore::Kubernetes(store) => {
                let held = store.hold();
                // It is read here, as it may take longer than one question.
                let read = self.wait(store.view());
                read.map_err(|error| error.to_string())?;
                Ok(Moment::Objects(held))
            }
        }
    }

    /// The same if nothing is to be written meanwhile.
    pub(crate) fn hold_if(&self, only_reads: bool) -> Result<Option<Moment<'_>>, String> {
        only_reads.then(|| self.hold()).transpose()
    }

    /// All claims and blocks at one moment, if they are objects of an API server.
    pub(crate) fn objects(&self) -> Result<Option<Rc<ObjectView>>, String> {
        let Some(store) = self.object_store() else {
            return Ok(None);
        };
        let view = self.wait(store.view());
        view.map(Some).map_err(|error| error.to_string())
    }

    /// The objects, if claims are objects of an API server.
    pub(crate) fn object_store(&self) -> Option<&ObjectStore> {
        match &self.store {
            AnyStore::Kubernetes(store) => Some(store),
            AnyStore::Etcd(_) | AnyStore::Page(_) | AnyStore::Local(_) => None,
        }
    }

    /// The API server, if claims are its objects.
    pub(crate) fn api_server(&self) -> Option<&Server> {
        self.object_store().map(ObjectStore::server)
    }

    /// Objects of an API server that cannot be used: a view has no entry for them. The view is the held one.
    pub(crate) fn unusable(&self) -> Result<Vec<String>, String> {
        let view = self.objects()?;
        Ok(view.map(|view| view.unusable()).unwrap_or_default())
    }

    /// Shows `take` all claims, page by page. A claim that cannot be read is the reason. Objects of an API server that wait for
    /// an address are claims without one.
    pub(crate) fn each_shown(
        &self,
        mut take: impl FnMut(Vec<Result<Shown, String>>),
    ) -> Result<(), String> {
        if let Some(view) = self.objects()? {
            let claims = view.inventory.claims.iter().cloned();
            let claims = claims.map(|(attachment, claim)| Ok(Shown { attachment, claim }));
            take(claims.chain(view.unusable().into_iter().map(Err)).collect());
            return Ok(());
        }
        self.each_page(self.keys.claims(None), At::Now, |page| {
            let shown = page.iter().map(|entry| Shown::of(&self.keys, entry));
            take(shown.collect());
            Ok(())
        })?;
        Ok(())
    }

    /// The cluster that answers and its revision. No key of ours is in the range that is read.
    pub(crate) fn present(&self) -> Result<(u64, Revision), String> {
        let nothing = Read::Range {
            from: self.keys.with_prefix(&[0]),
            until: self.keys.with_prefix(&[0, 0]),
            order: Order::Key,
            limit: 1,
        };
        let view = self.ask(self.store.read(&[nothing], At::Now))?;
        Ok((view.cluster, view.revision))
    }

    /// Shows `take` all entries of a range of keys, page by page at one revision, which it answers.
    pub(crate) fn each_page(
        &self,
        keys: (Vec<u8>, Vec<u8>),
        at: At,
        mut take: impl FnMut(&[Entry]) -> Result<(), String>,
    ) -> Result<Revision, String> {
        let _held = self.hold()?;
        let mut pages = Pages::new(keys, at);
        let mut progress = Progress::new("entries read");
        while let Some(page) = self.ask(pages.next(&self.store))? {
            progress.add(page.len());
            take(&page)?;
        }
        Ok(pages.revision())
    }

    /// The answer of the datastore.
    pub(crate) fn ask<T, E: ToString>(
        &self,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        self.runtime
            .block_on(async { timeout(PATIENCE, asked).await })
            .map_err(|_| format!("the datastore has not answered in {PATIENCE:?}"))?
            .map_err(|error| error.to_string())
    }

    /// Commits `txn`, whose outcome is unknown if the datastore does not answer in time.
    pub(crate) fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let late = |_| CommitError::Unknown(format!("no answer in {PATIENCE:?}"));
        self.runtime
            .block_on(async { timeout(PATIENCE, self.store.commit(txn)).await })
            .map_err(late)?
    }

    /// Waits for what may take any time.
    pub(crate) fn wait<T>(&self, awaited: impl Future<Output = T>) -> T {
        self.runtime.block_on(awaited)
    }
}
