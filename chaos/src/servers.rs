//! Two API servers on a proxied cluster of etcd, with the datastore `kubernetes` in it. They reach the members through the
//! proxies, and each of them has a proxy of its own in front.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use tokio::time::sleep;
use whereabouts_apiserver::{Answer, Client, Objects, Request, Resource};
use whereabouts_clock::Chance;
use whereabouts_core::address::BlockKey;
use whereabouts_etcd::SystemClock;
use whereabouts_fixtures::apiserver::{Backend, Files, Programs, Server};
use whereabouts_kubernetes::object::Kind;
use whereabouts_kubernetes::{GROUP, KubernetesRegistry, VERSION};

use crate::proxied::{ProxiedCluster, Security, quiet_port};
use crate::proxy::{Party, Proxy};
use crate::running::Running;

/// How many there are.
pub const SERVERS: usize = 2;

/// Longest time until all servers serve.
const BOUND: Duration = Duration::from_mins(1);

/// Longest time that a server may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Longest time of a sweep.
const SWEPT: Duration = Duration::from_mins(1);

/// The API servers. They end when this is dropped.
pub struct Servers {
    all: Vec<One>,
    /// For each node: its kubeconfigs, one for each server.
    kubeconfigs: Vec<Vec<PathBuf>>,
    /// A token of a node.
    token: String,
}

struct One {
    running: Running,
    server: Server,
    proxy: Proxy,
}

/// The name of a node.
pub fn node_name(number: u64) -> String {
    format!("node{number}")
}

impl Servers {
    /// Starts the servers, and installs the datastore with so many nodes.
    pub fn start(cluster: &ProxiedCluster, programs: &Programs, nodes: u64) -> io::Result<Self> {
        let files = Arc::new(Files::create());
        let backend = Backend {
            urls: cluster.proxied_urls(),
            client: match cluster.security() {
                Security::Plain => None,
                Security::MutualTls => Some(cluster.client_files()),
            },
        };
        let new = |number| -> io::Result<One> {
            let address = quiet_port();
            let port = address.port();
            let server = Server::new(programs.clone(), &files, backend.clone(), port);
            let proxy = Proxy::for_clients(cluster.links(), Party::Server(number), address)?;
            let process = server
                .start()
                .ok_or_else(|| io::Error::other("the API server has ended"))?;
            let running = Running::default();
            running.set(process);
            Ok(One {
                running,
                server,
                proxy,
            })
        };
        let servers = (0..SERVERS).map(new).collect::<io::Result<Vec<One>>>()?;
        let first = &servers[0].server;
        first.install_datastore();
        let names: Vec<String> = (0..nodes).map(node_name).collect();
        first.make_nodes(names.iter().map(String::as_str));
        let tokens: Vec<String> = names.iter().map(|name| first.token(name)).collect();
        let of_node = |(number, token): (usize, &String)| {
            let each = servers.iter().enumerate();
            each.map(|(at, one)| {
                // Every other node reaches the servers themselves: where nobody listens, it is told so.
                let url = if number.is_multiple_of(2) {
                    format!("https://{}", one.proxy.address())
                } else {
                    one.server.url()
                };
                files.kubeconfig(&format!("node{number}-{at}"), &url, token)
            })
            .collect()
        };
        let kubeconfigs = tokens.iter().enumerate().map(of_node).collect();
        let token = tokens
            .into_iter()
            .next()
            .ok_or_else(|| io::Error::other("there is no node"))?;
        Ok(Self {
            all: servers,
            kubeconfigs,
            token,
        })
    }

    /// The kubeconfig of a node for one of the servers.
    pub fn kubeconfig(&self, node: u64, server: usize) -> &Path {
        let node = usize::try_from(node).expect("a small number");
        &self.kubeconfigs[node][server]
    }

    /// Kills a server.
    pub fn kill(&self, server: usize) {
        self.all[server].running.kill();
    }

    /// Starts a server that was killed.
    pub fn restart(&self, server: usize) {
        let one = &self.all[server];
        one.running.set(one.server.spawn());
    }

    /// Makes a server hang.
    pub fn stop(&self, server: usize) {
        self.all[server].running.stop();
    }

    /// Lets a server that hangs go on.
    pub fn go_on(&self, server: usize) {
        self.all[server].running.go_on();
    }

    /// Waits until every server serves nodes.
    pub async fn all_well(&self) -> Result<(), String> {
        let end = Instant::now() + BOUND;
        for (number, one) in self.all.iter().enumerate() {
            loop {
                if one.running.has_ended() {
                    // It gives up when etcd is away for long at its start.
                    self.kill(number);
                    self.restart(number);
                }
                let answer = self.ask(one).await;
                if matches!(answer, Answer::Done(_)) {
                    break;
                }
                if Instant::now() > end {
                    return Err(format!(
                        "API server {number} does not serve within {BOUND:?}: {answer:?}"
                    ));
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// The answer of a server to a node.
    async fn ask(&self, one: &One) -> Answer {
        let blocks = Resource {
            group: GROUP,
            version: VERSION,
            plural: Kind::Block.plural(),
            namespace: None,
        };
        let list = Request::list(&blocks, vec![("limit", "1".to_owned())]);
        let access = one.server.with_token(&self.token);
        let client = Client::new(&access).expect("its own certificates are right");
        client.send(&list, ANSWER).await
    }

    /// Clears the dead bits of `blocks`, as the controller does.
    pub async fn sweep(&self, blocks: &BTreeSet<BlockKey>) -> Result<(), String> {
        let access = self.all[0].server.admin();
        let client = Client::new(&access).map_err(|error| error.to_string())?;
        let (objects, chance) = (Objects::of(client), Chance::new(0));
        let registry = KubernetesRegistry::new(&objects, &SystemClock, &chance, SWEPT);
        let swept = registry.sweep(blocks).await;
        swept.map_err(|failure| format!("a sweep: {failure}"))
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.all.iter().map(|one| one.server.url());
        f.debug_list().entries(urls).finish()
    }
}
