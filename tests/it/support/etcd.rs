//! Real etcd clusters on free loopback ports, with their data in a temporary folder. They end,
//! whatever happens, when the test lets go of them.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use whereabouts::request::{Access, Secret, Tls};

use super::certificates::Certificates;
use super::{free_port, poll};

/// The password of a cluster's user `root`.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// How often a start is tried: another process may take a port that was free a moment ago.
const STARTS: usize = 5;

/// How clients reach a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In the clear.
    Plain,
    /// The members have a certificate.
    Tls,
    /// And demand one of their clients.
    MutualTls,
}

/// Who may use a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Users {
    /// Everybody.
    Anybody,
    /// The user `root`, with [`PASSWORD`].
    Root,
}

/// Where the members' data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In memory, where there is such a place: what is tested is not the disk.
    Memory,
    /// In the folder for temporary files.
    #[allow(dead_code, reason = "only the load generator wants a disk")]
    Disk,
}

/// What a cluster is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// How many members.
    pub(crate) members: usize,
    /// How they are reached.
    pub(crate) transport: Transport,
    /// By whom.
    pub(crate) users: Users,
    /// Where their data is.
    pub(crate) storage: Storage,
    /// Further arguments of each member.
    pub(crate) arguments: &'static [&'static str],
}

impl Default for Setup {
    /// One member in memory, in the clear, open to everybody.
    fn default() -> Self {
        Self {
            members: 1,
            transport: Transport::Plain,
            users: Users::Anybody,
            storage: Storage::Memory,
            arguments: &[],
        }
    }
}

/// A running cluster.
pub(crate) struct Cluster {
    /// Its members.
    pub(crate) members: Vec<Member>,
    setup: Setup,
    folder: Folder,
}

/// The members' data, logs and certificates.
struct Folder {
    path: TempDir,
    certificates: Certificates,
}

impl Cluster {
    /// A healthy cluster of so many members, in the clear and open to everybody.
    pub(crate) fn start(members: usize) -> Self {
        Self::with(Setup {
            members,
            ..Setup::default()
        })
    }

    /// A healthy cluster.
    pub(crate) fn with(setup: Setup) -> Self {
        let folder = Folder::create(setup.storage);
        let members = (0..STARTS)
            .find_map(|start| start_members(setup, &folder, start))
            .expect("etcd starts");
        let cluster = Self {
            members,
            setup,
            folder,
        };
        if setup.users == Users::Root {
            cluster.etcdctl(&["user", "add", &format!("root:{PASSWORD}")]);
            cluster.etcdctl(&["user", "grant-role", "root", "root"]);
            cluster.etcdctl(&["auth", "enable"]);
        }
        cluster
    }

    /// How a plugin reaches it, with everything that it needs.
    pub(crate) fn access(&self) -> Access {
        let certificates = &self.folder.certificates;
        let identity = || {
            let client = &certificates.client;
            let certificate = client.certificate.clone().into_bytes();
            (certificate, Secret::new(client.key.clone()))
        };
        let tls = |identity| Tls {
            ca: Some(certificates.authority.clone().into_bytes()),
            identity,
        };
        Access {
            endpoints: self
                .members
                .iter()
                .map(|member| member.url.clone())
                .collect(),
            prefix: "/whereabouts/v1/".to_owned(),
            login: match self.setup.users {
                Users::Anybody => None,
                Users::Root => Some(("root".to_owned(), Secret::new(PASSWORD.to_owned()))),
            },
            tls: match self.setup.transport {
                Transport::Plain => None,
                Transport::Tls => Some(tls(None)),
                Transport::MutualTls => Some(tls(Some(identity()))),
            },
        }
    }

    /// The member that leads, and another.
    pub(crate) fn leader_and_follower(&self) -> (&Member, &Member) {
        let leads = |member: &&Member| member.metric("etcd_server_is_leader") == Some(1);
        poll("a member leads", || {
            let leader = self.members.iter().find(leads)?;
            let follower = self.members.iter().find(|member| !leads(member))?;
            Some((leader, follower))
        })
    }

    /// Runs etcd's own client on the first member, without a login, and panics if it fails.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) {
        let path = |name: &str| self.folder.path.path().join(name);
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.members[0].url))
            .args(arguments)
            .stdout(Stdio::null());
        if self.setup.transport != Transport::Plain {
            command.arg("--cacert").arg(path("authority.pem"));
            command.arg("--cert").arg(path("client.pem"));
            command.arg("--key").arg(path("client.key"));
        }
        let status = command.status().expect("etcdctl is installed");
        assert!(status.success(), "etcdctl {arguments:?}: {status}");
    }
}

/// One member of a cluster.
pub(crate) struct Member {
    process: Child,
    /// Where clients reach it.
    pub(crate) url: String,
    /// Where it tells its health and metrics, always in the clear: address and port.
    observed_at: String,
}

