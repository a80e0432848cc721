//! The options that tell how to reach the datastore, named after the keys of a config.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use whereabouts_cni::invocation::{LocalMachine, read_file};
use whereabouts_cni::request::{self, Datastore, Remark, RequestError};
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;

use super::is_plugin;
use super::source;
use crate::in_pod;
use crate::output::say;

/// Under what the options stand in a help text.
const HEADING: &str = "How to reach the datastore (default: WHEREABOUTS_* variables, a context, the flat file, ETCDCTL_* variables)";

/// How to reach the datastore.
#[derive(Args, Clone)]
pub(crate) struct DatastoreOptions {
    /// Where claims are: in etcd, in objects of the API server (kubernetes), or in a file of this host (local) [default: what
    /// the other options are about].
    #[arg(long, help_heading = HEADING, value_name = "NAME", value_parser = ["etcd", "kubernetes", "local"])]
    datastore: Option<String>,
    /// The kubeconfig of the API server [default, with --datastore kubernetes: the one that KUBECONFIG names, the one beside
    /// the flat file, the account of this pod, or ~/.kube/config]. With --datastore kubernetes, the API server of the claims
    /// also judges them.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
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
    pub(super) context: Option<String>,
    /// The flat file, if not in the usual place.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    configuration_path: Option<PathBuf>,
    /// Whether the kubeconfig is of another use, too, so that it says nothing of the datastore.
    #[arg(skip)]
    shares_kubeconfig: bool,
}

impl DatastoreOptions {
    /// Whether they say anything.
    pub(crate) fn is_given(&self) -> bool {
        self.names_place() || self.context.is_some()
    }

    /// Whether they name a datastore, without the help of a file of contexts.
    pub(super) fn names_place(&self) -> bool {
        let says_more = self.configuration_path.is_some() || self.datastore.is_some();
        self.etcd_host.is_some() || self.local_path.is_some() || says_more
    }

    /// The kubeconfig, if one is named.
    pub(crate) fn kubeconfig(&self) -> Option<&Path> {
        self.kubeconfig.as_deref()
    }

    /// Whether the kubeconfig is about the datastore.
    pub(super) fn names_kubernetes(&self) -> bool {
        self.datastore.as_deref() == Some("kubernetes")
    }

    /// The same for a command that asks an API server in any case.
    pub(crate) fn sharing_kubeconfig(&self) -> Self {
        Self {
            shares_kubeconfig: true,
            ..self.clone()
        }
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
    pub(super) fn reach(&self) -> Result<(Datastore, Option<Identity>), String> {
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
        let flag = self.kubeconfig();
        let found = read_keys(source::of_config(keys.clone(), flag, &around)?);
        let found = match found {
            Err(error) if is_without_kubeconfig(&error) => {
                let folder = Path::new(in_pod::CREDENTIALS);
                if let Some(access) = in_pod::access(around.variable, folder)? {
                    return Ok((Datastore::Kubernetes(access), None));
                }
                match source::kubectls_file(&around) {
                    Some(file) => read_keys(source::of_config(keys, Some(&file), &around)?),
                    None => Err(error),
                }
            }
            found => found,
        };
        let (datastore, cluster, remarks) = found.map_err(|error| error.details())?;
        for remark in remarks {
            say!("whereaboutsctl: {}", remark.text);
        }
        let is_kubernetes = matches!(datastore, Datastore::Kubernetes(_));
        if flag.is_some() && !is_kubernetes && !self.shares_kubeconfig {
            return Err(
                "--kubeconfig is for the datastore kubernetes: say --datastore kubernetes"
                    .to_owned(),
            );
        }
        Ok((datastore, cluster))
    }
}

type Found = (Datastore, Option<Identity>, Vec<Remark>);

/// The datastore that the keys of a config name on this machine.
fn read_keys(keys: source::Keys) -> Result<Found, Box<RequestError>> {
    let keys = Value::Object(keys).to_string();
    request::datastore_from(keys.as_bytes(), &LocalMachine).map_err(Box::new)
}

/// Whether the datastore is kubernetes, and no kubeconfig is known.
fn is_without_kubeconfig(error: &RequestError) -> bool {
    matches!(error, RequestError::MissingKey { key, .. } if key == "ipam.kubernetes.kubeconfig")
}
