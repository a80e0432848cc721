//! Where the tool learns how to reach the datastore. One source gives the place and the secrets together: a password is
//! never sent to the place that another source names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Keys of a config.
pub(super) type Keys = Map<String, Value>;

/// The keys that name a datastore.
const PLACES: [&str; 5] = [
    "etcd_host",
    "local_path",
    "kubeconfig",
    "datastore",
    "configuration_path",
];

/// The keys that are paths. Relative ones are below the folder of their source.
const PATHS: [&str; 7] = [
    "local_path",
    "kubeconfig",
    "etcd_password_file",
    "etcd_ca_cert_file",
    "etcd_cert_file",
    "etcd_key_file",
    "configuration_path",
];

/// The keys that a variable or a context may set.
const KEYS: [&str; 12] = [
    "datastore",
    "local_path",
    "kubeconfig",
    "etcd_host",
    "etcd_prefix",
    "cluster_id",
    "etcd_username",
    "etcd_password_file",
    "etcd_ca_cert_file",
    "etcd_cert_file",
    "etcd_key_file",
    "configuration_path",
];

/// The variables of etcdctl, but for the user, and the keys that they stand for.
const OF_ETCDCTL: [(&str, &str); 4] = [
    ("ETCDCTL_ENDPOINTS", "etcd_host"),
    ("ETCDCTL_CACERT", "etcd_ca_cert_file"),
    ("ETCDCTL_CERT", "etcd_cert_file"),
    ("ETCDCTL_KEY", "etcd_key_file"),
];

/// The tool's own file, below the folder of configurations.
const FILE: &str = "whereabouts/config.yaml";

/// The surroundings of a process.
pub(super) struct Surroundings<'s> {
    /// The value of an environment variable, if it is set and not empty.
    pub(super) variable: &'s dyn Fn(&str) -> Option<String>,
    /// The working directory.
    pub(super) folder: PathBuf,
    /// Whether the flat file in its usual place names a datastore.
    pub(super) has_flat_file: &'s dyn Fn() -> Result<bool, String>,
}

/// The tool's own file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    /// The context that counts if none is named.
    #[serde(rename = "current-context")]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, BTreeMap<String, String>>,
}

/// The keys of the first source that names a datastore: `flags`, the variables `WHEREABOUTS_*`, the named or the current
/// context, the flat file, the variables of etcdctl. Other keys of `flags` count beside any of them.
pub(super) fn choose(
    flags: Keys,
    context: Option<&str>,
    around: &Surroundings<'_>,
) -> Result<Keys, String> {
    let flags = resolved(flags, &around.folder)?;
    if names_place(&flags) {
        return Ok(flags);
    }
    let own = about(resolved(of_environment(around), &around.folder)?);
    if context.is_none() && !names_place(&own) {
        // Another source would have another prefix or another secret than these variables say.
        if let Some(key) = own.keys().next() {
            return Err(format!(
                "{} is set, and no variable names the datastore that it is about: set WHEREABOUTS_ETCD_HOST, \
                 WHEREABOUTS_KUBECONFIG, WHEREABOUTS_LOCAL_PATH or WHEREABOUTS_CONFIGURATION_PATH too, or use none of them",
                variable_of(key)
            ));
        }
    }
    let named = context.map(str::to_owned);
    let named = named.or_else(|| (around.variable)("WHEREABOUTS_CONTEXT"));
    let chosen = if context.is_none() && names_place(&own) {
        own
    } else if let Some(keys) = of_context(named.as_deref(), around)? {
        keys
    } else if (around.has_flat_file)()? {
        Keys::new()
    } else {
        let keys = resolved(of_etcdctl(around), &around.folder)?;
        if !names_place(&keys) {
            return Err(nowhere(around));
        }
        keys
    };
    Ok(chosen.into_iter().chain(flags).collect())
}

fn names_place(keys: &Keys) -> bool {
    PLACES.iter().any(|key| keys.contains_key(*key))
}

/// `keys` with the datastore that they are about. A kubeconfig alone is about the datastore kubernetes.
fn about(mut keys: Keys) -> Keys {
    let names = |place: &&str| *place != "kubeconfig" && keys.contains_key(*place);
    if keys.contains_key("kubeconfig") && !PLACES.iter().any(names) {
        keys.insert("datastore".to_owned(), "kubernetes".into());
    }
    keys
}

/// The keys as a config has them. `flag` is the kubeconfig of the command line.
///
/// Without one, the datastore kubernetes is reached as kubectl reaches its API server.
pub(super) fn of_config(
    mut keys: Keys,
    flag: Option<&Path>,
    around: &Surroundings<'_>,
) -> Result<Keys, String> {
    let flag = flag.map(|path| around.folder.join(path).display().to_string());
    let found = keys.remove("kubeconfig");
    let mut kubeconfig = flag.map(Value::String).or(found);
    let is_kubernetes = keys.get("datastore").and_then(Value::as_str) == Some("kubernetes");
    if kubeconfig.is_none() && is_kubernetes {
        kubeconfig = of_kubectl(around)?.map(Value::String);
    }
    if let Some(kubeconfig) = kubeconfig {
        let nested = Keys::from_iter([("kubeconfig".to_owned(), kubeconfig)]);
        keys.insert("kubernetes".to_owned(), nested.into());
    }
    Ok(keys)
}

