//! What the author of a network configuration may say about the node: which keys count, and which files
//! such a configuration may name.
//!
//! A cluster lets many users write network configurations, and the plugin runs as root. So the node's flat
//! file says how etcd is reached, and a network configuration names files of this plugin alone.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use super::error::RequestError;
use super::json::{Node, Object, Text};
use super::{LOG_FOLDERS, NamedBy};
use crate::invocation::Machine;

/// The key of the node's flat file that lists what network configurations may set.
pub(super) const ALLOW_KEY: &str = "network_config_may_set";

/// The key under which the configuration may name its flat file.
pub(super) const FLAT_FILE_KEY: &str = "configuration_path";

/// The keys about etcd.
const ETCD_KEYS: [&str; 8] = [
    "etcd_host",
    "etcd_prefix",
    "etcd_username",
    "etcd_password",
    "etcd_password_file",
    "etcd_ca_cert_file",
    "etcd_cert_file",
    "etcd_key_file",
];

/// The other keys that say where the node sends something, or as whom.
const NODE_KEYS: [&str; 5] = [
    "node_name",
    "cluster_id",
    "datastore",
    "otlp_endpoint",
    "trace_socket",
];

/// The keys whose values are restricted, whatever the flat file says of etcd.
const NAMING_KEYS: [&str; 3] = ["log_file", "local_path", FLAT_FILE_KEY];

/// The begin of a name by which a file or a folder shows that it is this plugin's.
const OWN: &str = "whereabouts";

/// Where files may be that are only tried out with. Secrets of a node do not stay there.
const TEMPORARY: [&str; 2] = ["/tmp", "/dev/shm"];

/// Where a network configuration may name a file of one kind.
struct Place {
    /// The folders.
    folders: &'static [&'static str],
    /// How many names below a folder may be the one that begins with [`OWN`].
    depth: usize,
    /// Whether a name in the folder needs to begin with [`OWN`].
    is_shared: bool,
    /// Whether [`TEMPORARY`] folders will do.
    tried_out: bool,
    /// The place in an error.
    shown: &'static str,
}

/// Configurations, certificates and passwords. The longer folders are those of k3s, RKE2 and MicroK8s.
const FILES: Place = Place {
    folders: &[
        "/etc",
        "/var/lib/rancher/k3s/agent/etc",
        "/var/lib/rancher/rke2/agent/etc",
        "/var/snap/microk8s/current/args",
    ],
    depth: usize::MAX,
    is_shared: true,
    tried_out: true,
    shown: "/etc/**/whereabouts*",
};

const SOCKETS: Place = Place {
    folders: &["/run", "/var/run"],
    depth: 1,
    is_shared: true,
    tried_out: true,
    shown: "/run/whereabouts*",
};

const LOGS: Place = Place {
    folders: &LOG_FOLDERS,
    depth: 1,
    is_shared: true,
    tried_out: false,
    shown: "/var/log/whereabouts* or /tmp/whereabouts*",
};

/// Files of the datastore `local`. A name of its own in another folder would be a new, empty datastore.
const LOCAL: Place = Place {
    folders: &["/var/lib/whereabouts"],
    depth: usize::MAX,
    is_shared: false,
    tried_out: false,
    shown: "/var/lib/whereabouts/*",
};

const PLACES: [(&str, Place); 7] = [
    ("etcd_password_file", FILES),
    ("etcd_ca_cert_file", FILES),
    ("etcd_cert_file", FILES),
    ("etcd_key_file", FILES),
    ("trace_socket", SOCKETS),
    ("log_file", LOGS),
    ("local_path", LOCAL),
];

/// The keys that a flat file lets network configurations set.
#[derive(Debug, Default)]
pub(super) struct Allowed(BTreeSet<String>);

impl Allowed {
    /// Reads the list. Each of its elements is a key that is otherwise restricted.
    pub(super) fn read(node: Option<Node>) -> Result<Self, RequestError> {
        let texts = node.map(Node::texts).transpose()?.unwrap_or_default();
        let restricted: Vec<&str> = [&ETCD_KEYS[..], &NODE_KEYS, &NAMING_KEYS].concat();
        for text in &texts {
            if !restricted.contains(&text.text.as_str()) {
                let reason = format!("is none of {}", restricted.join(", "));
                return Err(text.wrong(reason));
            }
        }
        Ok(Self(texts.into_iter().map(|text| text.text).collect()))
    }

