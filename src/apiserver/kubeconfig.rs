//! Kubeconfigs: the files in which Kubernetes' tools keep an API server's address and credentials.
//!
//! Only what a process on a node can use is accepted. Some keys would run a program,
//! send credentials to a proxy or skip the check of a certificate. Such a key is an error.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;
use whereabouts_core::secret::Secret;

use crate::access::{Access, Files, Server};

/// The reason why a kubeconfig cannot be used. It never has a value of the file, as this may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {reason}")]
pub struct KubeconfigError {
    /// The key of the file.
    pub key: String,
    /// The defect, in words that continue the key.
    pub reason: String,
}

/// The access that the kubeconfig at `path` describes. `load` reads a file; a relative path in the kubeconfig begins in its folder.
pub fn read(
    path: &Path,
    load: &dyn Fn(&Path) -> Result<Vec<u8>, String>,
) -> Result<Access, KubeconfigError> {
    let content = load(path).map_err(|reason| wrong("the file", reason))?;
    let file = parse(&content)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let current = &named(&file.contexts, &file.current_context, "contexts")?.context;
    let cluster = &named(&file.clusters, &current.cluster, "clusters")?.cluster;
    let user = &named(&file.users, &current.user, "users")?.user;
    let at = Places {
        cluster: format!("clusters[{}]", shown(&current.cluster)),
        user: format!("users[{}]", shown(&current.user)),
    };
    refuse(cluster, user, &at)?;
    let load = |file: &str| load(&folder.join(file));
    let place = |file: &Option<String>| file.as_ref().map(|file| folder.join(file));
    let files = Files {
        ca: place(&cluster.ca).filter(|_| cluster.ca_data.is_none()),
        token: place(&user.token_file),
    };
    Ok(Access {
        server: server(cluster, &at.cluster)?,
        ca: content_of(
            (cluster.ca_data.as_deref(), cluster.ca.as_deref()),
            &at.cluster,
            "certificate-authority",
            &load,
        )?,
        token: token(user, &at.user, &load)?,
        identity: identity(user, &at.user, &load)?,
        files,
    })
}

struct Places {
    cluster: String,
    user: String,
}

fn parse(content: &[u8]) -> Result<File, KubeconfigError> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    // As in client-go, YAML is turned into JSON first. The errors' own texts may have a value of the file.
    let value: Value =
        serde_saphyr::from_slice_with_options(content, options).map_err(|error| {
            let place = error.location().map_or_else(String::new, |at| {
                format!(" (line {}, column {})", at.line(), at.column())
            });
            wrong("the file", format!("is no YAML{place}"))
        })?;
    serde_json::from_value(value).map_err(|_| wrong("the file", "is no kubeconfig"))
}

fn server(cluster: &Cluster, at: &str) -> Result<Server, KubeconfigError> {
    let key = format!("{at}.server");
    let url = cluster.server.as_deref().unwrap_or_default();
    let mut server = Server::at(url).map_err(|reason| wrong(&key, reason))?;
    server.certificate_name.clone_from(&cluster.tls_server_name);
    Ok(server)
}

