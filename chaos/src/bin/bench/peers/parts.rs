//! The real programs that are compared: given by path, or built by `tests/parts.sh`.

use std::path::PathBuf;

use clap::Args;
use whereabouts_fixtures::binaries;

/// Paths of programs. `tests/parts.sh` builds those that are not given.
#[derive(Args)]
pub(crate) struct Given {
    /// The ancestor, whereabouts 0.9.2.
    #[arg(long, value_name = "FILE")]
    ancestor: Option<PathBuf>,
    /// host-local 1.10 of the CNI plugins.
    #[arg(long, value_name = "FILE")]
    host_local: Option<PathBuf>,
    /// The API server that the ancestor stores its addresses with.
    #[arg(long, value_name = "FILE")]
    kube_apiserver: Option<PathBuf>,
    /// kubectl, for that API server.
    #[arg(long, value_name = "FILE")]
    kubectl: Option<PathBuf>,
    /// etcd 3.7, behind the API server and for this project.
    #[arg(long, value_name = "FILE")]
    etcd: Option<PathBuf>,
}

/// The programs, all there.
pub(crate) struct Parts {
    pub(crate) ancestor: PathBuf,
    pub(crate) host_local: PathBuf,
    pub(crate) kube_apiserver: PathBuf,
    pub(crate) kubectl: PathBuf,
    pub(crate) etcd: PathBuf,
}

impl Parts {
    /// All programs. Those that are not given are built.
    pub(crate) fn of(given: &Given) -> Result<Self, String> {
        let found = |path: &Option<PathBuf>, part, program| match path {
            Some(path) => path
                .canonicalize()
                .map_err(|error| format!("{}: {error}", path.display())),
            None => binaries::part(part, program),
        };
        Ok(Self {
            ancestor: found(&given.ancestor, "ancestor", "whereabouts-ancestor")?,
            host_local: found(&given.host_local, "cni", "host-local")?,
            kube_apiserver: found(&given.kube_apiserver, "kubernetes", "kube-apiserver")?,
            kubectl: found(&given.kubectl, "kubernetes", "kubectl")?,
            etcd: found(&given.etcd, "etcd-3.7", "etcd-3.7")?,
        })
    }
}