    /// Whether network configurations may set `key` to any value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }
}

/// Whether the keys of a flat file say anything of etcd.
pub(super) fn names_etcd(keys: &Object) -> bool {
    ETCD_KEYS.iter().any(|key| keys.has(key))
}

/// Takes the keys out of `ipam` that are the node's, as the flat file at `path` names etcd. A flat file that
/// is not the node's keeps only its own etcd to itself.
pub(super) fn take_nodes_keys(
    ipam: &mut Object,
    path: &Path,
    named_by: NamedBy,
    allowed: &Allowed,
    refused: &mut Vec<RequestError>,
) {
    let others: &[&str] = match named_by {
        NamedBy::Node => &NODE_KEYS,
        NamedBy::Network => &[],
    };
    let keys = ETCD_KEYS.iter().chain(others);
    for key in keys.filter(|key| !allowed.has(key)) {
        // Any other value is etcd, or has an error of its own.
        let is_harmless =
            *key == "datastore" && ipam.peek_text(key).is_none_or(|text| text.text != "local");
        if !is_harmless && let Some(node) = ipam.take(key) {
            let path = path.display();
            refused.push(RequestError::NotForNetworks {
                key: node.key().to_owned(),
                reason: format!("{path} names etcd, and does not allow the key in {ALLOW_KEY}"),
            });
        }
    }
}

/// Takes the paths out of `keys` that their author may not name.
pub(super) fn take_foreign_paths(
    keys: &mut Object,
    allowed: &Allowed,
    machine: &dyn Machine,
    refused: &mut Vec<RequestError>,
) {
    for (key, place) in PLACES.iter().filter(|(key, _)| !allowed.has(key)) {
        if let Some(text) = keys.peek_text(key)
            && !place.has(&text, machine)
        {
            keys.take(key);
            refused.push(place.refuse(&text));
        }
    }
}

/// Whether a flat file at `path` is the node's, as only its administrator writes there.
pub(super) fn is_nodes_flat_file(path: &Path) -> bool {
    FILES.has_own(path)
}

/// That a network configuration may not name its flat file so.
pub(super) fn foreign_flat_file(text: &Text) -> RequestError {
    FILES.refuse(text)
}

impl Place {
    fn has(&self, text: &Text, machine: &dyn Machine) -> bool {
        let path = Path::new(&text.text);
        // A relative path has an error of its own.
        path.is_relative() || self.has_own(path) || (self.tried_out && is_temporary(path, machine))
    }

    fn has_own(&self, path: &Path) -> bool {
        names_below(path, self.folders).is_some_and(|names| {
            let mut names = names.iter().take(self.depth);
            !self.is_shared || names.any(|name| name.starts_with(OWN))
        })
    }

    fn refuse(&self, text: &Text) -> RequestError {
        text.wrong(format_args!(
            "is not for a network configuration to name, {} is; {ALLOW_KEY} of the node's flat file can \
             allow it",
            self.shown
        ))
    }
}

/// Whether a path leads to a file in a temporary folder, through links, too.
pub(super) fn is_temporary(path: &Path, machine: &dyn Machine) -> bool {
    let is_below = |path: &Path| names_below(path, &TEMPORARY).is_some();
    // One that does not exist is found missing when it is read.
    is_below(path) && machine.real_path(path).map_or(true, |real| is_below(&real))
}

/// The names of a path below one of `folders`; `None` for one that is not below, or goes up again.
fn names_below(path: &Path, folders: &[&str]) -> Option<Vec<String>> {
    let mut rests = folders
        .iter()
        .filter_map(|folder| path.strip_prefix(folder).ok());
    let names: Vec<Component<'_>> = rests.next()?.components().collect();
    let is_name = |component: &Component<'_>| matches!(component, Component::Normal(_));
    let name = |component: &Component<'_>| component.as_os_str().to_string_lossy().into_owned();
    (!names.is_empty() && names.iter().all(is_name)).then(|| names.iter().map(name).collect())
}
