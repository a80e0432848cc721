//! How the tool reaches the datastore: options named after the keys of a config, and the plugin's own stores.

mod datastore;
mod page;
mod source;

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use tokio::time::timeout;
use whereabouts_clock::{Chance, Clock};
use whereabouts_cni::invocation::{LocalMachine, read_file};
use whereabouts_cni::request::{self, Datastore};
use whereabouts_core::address::Name;
use whereabouts_core::allocator::{Shortage, Stored};
use whereabouts_core::claim::{Ask, Attachment, Claim, Want};
use whereabouts_core::durable::{DurableOwner, OwnerState};
use whereabouts_core::failure::{Corrupt, Failure};
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_core::registry::{Ended, Registry, Released, Scope, Taken};
use whereabouts_etcd::EtcdStore;
use whereabouts_etcd::SystemClock;
use whereabouts_local::{LocalRegistry, LocalStore, Wait};
use whereabouts_protocol::cluster;
use whereabouts_protocol::session::Session;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::listing::Pages;
use whereabouts_store::{
    At, CommitError, Entry, Order, Outcome, Read, Revision, Store, Txn, record,
};

use crate::output::{Progress, say};
use datastore::AnyStore;
use page::{PageStore, Way};
pub(crate) use page::{ReadOptions, is_plugin};

/// How long the datastore may take to answer one question.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How long one operation may take: as long as a DEL.
const DEADLINE: Duration = Duration::from_millis(limits::DEL_DEADLINE_MS);

/// Under what the options stand in a help text.
const HEADING: &str = "How to reach the datastore (default: WHEREABOUTS_* variables, a context, the flat file, ETCDCTL_* variables)";

