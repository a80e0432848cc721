//! One member: a process of etcd, on ports and with data of its own, that is killed, stopped and
//! started again.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;

use super::setup::{Security, Setup};
use crate::proxy::Proxy;
use crate::running::Running;

/// Ports below those that the kernel gives to outgoing connections (`ip_local_port_range`), so
/// that the ports of a member that is down stay free.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// After how many entries of its log a member makes a snapshot: often enough to matter in minutes.
pub(super) const SNAPSHOT_EVERY: usize = 3_000;

/// Lines of a member's log that tell why it is not well.
const LAST_WORDS: usize = 20;

/// One member of a cluster.
#[derive(Debug)]
pub struct Member {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    /// The proxy in the way of other members.
    pub(super) peer_proxy: Proxy,
    /// The proxy in the way of clients.
    pub(super) client_proxy: Proxy,
    folder: PathBuf,
    pub(super) running: Running,
    life: Mutex<Life>,
}

#[derive(Debug, Default)]
struct Life {
    /// The program since an upgrade.
    upgraded: Option<PathBuf>,
    /// How often it began anew, without data.
    lives: u32,
}

/// Whether a member founds a cluster or joins one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Founding {
    New,
    Existing,
}

/// Two ports that nobody listens on: for clients and for peers.
pub(super) fn quiet_ports() -> [SocketAddr; 2] {
    [quiet_port(), quiet_port()]
}

/// A port that nobody listens on, and that stays free while its server is down.
pub(crate) fn quiet_port() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Processes that start at the same time begin in different places.
    let first = process::id() as usize * 101 + NEXT.fetch_add(1, Ordering::Relaxed);
    let ports = PORTS.cycle().skip(first % PORTS.len()).take(PORTS.len());
    let mut addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let quiet = addresses.find(|address| TcpListener::bind(address).is_ok());
    quiet.expect("a port is free")
}

impl Member {
    pub(super) fn new(
        name: String,
        folder: &Path,
        [client, peer]: [SocketAddr; 2],
        [client_proxy, peer_proxy]: [Proxy; 2],
    ) -> Self {
        Self {
            name,
            client,
            peer,
            peer_proxy,
            client_proxy,
            folder: folder.to_path_buf(),
            running: Running::default(),
            life: Mutex::default(),
        }
    }

    /// Where it listens for clients, past its proxy.
    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    /// It and its peers' URL, as `--initial-cluster` has them.
    pub(super) fn peer_url(&self, security: Security) -> String {
        format!("{}://{}", security.scheme(), self.peer_proxy.address())
    }

    /// Its name and its peers' URL, as `--initial-cluster` has them.
    pub(super) fn peer_entry(&self, security: Security) -> String {
        format!("{}={}", self.name, self.peer_url(security))
    }

    /// Starts it on the data that it has. Gives its pid.
    pub(super) fn start(&self, setup: &Setup, peers: &str, founding: Founding) -> i32 {
        let life = self.life();
        let scheme = setup.security.scheme();
        let client_url = format!("{scheme}://{}", self.client);
        let program = life.upgraded.as_ref().unwrap_or(&setup.etcd);
        let mut command = Command::new(program);
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log())
            .args(["--snapshot-count", &SNAPSHOT_EVERY.to_string()])
            // Elections as later releases hold them by default.
            .arg("--pre-vote")
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(self.data(life.lives))
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &format!("{scheme}://{}", self.peer)])
            .args([
                "--initial-advertise-peer-urls",
                &self.peer_url(setup.security),
            ])
            .args(["--initial-cluster", peers])
            .arg("--initial-cluster-state")
            .arg(match founding {
                Founding::New => "new",
                Founding::Existing => "existing",
            });
        if setup.security == Security::MutualTls {
            let path = |name: &str| self.folder.join(name);
            for side in ["", "peer-"] {
                command
                    .arg(format!("--{side}cert-file"))
                    .arg(path("server.pem"));
                command
                    .arg(format!("--{side}key-file"))
                    .arg(path("server.key"));
                command
                    .arg(format!("--{side}trusted-ca-file"))
                    .arg(path("authority.pem"));
                command.arg(format!("--{side}client-cert-auth"));
            }
        }
        let child = command.spawn().expect("etcd can be executed");
        let pid = Pid::from_child(&child).as_raw_nonzero().get();
        self.running.set(child);
        pid
    }

    /// Makes it start with another program from now on.
    pub(super) fn upgrade(&self, program: &Path) {
        self.life().upgraded = Some(program.to_path_buf());
    }

    /// Forgets its data: it is to begin anew.
    pub(super) fn forget(&self) {
        let mut life = self.life();
        // A remainder is removed with the cluster's folder.
        let _ = fs::remove_dir_all(self.data(life.lives));
        life.lives += 1;
    }

    fn data(&self, lives: u32) -> PathBuf {
        self.folder.join(format!("{}-{lives}", self.name))
    }

    /// The last lines that it has written, as far as they can be read.
    pub(super) fn last_words(&self) -> String {
        let words = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = words.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn log(&self) -> File {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path());
        log.expect("the cluster's folder can be written")
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