fn token(
    user: &User,
    at: &str,
    load: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Option<Secret>, KubeconfigError> {
    // As in client-go, the file is the newer one of the two.
    let Some(file) = &user.token_file else {
        return Ok(user.token.clone().map(Secret::new));
    };
    let key = format!("{at}.tokenFile");
    let content = load(file).map_err(|reason| wrong(&key, reason))?;
    let text = String::from_utf8(content).map_err(|_| wrong(&key, "is no text"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(wrong(&key, "is an empty file"));
    }
    Ok(Some(Secret::new(text.to_owned())))
}

fn identity(
    user: &User,
    at: &str,
    load: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Option<(Vec<u8>, Secret)>, KubeconfigError> {
    let certificate = (
        user.certificate_data.as_deref(),
        user.certificate.as_deref(),
    );
    let key = (user.key_data.as_deref(), user.key.as_deref());
    let certificate = content_of(certificate, at, "client-certificate", load)?;
    let key = content_of(key, at, "client-key", load)?;
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let key = String::from_utf8(key)
                .map_err(|_| wrong(&format!("{at}.client-key"), "is not PEM"))?;
            Ok(Some((certificate, Secret::new(key))))
        }
        (Some(_), None) => Err(wrong(&format!("{at}.client-key"), "is missing")),
        (None, Some(_)) => Err(wrong(&format!("{at}.client-certificate"), "is missing")),
    }
}

/// The content of a key in base64, or else of the file that its sister names.
fn content_of(
    (data, file): (Option<&str>, Option<&str>),
    at: &str,
    key: &str,
    load: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Option<Vec<u8>>, KubeconfigError> {
    match (data, file) {
        (Some(data), _) => {
            let decoded = STANDARD.decode(data.trim());
            let key = format!("{at}.{key}-data");
            decoded.map(Some).map_err(|_| wrong(&key, "is not base64"))
        }
        (None, Some(file)) => {
            let key = format!("{at}.{key}");
            load(file).map(Some).map_err(|reason| wrong(&key, reason))
        }
        (None, None) => Ok(None),
    }
}

/// Refuses what would be wrong to ignore.
fn refuse(cluster: &Cluster, user: &User, at: &Places) -> Result<(), KubeconfigError> {
    let insecure = cluster.insecure.unwrap_or_default();
    let refused = [
        (
            insecure,
            &at.cluster,
            "insecure-skip-tls-verify",
            "is not supported; give certificate-authority",
        ),
        (
            cluster.proxy_url.is_some(),
            &at.cluster,
            "proxy-url",
            "is not supported",
        ),
        (
            user.exec.is_some(),
            &at.user,
            "exec",
            "is not supported: the plugin runs no program; give tokenFile",
        ),
        (
            user.auth_provider.is_some(),
            &at.user,
            "auth-provider",
            "is not supported; give tokenFile",
        ),
        (
            user.username.is_some(),
            &at.user,
            "username",
            "is not supported by Kubernetes any more; give tokenFile",
        ),
        (
            user.impersonated.is_some(),
            &at.user,
            "as",
            "is not supported",
        ),
    ];
    let found = refused.into_iter().find(|(is_there, ..)| *is_there);
    match found {
        Some((_, place, key, reason)) => Err(wrong(&format!("{place}.{key}"), reason)),
        None => Ok(()),
    }
}

fn named<'f, T: Named>(list: &'f [T], name: &str, key: &str) -> Result<&'f T, KubeconfigError> {
    let found = list.iter().find(|entry| entry.name() == name);
    found.ok_or_else(|| wrong(key, format!("has no entry with the name {:?}", shown(name))))
}

/// A name of the file, within a bound.
fn shown(name: &str) -> String {
    let bound = whereabouts_core::limits::SHOWN_CHARACTERS;
    name.chars().take(bound).collect()
}

fn wrong(key: &str, reason: impl fmt::Display) -> KubeconfigError {
    KubeconfigError {
        key: key.to_owned(),
        reason: reason.to_string(),
    }
}

trait Named {
    fn name(&self) -> &str;
}

macro_rules! named {
    ($($entry:ident),*) => {
        $(impl Named for $entry {
            fn name(&self) -> &str {
                &self.name
            }
        })*
    };
}

named!(ContextEntry, ClusterEntry, UserEntry);

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "current-context")]
    current_context: String,
    #[serde(default)]
    contexts: Vec<ContextEntry>,
    #[serde(default)]
    clusters: Vec<ClusterEntry>,
    #[serde(default)]
    users: Vec<UserEntry>,
}

#[derive(Deserialize)]
struct ContextEntry {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct ClusterEntry {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    tls_server_name: Option<String>,
    #[serde(rename = "insecure-skip-tls-verify")]
    insecure: Option<bool>,
    #[serde(rename = "certificate-authority")]
    ca: Option<String>,
    #[serde(rename = "certificate-authority-data")]
    ca_data: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct UserEntry {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    #[serde(rename = "client-certificate")]
    certificate: Option<String>,
    #[serde(rename = "client-certificate-data")]
    certificate_data: Option<String>,
    #[serde(rename = "client-key")]
    key: Option<String>,
    #[serde(rename = "client-key-data")]
    key_data: Option<String>,
    username: Option<String>,
    exec: Option<Present>,
    auth_provider: Option<Present>,
    #[serde(rename = "as")]
    impersonated: Option<String>,
}

/// Any value that is there.
struct Present;

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
