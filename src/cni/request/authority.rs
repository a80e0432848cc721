//! The rights of the author of a network configuration: the keys about the node that count, and the
//! files that the configuration may name.
//!
//! In a cluster, many users may write network configurations, but the plugin runs as root. So the
//! node's flat file configures the access to etcd, and a network configuration names only files of
//! this plugin.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path};

use super::error::RequestError;
use super::json::{Node, Object, Text};
use super::{LOG_FOLDERS, NamedBy};
use crate::invocation::Machine;

/// The key of the node's flat file with the list of keys that network configurations may set.
pub(super) const ALLOW_KEY: &str = "network_config_may_set";

/// The key with which a configuration names its flat file.
pub(super) const FLAT_FILE_KEY: &str = "configuration_path";

/// The path of a kubeconfig, lifted out of the object `kubernetes`.
pub(super) const KUBECONFIG_KEY: &str = "kubernetes.kubeconfig";

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

/// Further keys of the node. They decide where it sends something, or under which name.
const NODE_KEYS: [&str; 7] = [
    "node_name",
    "boot_id_path",
    "cluster_id",
    "datastore",
    "otlp_endpoint",
    "trace_socket",
    "metrics_socket",
];

/// The keys with restricted values, whether or not the flat file configures etcd.
const NAMING_KEYS: [&str; 4] = ["log_file", "local_path", KUBECONFIG_KEY, FLAT_FILE_KEY];

/// The beginning of the names of this plugin's files and folders.
const OWN: &str = "whereabouts";

/// Folders for trials. A node does not keep secrets there.
const TEMPORARY: [&str; 2] = ["/tmp", "/dev/shm"];

/// The places where a network configuration may name a file of one kind.
struct Place {
    /// The folders.
    folders: &'static [&'static str],
    /// The greatest depth below a folder at which a name may begin with [`OWN`].
    depth: usize,
    /// Whether other programs share the folder, so that a name must begin with [`OWN`].
    is_shared: bool,
    /// Whether the [`TEMPORARY`] folders are also allowed.
    tried_out: bool,
    /// The names of files that hold other secrets.
    kept: &'static [&'static str],
    /// The place as an error shows it.
    shown: &'static str,
}

/// Configurations, certificates and passwords. The longer folders belong to k3s, RKE2 and MicroK8s.
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
    kept: &["whereabouts.token", "whereabouts.kubeconfig"],
    shown: "/etc/**/whereabouts*, without the node's own access to the API server,",
};

/// Kubeconfigs. The token beside the node's one is none.
const KUBECONFIGS: Place = Place {
    kept: &["whereabouts.token"],
    ..FILES
};

const SOCKETS: Place = Place {
    folders: &["/run", "/var/run"],
    depth: 1,
    is_shared: true,
    tried_out: true,
    kept: &[],
    shown: "/run/whereabouts*",
};

const LOGS: Place = Place {
    folders: &LOG_FOLDERS,
    depth: 1,
    is_shared: true,
    tried_out: false,
    kept: &[],
    shown: "/var/log/whereabouts* or /tmp/whereabouts*",
};

/// Files of the datastore `local`. Any other folder would give a new, empty datastore.
const LOCAL: Place = Place {
    folders: &["/var/lib/whereabouts"],
    depth: usize::MAX,
    is_shared: false,
    tried_out: false,
    kept: &[],
    shown: "/var/lib/whereabouts/*",
};

const PLACES: [(&str, Place); 9] = [
    ("etcd_password_file", FILES),
    ("etcd_ca_cert_file", FILES),
    ("etcd_cert_file", FILES),
    ("etcd_key_file", FILES),
    ("trace_socket", SOCKETS),
    ("metrics_socket", SOCKETS),
    ("log_file", LOGS),
    ("local_path", LOCAL),
    (KUBECONFIG_KEY, KUBECONFIGS),
];

/// The keys that a flat file allows network configurations to set.
#[derive(Debug, Default)]
pub(super) struct Allowed(BTreeSet<String>);

impl Allowed {
    /// Reads the list. Each element must be a restricted key.
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

/// A datastore by its name in a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Named {
    #[default]
    Etcd,
    Local,
    Kubernetes,
}

