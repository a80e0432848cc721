//! A running cluster: its members, the links between all parties, and its files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, fs, io};

use tempfile::TempDir;

use super::member::{Founding, Member, quiet_ports};
use super::setup::{Security, Setup};
use super::sockets::Processes;
use crate::proxy::{Links, Party, Proxy, Recognise};
use whereabouts_fixtures::certificates::Certificates;

/// Where data is in memory, if there is such a place.
const MEMORY: &str = "/dev/shm";

/// How often, and in which distance, it is looked whether members are up.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// A running cluster. It ends when it is dropped, with all its data.
pub struct ProxiedCluster {
    setup: Setup,
    pub(super) members: Vec<Member>,
    links: Links,
    processes: Arc<Processes>,
    pub(super) certificates: Certificates,
    folder: TempDir,
}

impl ProxiedCluster {
    /// Starts the members.
    pub fn start(setup: Setup) -> io::Result<Self> {
        let memory = PathBuf::from(MEMORY);
        let parent = if memory.is_dir() {
            memory
        } else {
            env::temp_dir()
        };
        let folder = tempfile::Builder::new()
            .prefix(&format!("whereabouts-{}-", std::process::id()))
            .tempdir_in(parent)?;
        let certificates = Certificates::generate();
        for (name, content) in [
            ("authority.pem", &certificates.authority),
            ("server.pem", &certificates.server.certificate),
            ("server.key", &certificates.server.key),
            ("client.pem", &certificates.client.certificate),
            ("client.key", &certificates.client.key),
        ] {
            fs::write(folder.path().join(name), content)?;
        }
        let links = Links::default();
        let processes = Arc::new(Processes::new(setup.members));
        let member = |number| new_member(number, folder.path(), &links, &processes);
        let members = (0..setup.members)
            .map(member)
            .collect::<io::Result<Vec<Member>>>()?;
        let cluster = Self {
            setup,
            members,
            links,
            processes,
            certificates,
            folder,
        };
        (0..cluster.members.len()).for_each(|member| cluster.launch(member, Founding::New));
        Ok(cluster)
    }

    /// How many members it has.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// How many of them make a majority.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// The links between all parties.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The members' URLs for clients, through the proxies.
    pub fn proxied_urls(&self) -> Vec<String> {
        let addresses = self
            .members
            .iter()
            .map(|member| member.client_proxy.address());
        addresses.map(|address| self.url(address)).collect()
    }

    /// The members' URLs for clients, past the proxies.
    pub fn direct_urls(&self) -> Vec<String> {
        let addresses = self.members.iter().map(Member::client);
        addresses.map(|address| self.url(address)).collect()
    }

    /// How connections are protected.
    pub fn security(&self) -> Security {
        self.setup.security
    }

    /// The files of a client: the authority's certificate, its own, and its key.
    pub fn client_files(&self) -> [PathBuf; 3] {
        ["authority.pem", "client.pem", "client.key"].map(|name| self.folder.path().join(name))
    }

    /// Kills a member; its data stays.
    pub fn kill(&self, member: usize) {
        self.processes.set(member, 0);
        self.members[member].running.kill();
    }

    /// Starts a member that was killed, on its old data.
    pub fn restart(&self, member: usize) {
        self.launch(member, Founding::Existing);
    }

    /// Kills a member, and starts another program on its data.
    pub fn upgrade(&self, member: usize, program: &Path) {
        self.kill(member);
        self.members[member].upgrade(program);
        self.restart(member);
    }

    /// Makes a member hang.
    pub fn stop(&self, member: usize) {
        self.members[member].running.stop();
    }

    /// Lets a member that hangs go on.
    pub fn go_on(&self, member: usize) {
        self.members[member].running.go_on();
    }

    /// Starts anew what has ended by itself, a member whose port was taken, say.
    pub fn restart_ended(&self) {
        for member in 0..self.members.len() {
            if self.members[member].running.has_ended() {
                self.kill(member);
                self.restart(member);
            }
        }
    }

    /// Kills a member that was removed, and starts another in its place, without data.
    pub fn start_anew(&self, member: usize) {
        self.kill(member);
        self.members[member].forget();
        self.launch(member, Founding::Existing);
    }

    fn launch(&self, member: usize, founding: Founding) {
        let entries = self
            .members
            .iter()
            .map(|member| member.peer_entry(self.setup.security));
        let peers = entries.collect::<Vec<_>>().join(",");
        let pid = self.members[member].start(&self.setup, &peers, founding);
        self.processes.set(member, pid);
    }

    fn url(&self, address: SocketAddr) -> String {
        format!("{}://{address}", self.setup.security.scheme())
    }
}

impl fmt::Debug for ProxiedCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.members).finish()
    }
}

fn new_member(
    number: usize,
    folder: &Path,
    links: &Links,
    processes: &Arc<Processes>,
) -> io::Result<Member> {
    let [client, peer] = quiet_ports();
    let party = Party::Member(number);
    let processes = processes.clone();
    let recognise: Recognise =
        Arc::new(move |from, to| processes.owner_of(from, to).map(Party::Member));
    let proxies = [
        Proxy::for_clients(links, party, client)?,
        Proxy::start(links, party, peer, recognise)?,
    ];
    Ok(Member::new(
        format!("m{number}"),
        folder,
        [client, peer],
        proxies,
    ))
}
