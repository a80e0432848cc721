//! How the tool reaches etcd: options named after the keys of a config, and the plugin's own store.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use tokio::time::timeout;
use whereabouts_clock::Chance;
use whereabouts_cni::invocation::{LocalMachine, read_file};
use whereabouts_cni::request::{self};
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_etcd::Access;
use whereabouts_etcd::EtcdStore;
use whereabouts_etcd::SystemClock;
use whereabouts_protocol::cluster;
use whereabouts_protocol::session::Session;
use whereabouts_store::keys::Keys;
use whereabouts_store::listing::Pages;
use whereabouts_store::{At, CommitError, Entry, Outcome, Revision, Store, Txn};

use crate::output::{Progress, say};

/// How long etcd may take to answer one question.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Under what the options stand in a help text.
const HEADING: &str = "How to reach etcd (default: as the flat file says)";

/// How to reach etcd. What is not given is taken from the flat file, as by the plugin.
#[derive(Args, Clone)]
pub(crate) struct EtcdOptions {
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
    /// The flat file, if not in the usual place.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    configuration_path: Option<PathBuf>,
}

/// An etcd that is asked, one thing after the other.
pub(crate) struct Connection {
    runtime: tokio::runtime::Runtime,
    chance: Chance,
    /// Of which cluster this tool is, if that is known.
    pub(crate) cluster: Option<Identity>,
    /// The store.
    pub(crate) store: EtcdStore,
    /// Its keys.
    pub(crate) keys: Keys,
    /// Below what they are.
    pub(crate) prefix: String,
}

impl Connection {
    /// Connects lazily, as `options` say.
    pub(crate) fn open(options: &EtcdOptions) -> Result<Self, String> {
        let (access, cluster) = options.reach()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        // Two tools, on two nodes perhaps, must not take each other's tickets for their own.
        let chance = Chance::new(RandomState::new().build_hasher().finish());
        Ok(Self {
            runtime,
            cluster,
            store: EtcdStore::new(&access, &chance),
            keys: Keys::new(&access.prefix),
            prefix: access.prefix,
            chance,
        })
    }

    /// Shows `take` all entries of a range of keys, page by page at one revision, which it answers.
    pub(crate) fn each_page(
        &self,
        keys: (Vec<u8>, Vec<u8>),
        at: At,
        mut take: impl FnMut(&[Entry]) -> Result<(), String>,
    ) -> Result<Revision, String> {
        let mut pages = Pages::new(keys, at);
        let mut progress = Progress::new("entries read");
        while let Some(page) = self.ask(pages.next(&self.store))? {
            progress.add(page.len());
            take(&page)?;
        }
        Ok(pages.revision())
    }

    /// What etcd answers.
    pub(crate) fn ask<T, E: ToString>(
        &self,
        asked: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        self.runtime
            .block_on(async { timeout(PATIENCE, asked).await })
            .map_err(|_| format!("etcd has not answered in {PATIENCE:?}"))?
            .map_err(|error| error.to_string())
    }

    /// Commits `txn`, whose outcome is unknown if etcd does not answer in time.
    pub(crate) fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let late = |_| CommitError::Unknown(format!("etcd has not answered in {PATIENCE:?}"));
        self.runtime
            .block_on(async { timeout(PATIENCE, self.store.commit(txn)).await })
            .map_err(late)?
    }

    /// Waits for what may take any time.
    pub(crate) fn wait<T>(&self, awaited: impl Future<Output = T>) -> T {
        self.runtime.block_on(awaited)
    }

    /// A session for one operation, which may take as long as a DEL.
    pub(crate) fn session(&self) -> Session<'_, EtcdStore, SystemClock> {
        let deadline = Duration::from_millis(limits::DEL_DEADLINE_MS);
        Session::new(
            &self.store,
            &SystemClock,
            &self.chance,
            &self.keys,
            deadline,
        )
        .of(self.cluster.as_ref())
    }

    /// Sees that the store is this cluster's, before something in it goes for what nodes are called.
    pub(crate) fn confirm(&self) -> Result<(), String> {
        self.wait(cluster::confirm(&self.session()))
            .map_err(|error| error.to_string())
    }

    /// Sees that the store is not known to be another cluster's, before what a person has chosen is changed.
    pub(crate) fn confirm_choice(&self) -> Result<(), String> {
        self.wait(cluster::confirm_choice(&self.session()))
            .map_err(|error| error.to_string())
    }
}

impl EtcdOptions {
    /// Whether they say anything.
    pub(crate) fn is_given(&self) -> bool {
        self.etcd_host.is_some() || self.configuration_path.is_some()
    }

    /// How etcd is reached.
    pub(crate) fn access(&self) -> Result<Access, String> {
        self.reach().map(|(access, _)| access)
    }

    fn cluster_id(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.cluster_id_from else {
            return Ok(self.cluster_id.clone());
        };
        let file = read_file(path, limits::FILE_BYTES)
            .map_err(|error| format!("--cluster-id-from: {}: {error}", path.display()))?;
        Ok(Some(Identity::of_file(&file.bytes).as_str().to_owned()))
    }

    /// The options as the keys of a config that they are named after.
    fn reach(&self) -> Result<(Access, Option<Identity>), String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let options = [
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
        let keys = Value::Object(given.collect::<Map<_, _>>()).to_string();
        let access = request::access_from(keys.as_bytes(), &LocalMachine);
        let (access, cluster, remarks) = access.map_err(|error| error.details())?;
        for remark in remarks {
            say!("whereaboutsctl: {}", remark.text);
        }
        Ok((access, cluster))
    }
}
