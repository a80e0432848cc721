//! The datastore of the claims: etcd, or a file of this host.

use std::path::PathBuf;

use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object};
use super::{Datastore, access, file};
use crate::invocation::Machine;

/// The keys of `ipam` about the datastore, not yet read.
pub(super) struct Raw {
    datastore: Option<Node>,
    local_path: Option<Node>,
    access: access::Raw,
}

impl Raw {
    /// Takes the keys out.
    pub(super) fn take(ipam: &mut Object) -> Self {
        Self {
            datastore: ipam.take("datastore"),
            local_path: ipam.take("local_path"),
            access: access::Raw::take(ipam),
        }
    }

    /// Reads the keys. A node's flat file may configure both datastores, so the keys of the unused
    /// one have no meaning.
    pub(super) fn read(
        self,
        machine: &dyn Machine,
        findings: &mut Findings,
    ) -> Result<Datastore, RequestError> {
        match findings.tolerate(name(self.datastore))? {
            Name::Etcd => self.access.read(machine, findings).map(Datastore::Etcd),
            Name::Local => {
                let path = self.local_path.map(Node::text).transpose()?;
                let path = path.map(|text| file::path(&text)).transpose()?;
                let usual = || PathBuf::from(whereabouts_local::PATH);
                Ok(Datastore::Local(path.unwrap_or_else(usual)))
            }
        }
    }
}

/// A datastore by its name in a configuration.
#[derive(Default)]
enum Name {
    #[default]
    Etcd,
    Local,
}

/// The datastore that the key names. If it is wrong, DEL uses etcd and finds the claim that an ADD
/// with a valid name has made.
fn name(node: Option<Node>) -> Result<Name, RequestError> {
    let Some(text) = node.map(Node::text).transpose()? else {
        return Ok(Name::Etcd);
    };
    match text.text.as_str() {
        "etcd" => Ok(Name::Etcd),
        "local" => Ok(Name::Local),
        _ => Err(text.wrong(
            "is not supported; leave the key out, and name etcd in etcd_host. On a single host, local is possible, too",
        )),
    }
}