impl Named {
    const ALL: [Self; 3] = [Self::Etcd, Self::Local, Self::Kubernetes];

    /// The name in a configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Local => "local",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// The datastore of this name.
    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == text)
    }

    /// The keys of a network configuration that only matter beside this datastore.
    fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::Etcd => &[],
            Self::Local => &["local_path"],
            Self::Kubernetes => &[KUBECONFIG_KEY],
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::Local => "the datastore local",
            Self::Kubernetes => "the datastore kubernetes",
        })
    }
}

/// The datastore that the keys of a flat file configure, if they configure one.
pub(super) fn named_datastore(keys: &Object) -> Option<Named> {
    let named = keys.peek_text("datastore");
    match named.and_then(|text| Named::of(&text.text)) {
        Some(named @ (Named::Local | Named::Kubernetes)) => Some(named),
        Some(Named::Etcd) | None => {
            let says = ETCD_KEYS.iter().any(|key| keys.has(key));
            says.then_some(Named::Etcd)
        }
    }
}

/// Takes the keys that belong to the node out of `ipam`, because the flat file at `path` configures
/// a datastore. A flat file that is not the node's protects only its own datastore.
pub(super) fn take_nodes_keys(
    ipam: &mut Object,
    (path, named): (&Path, Named),
    named_by: NamedBy,
    allowed: &Allowed,
    refused: &mut Vec<RequestError>,
) {
    let others: &[&str] = match named_by {
        NamedBy::Node => &NODE_KEYS,
        NamedBy::Network => &["datastore"],
    };
    let keys = ETCD_KEYS.iter().chain(others).chain(named.own_keys());
    for key in keys.filter(|key| !allowed.has(key)) {
        // Any other text would lead a DEL to the default datastore.
        let is_same = |text: Text| text.text == named.name();
        let is_harmless = *key == "datastore" && ipam.peek_text(key).is_some_and(is_same);
        if !is_harmless && let Some(node) = ipam.take(key) {
            let path = path.display();
            refused.push(RequestError::NotForNetworks {
                key: node.key().to_owned(),
                reason: format!(
                    "{path} configures {named}, and does not list the key in {ALLOW_KEY}"
                ),
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

/// Whether a flat file at `path` is the node's: only the node's administrator writes there.
pub(super) fn is_nodes_flat_file(path: &Path) -> bool {
    FILES.has_own(path)
}

/// The error of a network configuration that names a flat file in a forbidden place.
pub(super) fn foreign_flat_file(text: &Text) -> RequestError {
    FILES.refuse(text)
}

impl Place {
    fn has(&self, text: &Text, machine: &dyn Machine) -> bool {
        let path = Path::new(&text.text);
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| self.kept.contains(&name)) {
            return false;
        }
        // The reader of the path reports a relative path.
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
            "cannot be named in a network configuration; {} can. {ALLOW_KEY} of the node's flat file can \
             allow the key",
            self.shown
        ))
    }
}

/// Whether a path leads to a file in a temporary folder, also through links.
pub(super) fn is_temporary(path: &Path, machine: &dyn Machine) -> bool {
    // The reader of the path reports a file that does not exist.
    is_named_temporary(path)
        && machine
            .real_path(path)
            .map_or(true, |real| is_named_temporary(&real))
}

/// Whether a path names a file in a temporary folder. It may be a link to another folder.
pub(super) fn is_named_temporary(path: &Path) -> bool {
    names_below(path, &TEMPORARY).is_some()
}

/// The names of a path below one of `folders`; `None` if the path is not below, or contains `..`.
fn names_below(path: &Path, folders: &[&str]) -> Option<Vec<String>> {
    let mut rests = folders
        .iter()
        .filter_map(|folder| path.strip_prefix(folder).ok());
    let names: Vec<Component<'_>> = rests.next()?.components().collect();
    let is_name = |component: &Component<'_>| matches!(component, Component::Normal(_));
    let name = |component: &Component<'_>| component.as_os_str().to_string_lossy().into_owned();
    (!names.is_empty() && names.iter().all(is_name)).then(|| names.iter().map(name).collect())
}
