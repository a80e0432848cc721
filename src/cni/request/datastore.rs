//! The datastore of the claims: etcd, the API server of Kubernetes, or a file of this host.

use std::path::{Path, PathBuf};

use super::authority::{self, KUBECONFIG_KEY, Named};
use super::error::{RequestError, Shown};
use super::findings::Findings;
use super::flat_file::is_absent;
use super::json::{Node, Object, Text};
use super::{Datastore, access, file};
use crate::invocation::Machine;

/// The name of the kubeconfig beside the flat file, as the original has it.
const KUBECONFIG_NAME: &str = "whereabouts.kubeconfig";

/// The keys of `ipam` about the datastore, not yet read.
pub(super) struct Raw {
    datastore: Option<Node>,
    local_path: Option<Node>,
    kubeconfig: Option<Node>,
    access: access::Raw,
}

impl Raw {
    /// Takes the keys out.
    pub(super) fn take(ipam: &mut Object) -> Self {
        Self {
            datastore: ipam.take("datastore"),
            local_path: ipam.take("local_path"),
            kubeconfig: ipam.take(KUBECONFIG_KEY),
            access: access::Raw::take(ipam),
        }
    }

    /// Reads the keys. A node's flat file may configure several datastores, so the keys of the unused
    /// ones have no meaning. `directories` are those of the files beside the flat file.
    pub(super) fn read(
        self,
        directories: &[PathBuf],
        machine: &dyn Machine,
        findings: &mut Findings,
    ) -> Result<Datastore, RequestError> {
        match findings.tolerate(name(self.datastore))? {
            Named::Etcd => self.access.read(machine, findings).map(Datastore::Etcd),
            Named::Local => {
                let path = self.local_path.map(Node::text).transpose()?;
                let path = path.map(|text| file::path(&text)).transpose()?;
                let usual = || PathBuf::from(whereabouts_local::PATH);
                Ok(Datastore::Local(path.unwrap_or_else(usual)))
            }
            Named::Kubernetes => {
                let access = self::access(self.kubeconfig, directories, machine);
                access.map(Datastore::Kubernetes)
            }
        }
    }
}

/// The datastore that the key names. If it is wrong, DEL uses etcd and finds the claim that an ADD
/// with a valid name has made.
fn name(node: Option<Node>) -> Result<Named, RequestError> {
    let Some(text) = node.map(Node::text).transpose()? else {
        return Ok(Named::Etcd);
    };
    Named::of(&text.text).ok_or_else(|| text.wrong("is none of etcd, kubernetes and local"))
}

/// The access to the API server: a kubeconfig, by default the one beside the flat file.
fn access(
    kubeconfig: Option<Node>,
    directories: &[PathBuf],
    machine: &dyn Machine,
) -> Result<whereabouts_apiserver::Access, RequestError> {
    let text = match kubeconfig {
        Some(node) => node.text()?,
        None => usual(directories, machine).ok_or_else(|| RequestError::MissingKey {
            key: format!("ipam.{KUBECONFIG_KEY}"),
            reason: format!(
                "the datastore kubernetes needs it, and no {KUBECONFIG_NAME} is beside the flat file"
            ),
        })?,
    };
    let own = file::path(&text)?;
    // Contents of files go to a server that the kubeconfig names, and in a temporary folder any user may have written it.
    let is_foreign = |path: &Path| {
        authority::is_named_temporary(&own) && !authority::is_temporary(path, machine)
    };
    if is_foreign(&own) {
        return Err(text.wrong("is a link to another folder than a temporary one"));
    }
    let kubeconfig = file::read(&text, machine)?;
    let load = |path: &Path| {
        if path == own {
            return Ok(kubeconfig.bytes.clone());
        }
        if is_foreign(path) {
            return Err("is not in a temporary folder, as the kubeconfig is".to_owned());
        }
        machine.read(path).map(|file| file.bytes).map_err(|error| {
            let path = path.display().to_string();
            format!("{} cannot be read: {error}", Shown::new(&path))
        })
    };
    whereabouts_apiserver::read_kubeconfig(&own, &load)
        .map_err(|error| text.wrong(format_args!("is refused: {error}")))
}

/// The kubeconfig beside the flat file.
fn usual(directories: &[PathBuf], machine: &dyn Machine) -> Option<Text> {
    let mut paths = directories
        .iter()
        .map(|folder| folder.join(KUBECONFIG_NAME));
    // A file that cannot be read is found, and its reader reports the error.
    let is_there = |path: &PathBuf| match machine.read(path) {
        Ok(_) => true,
        Err(error) => !is_absent(&error),
    };
    let path = paths.find(is_there)?;
    Some(Text {
        key: format!("ipam.{KUBECONFIG_KEY}"),
        text: path.display().to_string(),
    })
}