/// How to reach the datastore.
#[derive(Args, Clone)]
pub(crate) struct DatastoreOptions {
    /// Where claims are: in etcd, or in a file of this host (local) [default: what the other options are about].
    #[arg(long, help_heading = HEADING, value_name = "NAME", value_parser = ["etcd", "local"])]
    datastore: Option<String>,
    /// The file of the datastore local.
    #[arg(long, help_heading = HEADING, value_name = "FILE", conflicts_with = "etcd_host")]
    local_path: Option<PathBuf>,
    /// Where etcd is: host and port, or a list of them separated by commas.
    #[arg(long, help_heading = HEADING, value_name = "LIST")]
    etcd_host: Option<String>,
    /// Below which prefix the keys are.
    #[arg(long, help_heading = HEADING, value_name = "PREFIX")]
    etcd_prefix: Option<String>,
    /// The user to log in as.
    #[arg(long, help_heading = HEADING, value_name = "NAME")]
    etcd_username: Option<String>,
    /// The file with the user's password.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    etcd_password_file: Option<PathBuf>,
    /// The CA that the servers' certificates are checked against.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    etcd_ca_cert_file: Option<PathBuf>,
    /// The certificate to show.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    etcd_cert_file: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    etcd_key_file: Option<PathBuf>,
    /// The identity of the cluster: `cluster_id`.
    #[arg(long, help_heading = HEADING, value_name = "ID")]
    cluster_id: Option<String>,
    /// The file that the identity of the cluster is made of, as by `install`.
    #[arg(long, help_heading = HEADING, value_name = "FILE", conflicts_with = "cluster_id")]
    cluster_id_from: Option<PathBuf>,
    /// The context of ~/.config/whereabouts/config.yaml, if not the current one.
    #[arg(long, help_heading = HEADING, value_name = "NAME", conflicts_with_all = ["etcd_host", "local_path", "datastore", "configuration_path"])]
    context: Option<String>,
    /// The flat file, if not in the usual place.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    configuration_path: Option<PathBuf>,
}

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
            Datastore::Kubernetes(_) => {
                return Err("this command does not read the datastore kubernetes".to_owned());
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
    fn stored_cluster(&self) -> Result<Option<Identity>, String> {
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
        let _held = self.store.hold()?;
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

    /// A session for one operation, which may take as long as a DEL.
    pub(crate) fn session(&self) -> Session<'_, AnyStore, SystemClock> {
        self.session_of(DEADLINE)
    }

    fn session_of(&self, deadline: Duration) -> Session<'_, AnyStore, SystemClock> {
        let (keys, chance) = (&self.keys, &self.chance);
        Session::new(&self.store, &SystemClock, chance, keys, deadline).of(self.cluster.as_ref())
    }

    /// Claims what `ask` states.
    pub(crate) fn take(&self, ask: &Ask) -> Result<Taken, Failure> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => self.wait(self.session().take(ask)),
            AnyStore::Local(store) => self.wait(self.local(store).take(ask)),
        }
    }

    /// Releases `claim` of `attachment`, as a DEL does.
    pub(crate) fn release(
        &self,
        attachment: &Attachment,
        claim: &Stored<Claim>,
    ) -> Result<Released, Failure> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => {
                self.wait(self.session().release(attachment, claim))
            }
            AnyStore::Local(store) => self.wait(self.local(store).release(attachment, claim)),
        }
    }

    /// Ends a durable owner that rests, if it is still in this state.
    pub(crate) fn end(
        &self,
        owner: &DurableOwner,
        state: &Stored<OwnerState>,
    ) -> Result<Ended, Failure> {
        match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => self.wait(self.session().end(owner, state)),
            AnyStore::Local(store) => self.wait(self.local(store).end(owner, state)),
        }
    }

    /// Shows `take` the durable owners, page by page. An owner that cannot be read is the reason.
    pub(crate) fn each_owner(
        &self,
        take: impl FnMut(Result<(DurableOwner, Stored<OwnerState>), Corrupt>),
    ) -> Result<(), String> {
        self.each_owner_within(|| Ok(DEADLINE), None, take)
    }

    /// The same of one network, until `end`.
    pub(crate) fn each_owner_until(
        &self,
        end: Instant,
        network: &Name,
        take: impl FnMut(Result<(DurableOwner, Stored<OwnerState>), Corrupt>),
    ) -> Result<(), String> {
        self.each_owner_within(|| left_until(end), Some(network), take)
    }

    /// The same; `left` is how long the next page may take.
    fn each_owner_within(
        &self,
        left: impl Fn() -> Result<Duration, String>,
        network: Option<&Name>,
        mut take: impl FnMut(Result<(DurableOwner, Stored<OwnerState>), Corrupt>),
    ) -> Result<(), String> {
        let mut after = None;
        loop {
            let left = left()?;
            let after_page = after.as_ref();
            let page = match &self.store {
                AnyStore::Etcd(_) | AnyStore::Page(_) => {
                    self.wait(self.session_of(left).owners(network, after_page))
                }
                AnyStore::Local(store) => self.wait(self.local(store).owners(network, after_page)),
            };
            let page = page.map_err(|error| error.to_string())?;
            page.owners.into_iter().for_each(&mut take);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Shows `take` the claims of `scope`, page by page. A claim that cannot be read is the reason.
    pub(crate) fn each_claim(
        &self,
        scope: Scope<'_>,
        take: impl FnMut(Result<(Attachment, Stored<Claim>), Corrupt>),
    ) -> Result<(), String> {
        self.each_claim_within(|| Ok(DEADLINE), scope, take)
    }

    /// The same, until `end`.
    pub(crate) fn each_claim_until(
        &self,
        end: Instant,
        scope: Scope<'_>,
        take: impl FnMut(Result<(Attachment, Stored<Claim>), Corrupt>),
    ) -> Result<(), String> {
        self.each_claim_within(|| left_until(end), scope, take)
    }

    /// The same; `left` is how long the next page may take.
    fn each_claim_within(
        &self,
        left: impl Fn() -> Result<Duration, String>,
        scope: Scope<'_>,
        mut take: impl FnMut(Result<(Attachment, Stored<Claim>), Corrupt>),
    ) -> Result<(), String> {
        let mut after = None;
        loop {
            let left = left()?;
            let page = match &self.store {
                AnyStore::Etcd(_) | AnyStore::Page(_) => {
                    self.wait(self.session_of(left).page(scope, after.as_ref()))
                }
                AnyStore::Local(store) => self.wait(self.local(store).page(scope, after.as_ref())),
            };
            let page = page.map_err(|error| error.to_string())?;
            page.claims.into_iter().for_each(&mut take);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Why `wants` cannot be served now, by one cheap question until `end`.
    pub(crate) fn shortage_until(
        &self,
        end: Instant,
        wants: &[Want],
    ) -> Result<Option<Shortage>, String> {
        let left = left_until(end)?;
        let shortage = match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => {
                self.wait(self.session_of(left).shortage(wants))
            }
            AnyStore::Local(store) => self.wait(self.local(store).shortage(wants)),
        };
        shortage.map_err(|error| error.to_string())
    }

    fn local<'c>(&'c self, store: &'c LocalStore) -> LocalRegistry<'c> {
        let now = SystemClock.since_epoch();
        LocalRegistry::new(store, &self.keys, self.cluster.as_ref(), now)
    }

    /// Sees that the store is this cluster's, before something in it goes for what nodes are called.
    pub(crate) fn confirm(&self) -> Result<(), String> {
        let confirmed = match &self.store {
            AnyStore::Etcd(_) | AnyStore::Page(_) => self.wait(cluster::confirm(&self.session())),
            AnyStore::Local(store) => self.wait(self.local(store).confirm()),
        };
        confirmed.map_err(|error| error.to_string())
    }

    /// Sees that the store is not known to be another cluster's, before what a person has chosen is changed.
    pub(crate) fn confirm_choice(&self) -> Result<(), String> {
        self.wait(cluster::confirm_choice(&self.session()))
            .map_err(|error| error.to_string())
    }
}

fn left_until(end: Instant) -> Result<Duration, String> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err("the datastore has not answered in time".to_owned());
    }
    Ok(left)
}