/// The kubeconfig that kubectl's variable names.
fn of_kubectl(around: &Surroundings<'_>) -> Result<Option<String>, String> {
    let Some(path) = (around.variable)("KUBECONFIG") else {
        return Ok(None);
    };
    if path.contains(':') {
        return Err(format!(
            "KUBECONFIG: {path}: several files are not read; say one of them with --kubeconfig"
        ));
    }
    Ok(Some(around.folder.join(path).display().to_string()))
}

/// kubectl's own file, if there is one.
pub(super) fn kubectls_file(around: &Surroundings<'_>) -> Option<PathBuf> {
    let home = PathBuf::from((around.variable)("HOME")?);
    let file = home.join(".kube/config");
    (home.is_absolute() && file.exists()).then_some(file)
}

fn of_environment(around: &Surroundings<'_>) -> Keys {
    let value = |key: &str| (around.variable)(&variable_of(key));
    let keys = KEYS.iter().chain(&["etcd_password"]);
    let given = keys.filter_map(|key| Some(((*key).to_owned(), value(key)?.into())));
    given.collect()
}

fn variable_of(key: &str) -> String {
    format!("WHEREABOUTS_{}", key.to_ascii_uppercase())
}

fn of_etcdctl(around: &Surroundings<'_>) -> Keys {
    let given = OF_ETCDCTL.iter().filter_map(|(variable, key)| {
        let value = (around.variable)(variable)?;
        Some(((*key).to_owned(), value.into()))
    });
    let mut keys: Keys = given.collect();
    if let Some(user) = (around.variable)("ETCDCTL_USER") {
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name.to_owned(), Some(password.to_owned())),
            None => (user, (around.variable)("ETCDCTL_PASSWORD")),
        };
        keys.insert("etcd_username".to_owned(), name.into());
        if let Some(password) = password {
            keys.insert("etcd_password".to_owned(), password.into());
        }
    }
    keys
}

fn of_context(named: Option<&str>, around: &Surroundings<'_>) -> Result<Option<Keys>, String> {
    let Some(path) = file(around) else {
        return match named {
            Some(name) => Err(format!(
                "context {name}: neither XDG_CONFIG_HOME nor HOME tells where {FILE} is"
            )),
            None => Ok(None),
        };
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
            return Ok(None);
        }
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let contexts: Contexts =
        serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let Some(name) = named.map(str::to_owned).or(contexts.current) else {
        return Ok(None);
    };
    let Some(context) = contexts.contexts.get(&name) else {
        let known: Vec<&str> = contexts.contexts.keys().map(String::as_str).collect();
        let known = match known.as_slice() {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        return Err(format!(
            "{}: no context {name}; there is {known}",
            path.display()
        ));
    };
    let place = |key: &str| format!("{}: contexts.{name}.{key}", path.display());
    if let Some(unknown) = context.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{} is not supported", place(unknown)));
    }
    let keys = context.iter();
    let keys: Keys = keys
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    if !names_place(&keys) {
        return Err(format!("{} is missing", place("etcd_host")));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    resolved(keys, folder).map(about).map(Some)
}

/// The tool's own file, by the XDG base directory specification.
fn file(around: &Surroundings<'_>) -> Option<PathBuf> {
    let absolute = |folder: String| Some(PathBuf::from(folder)).filter(|path| path.is_absolute());
    let folder = (around.variable)("XDG_CONFIG_HOME").and_then(absolute);
    let folder = folder.or_else(|| Some(absolute((around.variable)("HOME")?)?.join(".config")));
    Some(folder?.join(FILE))
}

/// `keys` with paths from the root.
fn resolved(mut keys: Keys, folder: &Path) -> Result<Keys, String> {
    for key in PATHS {
        if let Some(Value::String(path)) = keys.get_mut(key)
            && !path.is_empty()
        {
            let whole = folder.join(&*path).into_os_string();
            *path = whole
                .into_string()
                .map_err(|_| format!("{key}: {path}: the folder's name is no UTF-8"))?;
        }
    }
    Ok(keys)
}

/// The error that names all ways.
fn nowhere(around: &Surroundings<'_>) -> String {
    let file = file(around).map_or_else(
        || format!("~/.config/{FILE}"),
        |path| path.display().to_string(),
    );
    format!(
        "where the datastore is, is not known. Say one of: --etcd-host, --datastore kubernetes or --local-path; the variable \
         WHEREABOUTS_ETCD_HOST or WHEREABOUTS_KUBECONFIG; a context of {file} (--context); the flat file of a node \
         (--configuration-path); etcdctl's variable ETCDCTL_ENDPOINTS"
    )
}

#[cfg(test)]
mod tests;