impl Member {
    /// Ends it at once, for good.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Makes it hang: its connections stay and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        // Its threads stop some time after the signal; then its parent is told.
        let pid = Pid::from_child(&self.process);
        waitpid(Some(pid), WaitOptions::UNTRACED).expect("the child stops");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// The value of one of its counters or gauges, by its name and labels as `/metrics` has them.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        let metrics = self.metrics()?;
        let mut values = metrics.lines().filter_map(|line| line.strip_prefix(name));
        values.find_map(|value| value.trim().parse().ok())
    }

    /// Whether its cluster has agreed on the members' version, which goes through raft some time after the start.
    pub(crate) fn knows_its_clusters_version(&self) -> bool {
        let metrics = self.metrics().unwrap_or_default();
        let of_server = metrics.split("server_version=\"").nth(1);
        // 3.7 of 3.7.3.
        let version = of_server.and_then(|text| text.split('"').next()?.rsplit_once('.'));
        version.is_some_and(|(version, _)| {
            let agreed = format!("etcd_cluster_version{{cluster_version=\"{version}\"}}");
            self.metric(&agreed) == Some(1)
        })
    }

    /// All of its counters and gauges, as Prometheus reads them.
    pub(crate) fn metrics(&self) -> Option<String> {
        self.observe("/metrics")
    }

    fn is_healthy(&self) -> bool {
        self.observe("/health")
            .is_some_and(|health| health.contains("\"true\""))
    }

    fn has_ended(&mut self) -> bool {
        self.process
            .try_wait()
            .expect("a child can be asked for")
            .is_some()
    }

    fn observe(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.observed_at).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).expect("the child was not waited for");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Folder {
    /// Its name tells whose it is: that of this process.
    fn create(storage: Storage) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = match storage {
            Storage::Memory if memory.is_dir() => memory.to_path_buf(),
            Storage::Memory | Storage::Disk => env::temp_dir(),
        };
        let path = tempfile::Builder::new()
            .prefix(&format!("whereabouts-{}-", process::id()))
            .tempdir_in(parent)
            .expect("a temporary folder is made");
        let certificates = Certificates::generate();
        for (name, content) in [
            ("authority.pem", &certificates.authority),
            ("server.pem", &certificates.server.certificate),
            ("server.key", &certificates.server.key),
            ("client.pem", &certificates.client.certificate),
            ("client.key", &certificates.client.key),
        ] {
            fs::write(path.path().join(name), content).expect("the folder can be written");
        }
        Self { path, certificates }
    }
}

/// The members of a healthy cluster, or `None` when one of them ended instead.
fn start_members(setup: Setup, folder: &Folder, start: usize) -> Option<Vec<Member>> {
    let peers: Vec<_> = (0..setup.members)
        .map(|number| format!("m{number}=http://127.0.0.1:{}", free_port()))
        .collect();
    let members = peers.iter().map(|peer| {
        let name = format!("{start}-{}", &peer[..2]);
        start_member(setup, folder.path.path(), &name, peer, &peers.join(","))
    });
    let mut members: Vec<Member> = members.collect();
    poll("etcd is healthy", || {
        if members.iter_mut().any(Member::has_ended) {
            Some(false)
        } else {
            members.iter().all(Member::is_healthy).then_some(true)
        }
    })
    .then_some(members)
}

fn start_member(setup: Setup, folder: &Path, name: &str, peer: &str, peers: &str) -> Member {
    let (id, peer_url) = peer.split_once('=').expect("a peer is written as name=url");
    let scheme = match setup.transport {
        Transport::Plain => "http",
        Transport::Tls | Transport::MutualTls => "https",
    };
    let url = format!("{scheme}://127.0.0.1:{}", free_port());
    let observed_at = format!("127.0.0.1:{}", free_port());
    let log = File::create(folder.join(format!("{name}.log"))).expect("a log can be written");
    let mut command = Command::new("etcd");
    command
        .env_clear()
        // Where the program is searched: of several versions, the first one on the PATH is meant.
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .args(setup.arguments)
        .args(["--name", id, "--initial-cluster", peers])
        .arg("--data-dir")
        .arg(folder.join(name))
        .args(["--listen-peer-urls", peer_url])
        .args(["--initial-advertise-peer-urls", peer_url])
        .args(["--listen-client-urls", &url])
        .args(["--advertise-client-urls", &url])
        .args(["--listen-metrics-urls", &format!("http://{observed_at}")]);
    if setup.transport != Transport::Plain {
        command.arg("--cert-file").arg(folder.join("server.pem"));
        command.arg("--key-file").arg(folder.join("server.key"));
    }
    if setup.transport == Transport::MutualTls {
        let authority = folder.join("authority.pem");
        command
            .arg("--client-cert-auth")
            .arg("--trusted-ca-file")
            .arg(authority);
    }
    Member {
        process: command.spawn().expect("etcd is installed"),
        url,
        observed_at,
    }
}