impl DatastoreOptions {
    /// Whether they say anything.
    pub(crate) fn is_given(&self) -> bool {
        self.names_place() || self.context.is_some()
    }

    /// Whether they name a datastore, without the help of a file of contexts.
    fn names_place(&self) -> bool {
        let says_more = self.configuration_path.is_some() || self.datastore.is_some();
        self.etcd_host.is_some() || self.local_path.is_some() || says_more
    }

    /// The datastore.
    pub(crate) fn datastore(&self) -> Result<Datastore, String> {
        self.reach().map(|(datastore, _)| datastore)
    }

    /// The datastore that is named, or of which something is said.
    fn named_datastore(&self) -> Option<String> {
        let is_about = match (&self.local_path, &self.etcd_host) {
            (Some(_), _) => Some("local"),
            (None, Some(_)) => Some("etcd"),
            (None, None) => None,
        };
        self.datastore
            .clone()
            .or_else(|| is_about.map(str::to_owned))
    }

    fn cluster_id(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.cluster_id_from else {
            return Ok(self.cluster_id.clone());
        };
        let file = read_file(path, limits::FILE_BYTES)
            .map_err(|error| format!("--cluster-id-from: {}: {error}", path.display()))?;
        Ok(Some(Identity::of_file(&file.bytes).as_str().to_owned()))
    }

    /// The content of the options, or of the first source that names a datastore, as keys of a config.
    fn reach(&self) -> Result<(Datastore, Option<Identity>), String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let options = [
            ("datastore", self.named_datastore()),
            ("local_path", path(&self.local_path)),
            ("etcd_host", self.etcd_host.clone()),
            ("etcd_prefix", self.etcd_prefix.clone()),
            ("cluster_id", self.cluster_id()?),
            ("etcd_username", self.etcd_username.clone()),
            ("etcd_password_file", path(&self.etcd_password_file)),
            ("etcd_ca_cert_file", path(&self.etcd_ca_cert_file)),
            ("etcd_cert_file", path(&self.etcd_cert_file)),
            ("etcd_key_file", path(&self.etcd_key_file)),
            ("configuration_path", path(&self.configuration_path)),
        ];
        let given = options
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), Value::String(value?))));
        let around = source::Surroundings {
            variable: &|name| std::env::var(name).ok().filter(|value| !value.is_empty()),
            folder: std::env::current_dir().map_err(|error| error.to_string())?,
            has_flat_file: &|| {
                let found = request::usual_flat_file(&LocalMachine);
                found.map_err(|error| error.details())
            },
        };
        let keys = source::choose(given.collect(), self.context.as_deref(), &around);
        let keys = keys.map_err(|error| {
            if is_plugin() {
                return format!(
                    "this command goes to the datastore itself, not through kubectl: {error}"
                );
            }
            error
        })?;
        let keys = Value::Object(keys).to_string();
        let datastore = request::datastore_from(keys.as_bytes(), &LocalMachine);
        let (datastore, cluster, remarks) = datastore.map_err(|error| error.details())?;
        for remark in remarks {
            say!("whereaboutsctl: {}", remark.text);
        }
        Ok((datastore, cluster))
    }
}
