//! How the tool reaches etcd: options named after the keys of a config, and the plugin's own store.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};
use tokio::time::timeout;
use whereabouts::clock::Chance;
use whereabouts::invocation::LocalMachine;
use whereabouts::listing::{Listing, list};
use whereabouts::request::{self, Access};
use whereabouts::store::etcd::EtcdStore;
use whereabouts::store::keys::Keys;

/// How long etcd may take to tell everything.
const PATIENCE: Duration = Duration::from_mins(1);

/// How to reach etcd. What is not given is taken from the flat file, as by the plugin.
#[derive(Args)]
pub(crate) struct EtcdOptions {
    /// Where etcd is: host and port, or a list of them separated by commas.
    #[arg(long, value_name = "LIST")]
    etcd_host: Option<String>,
    /// Below which prefix the keys are.
    #[arg(long, value_name = "PREFIX")]
    etcd_prefix: Option<String>,
    /// The user to log in as.
    #[arg(long, value_name = "NAME")]
    etcd_username: Option<String>,
    /// The file with the user's password.
    #[arg(long, value_name = "FILE")]
    etcd_password_file: Option<PathBuf>,
    /// The CA that the servers' certificates are checked against.
    #[arg(long, value_name = "FILE")]
    etcd_ca_cert_file: Option<PathBuf>,
    /// The certificate to show.
    #[arg(long, value_name = "FILE")]
    etcd_cert_file: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE")]
    etcd_key_file: Option<PathBuf>,
    /// The flat file, if not in the usual place.
    #[arg(long, value_name = "FILE")]
    configuration_path: Option<PathBuf>,
}

/// An etcd that is asked, one thing after the other.
pub(crate) struct Connection {
    runtime: tokio::runtime::Runtime,
    /// The store.
    pub(crate) store: EtcdStore,
    /// Its keys.
    pub(crate) keys: Keys,
}

impl Connection {
    /// Connects lazily, as `options` say.
    pub(crate) fn open(options: &EtcdOptions) -> Result<Self, String> {
        let access = options.access()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let store = EtcdStore::new(&access, &Chance::new(u64::from(std::process::id())));
        let keys = Keys::new(&access.prefix);
        Ok(Self {
            runtime,
            store,
            keys,
        })
    }

    /// Everything that is stored, at one revision.
    pub(crate) fn list(&self) -> Result<Listing, String> {
        self.wait(list(&self.store, &self.keys))?
            .map_err(|error| error.to_string())
    }

    fn wait<T>(&self, asked: impl Future<Output = T>) -> Result<T, String> {
        self.runtime
            .block_on(async { timeout(PATIENCE, asked).await })
            .map_err(|_| format!("etcd has not answered in {PATIENCE:?}"))
    }
}

impl EtcdOptions {
    /// The options as the keys of a config that they are named after.
    fn access(&self) -> Result<Access, String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let options = [
            ("etcd_host", self.etcd_host.clone()),
            ("etcd_prefix", self.etcd_prefix.clone()),
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
        let (access, remarks) = access.map_err(|error| error.details())?;
        for remark in remarks {
            eprintln!("whereaboutsctl: {}", remark.text);
        }
        Ok(access)
    }
}
