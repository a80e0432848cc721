//! A name server that never answers, and the plugin on a machine that asks it.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::process;

use tempfile::NamedTempFile;

use super::Call;

/// The port that a name server has: `resolv.conf` has no room for another.
const PORT: u16 = 53;

/// A name server that never answers.
pub(crate) struct SilentNames {
    _socket: UdpSocket,
    resolv_conf: NamedTempFile,
}

impl SilentNames {
    /// Listens at a loopback address where nobody else does.
    pub(crate) fn start() -> Self {
        let [_, _, high, low] = process::id().to_be_bytes();
        let addresses = (100..200).map(|net| Ipv4Addr::new(127, net, high, low));
        let bound = addresses
            .into_iter()
            .find_map(|address| Some((address, UdpSocket::bind((address, PORT)).ok()?)));
        let (address, socket) = bound.expect("some loopback address is free");
        let mut resolv_conf = NamedTempFile::new().expect("a temporary file");
        writeln!(resolv_conf, "nameserver {address}").expect("it can be written");
        Self {
            _socket: socket,
            resolv_conf,
        }
    }

    /// The same call of the plugin, where this is the name server.
    pub(crate) fn around(&self, call: Call) -> Call {
        let script = "/bin/mount --bind \"$1\" /etc/resolv.conf && exec \"$2\"";
        let path = |path: &std::path::Path| path.to_str().expect("a path in UTF-8").to_owned();
        call.program("/usr/bin/unshare")
            .argument("--mount")
            .argument("/bin/sh")
            .argument("-c")
            .argument(script)
            .argument("sh")
            .argument(&path(self.resolv_conf.path()))
            .argument(&path(&Call::folder().join("whereabouts")))
    }
}
