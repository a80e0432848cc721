//! One plugin that is compared, with the servers that it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use whereabouts_chaos::plugin::Plugin;
use whereabouts_fixtures::etcd::{Cluster, Setup, Transport};

use super::api_server::{ApiServer, NODE};
use super::counts::Counts;
use super::cpu;
use super::parts::Parts;

/// The range of each peer.
const RANGE: &str = "10.0.0.0/16";

/// A plugin, and the servers that it needs.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) plugin: Plugin,
    servers: Servers,
}

enum Servers {
    /// Its addresses are files of this machine.
    None,
    Etcd(Cluster),
    /// An API server, and the labels of the requests that count in its metrics.
    ApiServer(Arc<Backed>, &'static [&'static str]),
}

/// An API server on an etcd. The API server ends first.
struct Backed {
    server: ApiServer,
    etcd: Cluster,
}

/// The requests of the ancestor: its types, and the lease of its election.
const OF_ANCESTOR: &[&str] = &[r#"group="whereabouts.cni.cncf.io""#, r#"resource="leases""#];

/// The requests of this project.
const OF_PROJECT: &[&str] = &[r#"group="ipam.whereabouts.internal""#];

impl Backed {
    fn start(parts: &Parts, folder: &Path) -> Result<Arc<Self>, String> {
        let etcd = etcd(&parts.etcd, Transport::Plain);
        let server = ApiServer::start(parts, &etcd.members[0].url, folder)?;
        Ok(Arc::new(Self { server, etcd }))
    }
}

impl Peer {
    /// The ancestor, on an API server.
    fn ancestor(parts: &Parts, backed: &Arc<Backed>, folder: &Path) -> Result<Self, String> {
        Ok(Self {
            name: "whereabouts 0.9.2",
            plugin: on_api_server(&parts.ancestor, backed.server.kubeconfig(), folder)?,
            servers: Servers::ApiServer(Arc::clone(backed), OF_ANCESTOR),
        })
    }

    /// This project, on the same API server.
    fn kubernetes(plugin: &Path, backed: &Arc<Backed>, folder: &Path) -> Result<Self, String> {
        Ok(Self {
            name: "this project, kubernetes",
            plugin: on_api_server(plugin, &backed.server.node_kubeconfig(), folder)?,
            servers: Servers::ApiServer(Arc::clone(backed), OF_PROJECT),
        })
    }

    /// host-local, with its files in `folder`.
    pub(crate) fn host_local(parts: &Parts, folder: &Path) -> Self {
        let ipam = json!({
            "type": "host-local", "dataDir": folder.join("host-local"), "ranges": [[{"subnet": RANGE}]],
        });
        Self {
            name: "host-local 1.10",
            plugin: Plugin::new(&parts.host_local, &config(&ipam)),
            servers: Servers::None,
        }
    }

    /// This project, on an etcd of its own.
    pub(crate) fn plain(plugin: &Path, parts: &Parts) -> Self {
        let etcd = etcd(&parts.etcd, Transport::Plain);
        let ipam = json!({
            "type": "whereabouts", "range": RANGE, "etcd_host": etcd.access().endpoints,
        });
        Self {
            name: "this project",
            plugin: Plugin::new(plugin, &config(&ipam)),
            servers: Servers::Etcd(etcd),
        }
    }

    /// The same, with TLS and client certificates.
    pub(crate) fn with_tls(plugin: &Path, parts: &Parts, folder: &Path) -> Result<Self, String> {
        let etcd = etcd(&parts.etcd, Transport::MutualTls);
        let access = etcd.access();
        let tls = access.tls.expect("it has certificates");
        let (certificate, key) = tls.identity.expect("clients have one");
        let file = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            write(&path, &String::from_utf8_lossy(content)).map(|()| path)
        };
        let ipam = json!({
            "type": "whereabouts", "range": RANGE, "etcd_host": access.endpoints,
            "etcd_ca_cert_file": file("ca.crt", &tls.ca.expect("it has an authority"))?,
            "etcd_cert_file": file("client.crt", &certificate)?,
            "etcd_key_file": file("client.key", key.reveal().as_bytes())?,
        });
        Ok(Self {
            name: "this project, TLS",
            plugin: Plugin::new(plugin, &config(&ipam)),
            servers: Servers::Etcd(etcd),
        })
    }

    /// Whether 1,000 ADDs take it minutes.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self.servers, Servers::ApiServer(_, labels) if labels == OF_ANCESTOR)
    }

    /// Whether it is this project.
    pub(crate) fn is_ours(&self) -> bool {
        self.has_servers() && !self.is_slow()
    }

    /// Whether there are servers that count.
    pub(crate) fn has_servers(&self) -> bool {
        !matches!(self.servers, Servers::None)
    }

    /// What its servers have counted so far.
    pub(crate) fn counts(&self) -> Result<Counts, String> {
        match &self.servers {
            Servers::None => Ok(Counts::default()),
            Servers::Etcd(etcd) => Ok(counts(etcd)),
            Servers::ApiServer(backed, labels) => Ok(Counts {
                commits: counts(&backed.etcd).commits,
                ..backed.server.counts(labels)?
            }),
        }
    }

    /// Processor time of its servers so far, in milliseconds.
    pub(crate) fn servers_cpu_ms(&self) -> f64 {
        let pids = match &self.servers {
            Servers::None => vec![],
            Servers::Etcd(etcd) => vec![etcd.members[0].pid()],
            Servers::ApiServer(backed, _) => {
                vec![backed.server.pid(), backed.etcd.members[0].pid()]
            }
        };
        pids.into_iter().map(cpu::of_process_ms).sum()
    }
}

/// All peers, in the order of their turns.
pub(crate) fn all(plugin: &Path, parts: &Parts, folder: &TempDir) -> Result<[Peer; 5], String> {
    let backed = Backed::start(parts, folder.path())?;
    Ok([
        Peer::ancestor(parts, &backed, folder.path())?,
        Peer::kubernetes(plugin, &backed, folder.path())?,
        Peer::host_local(parts, folder.path()),
        Peer::plain(plugin, parts),
        Peer::with_tls(plugin, parts, folder.path())?,
    ])
}

/// A plugin with a flat file that leads to the API server.
fn on_api_server(program: &Path, kubeconfig: &Path, folder: &Path) -> Result<Plugin, String> {
    let name = kubeconfig.file_name().unwrap_or_default().display();
    let flat_file = folder.join(format!("whereabouts-{name}.conf"));
    let content = json!({
        "datastore": "kubernetes", "node_name": NODE,
        "kubernetes": {"kubeconfig": kubeconfig},
    });
    write(&flat_file, &content.to_string())?;
    let ipam = json!({"type": "whereabouts", "configuration_path": flat_file, "range": RANGE});
    Ok(Plugin::new(program, &config(&ipam)))
}

fn etcd(program: &Path, transport: Transport) -> Cluster {
    Cluster::of_program(
        PathBuf::from(program),
        Setup {
            transport,
            ..Setup::default()
        },
    )
}

fn counts(etcd: &Cluster) -> Counts {
    Counts::of_etcd(&etcd.members[0].metrics().expect("etcd tells its metrics"))
}

fn config(ipam: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "ipam": ipam})
}

fn write(path: &Path, content: &str) -> Result<(), String> {
    fs::write(path, content).map_err(|error| format!("{}: {error}", path.display()))
}
