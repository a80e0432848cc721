//! Which of the members has opened a connection, told by the kernel (proc(5)). So a proxy between
//! members knows both ends of each link, with and without TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::{fs, iter};

/// How often a socket is looked for: the kernel's table is read in pieces, and what moves meanwhile
/// may be in none of them.
const LOOKS: usize = 10;

/// The members' processes; 0: none is running.
#[derive(Debug)]
pub(super) struct Processes(Vec<AtomicI32>);

impl Processes {
    pub(super) fn new(members: usize) -> Self {
        Self(
            iter::repeat_with(AtomicI32::default)
                .take(members)
                .collect(),
        )
    }

    pub(super) fn set(&self, member: usize, pid: i32) {
        self.0[member].store(pid, Ordering::Relaxed);
    }

    /// The member that has opened the connection from `end` to `other`.
    pub(super) fn owner_of(&self, end: SocketAddr, other: SocketAddr) -> Option<usize> {
        let look = || {
            let table = fs::read_to_string("/proc/net/tcp").ok()?;
            inode(&table, end, other).map(|inode| format!("socket:[{inode}]"))
        };
        let socket = iter::repeat_with(look)
            .take(LOOKS)
            .find_map(|socket| socket)?;
        let has_it = |pid: i32| {
            let files = fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten();
            let mut targets = files.flatten().map(|file| fs::read_link(file.path()));
            targets.any(|target| target.is_ok_and(|target| target == Path::new(&socket)))
        };
        let pids = self.0.iter().map(|pid| pid.load(Ordering::Relaxed));
        pids.enumerate()
            .filter(|(_, pid)| *pid > 0)
            .find_map(|(member, pid)| has_it(pid).then_some(member))
    }
}

/// The inode of the socket at `end` of a connection, in the text of `/proc/net/tcp`. Connections
/// to different places may have the same end.
fn inode(table: &str, end: SocketAddr, other: SocketAddr) -> Option<&str> {
    let ends = [written(end)?, written(other)?];
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = ends.iter().all(|end| fields.next() == Some(end));
        is_it.then(|| fields.nth(6)).flatten()
    })
}

/// An address as the kernel writes it: as many hexadecimal digits as a word of memory has.
fn written(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else {
        return None;
    };
    let number = u32::from_ne_bytes(ip.octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_s_owner_is_found_by_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).expect("it listens");
        let processes = Processes::new(3);
        let end = stream.local_addr().expect("it is connected");
        assert_eq!(processes.owner_of(end, address), None);
        processes.set(2, i32::try_from(std::process::id()).expect("a pid"));
        assert_eq!(processes.owner_of(end, address), Some(2));
        drop((stream, listener));
        let nobody = "127.0.0.1:1".parse().expect("an address");
        assert_eq!(processes.owner_of(nobody, address), None);
    }
}
