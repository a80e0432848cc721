//! The flat file: keys of `ipam` that all configs of a node share.
//!
//! A key of the config itself wins, unless it belongs to the node: see [`authority`].

use std::io;
use std::path::{Path, PathBuf};

use super::authority::{self, Allowed, KUBECONFIG_KEY, Named};
use super::error::{RequestError, Shown};
use super::findings::Findings;
use super::json::{self, Object, Text};
use super::{LogLevel, NamedBy, file};
use crate::invocation::{File, Machine};

/// The folders of the flat file and of the `nodename` file beside it, unless the config names one.
/// The first existing file counts.
pub(super) const DIRECTORIES: [&str; 2] = [
    "/etc/kubernetes/cni/net.d/whereabouts.d",
    "/etc/cni/net.d/whereabouts.d",
];

const FILE_NAME: &str = "whereabouts.conf";

/// The keys beside `ipam` in a flat file that was a network configuration.
const OF_A_NETWORK: [&str; 3] = ["cniVersion", "name", "type"];

/// The result of merging a network configuration with a flat file.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// The folders of the files beside the flat file.
    pub(super) directories: Vec<PathBuf>,
    /// The reasons why keys of the network configuration were taken out.
    pub(super) refused: Vec<RequestError>,
    /// The author of `log_file`.
    pub(super) log_file: NamedBy,
    /// The author of `otlp_endpoint`.
    pub(super) otlp_endpoint: NamedBy,
}

/// Merges the keys of the flat file into `ipam` of a network configuration. Keys and paths that the
/// author of the configuration may not set are taken out.
pub(super) fn merge(
    ipam: &mut Object,
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Merged, RequestError> {
    let mut refused = Vec::new();
    if let Some(node) = ipam.take(authority::ALLOW_KEY) {
        refused.push(RequestError::NotForNetworks {
            key: node.key().to_owned(),
            reason: "it belongs into the node's flat file".to_owned(),
        });
    }
    let file = match ipam.text(authority::FLAT_FILE_KEY)? {
        None => usual(machine, findings)?,
        Some(text) => named(&text, machine, findings, &mut refused)?,
    };
    let mut file = file.unwrap_or_default();
    lift_kubeconfig(ipam, findings)?;
    let own = ipam.peek_text(KUBECONFIG_KEY).map(|text| text.text);
    if own.is_some() && own == file.keys.peek_text(KUBECONFIG_KEY).map(|text| text.text) {
        ipam.take(KUBECONFIG_KEY);
    }
    if let Some(path) = &file.path
        && let Some(named) = authority::named_datastore(&file.keys)
    {
        let by = (path.as_path(), named);
        authority::take_nodes_keys(ipam, by, file.named_by, &file.allowed, &mut refused);
    }
    let datastore = ipam.peek_text("datastore");
    let datastore = datastore.or_else(|| file.keys.peek_text("datastore"));
    if datastore.is_none_or(|text| text.text != Named::Kubernetes.name()) {
        drop_kubeconfig(ipam, findings);
        file.keys.take(KUBECONFIG_KEY);
    }
    authority::take_foreign_paths(ipam, &file.allowed, machine, &mut refused);
    if file.named_by == NamedBy::Network {
        authority::take_foreign_paths(&mut file.keys, &file.allowed, machine, &mut refused);
    }
    let author = |key| match file.named_by {
        NamedBy::Node if file.allowed.has(key) || !ipam.has(key) => NamedBy::Node,
        NamedBy::Node | NamedBy::Network => NamedBy::Network,
    };
    let (log_file, otlp_endpoint) = (author("log_file"), author("otlp_endpoint"));
    let directories = file.directories();
    ipam.fill_from(file.keys);
    Ok(Merged {
        directories,
        refused,
        log_file,
        otlp_endpoint,
    })
}

/// Moves the path of the kubeconfig to the keys beside it, where the rights on it are judged.
fn lift_kubeconfig(keys: &mut Object, findings: &mut Findings) -> Result<(), RequestError> {
    keys.lift(("kubernetes", "kubeconfig"), KUBECONFIG_KEY, findings)
}

/// Takes a kubeconfig out that another datastore does not need. Configurations of the ancestor often have one.
fn drop_kubeconfig(ipam: &mut Object, findings: &mut Findings) {
    if let Some(node) = ipam.take(KUBECONFIG_KEY) {
        let text = format!("{} has no meaning here, ignored", node.key());
        findings.remark(LogLevel::Debug, text);
    }
}

/// Whether the flat file in the usual place names a datastore.
pub(super) fn names_datastore(machine: &dyn Machine) -> Result<bool, RequestError> {
    let file = usual(machine, &mut Findings::new())?;
    Ok(file.is_some_and(|file| authority::named_datastore(&file.keys).is_some()))
}

/// Merges the keys of the flat file into the keys of an operator. Returns the folders of the files
/// beside the flat file. Secrets of the usual flat file are for its own datastore, so keys that name one get nothing
/// from it.
pub(super) fn merge_for_operator(
    keys: &mut Object,
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, RequestError> {
    let file = match keys.text(authority::FLAT_FILE_KEY)? {
        None if names_place(keys) => None,
        None => usual(machine, findings)?,
        Some(text) => {
            let file = file::read(&text, machine)?;
            Some(FlatFile::read(
                file::path(&text)?,
                &file,
                NamedBy::Node,
                findings,
            )?)
        }
    };
    let file = file.unwrap_or_default();
    lift_kubeconfig(keys, findings)?;
    let directories = file.directories();
    keys.fill_from(file.keys);
    Ok(directories)
}

fn names_place(keys: &Object) -> bool {
    let places = ["etcd_host", "local_path", KUBECONFIG_KEY, "datastore"];
    places.iter().any(|key| keys.has(key))
}

/// A flat file. The default has no path and no keys.
#[derive(Default)]
struct FlatFile {
    /// The path of the file.
    path: Option<PathBuf>,
    /// The keys of the file.
    keys: Object,
    /// The author of the file.
    named_by: NamedBy,
    /// The keys that the file allows network configurations to set.
    allowed: Allowed,
}

impl FlatFile {
    /// The folders of the files beside the flat file.
    fn directories(&self) -> Vec<PathBuf> {
        match self.path.as_deref().and_then(Path::parent) {
            Some(folder) => vec![folder.to_owned()],
            None => DIRECTORIES.map(PathBuf::from).to_vec(),
        }
    }

    fn read(
        path: PathBuf,
        file: &File,
        named_by: NamedBy,
        findings: &mut Findings,
    ) -> Result<Self, RequestError> {
        let name = path.display().to_string();
        let mut keys = json::object(&file.bytes, &name, &format!("{name}: "))?;
        if let Some(nested) = keys.take("ipam") {
            let beside = std::mem::replace(&mut keys, nested.object()?);
            let stray = beside.set().find(|(key, _)| !OF_A_NETWORK.contains(key));
            let is_whole = stray.map_or(Ok(()), |(_, node)| {
                Err(RequestError::Exclusive {
                    key: node.key().to_owned(),
                    other: format!("{name}: ipam"),
                })
            });
            findings.tolerate(is_whole)?;
        }
        lift_kubeconfig(&mut keys, findings)?;
        if keys.has("etcd_password") && file::is_open_to_others(file) {
            let text =
                format!("{name} holds a password, and other users than its owner can read it");
            findings.remark(LogLevel::Warn, text);
        }
        let allowed = keys.take(authority::ALLOW_KEY);
        let allowed = match named_by {
            NamedBy::Node => findings.tolerate(Allowed::read(allowed))?,
            NamedBy::Network => Allowed::default(),
        };
        Ok(Self {
            path: Some(path),
            keys,
            named_by,
            allowed,
        })
    }
}

/// The flat file that a network configuration names, or else the usual one.
fn named(
    text: &Text,
    machine: &dyn Machine,
    findings: &mut Findings,
    refused: &mut Vec<RequestError>,
) -> Result<Option<FlatFile>, RequestError> {
    let path = file::path(text)?;
    let is_nodes = authority::is_nodes_flat_file(&path);
    let instead = if is_nodes {
        None
    } else {
        usual(machine, findings)?
    };
    let named_by = match &instead {
        _ if is_nodes => NamedBy::Node,
        Some(usual) if usual.allowed.has(authority::FLAT_FILE_KEY) => NamedBy::Node,
        None if authority::is_temporary(&path, machine) => NamedBy::Network,
        Some(_) | None => {
            refused.push(authority::foreign_flat_file(text));
            return Ok(instead);
        }
    };
    let file = match file::read(text, machine) {
        Ok(file) => file,
        Err(error) => {
            let RequestError::File { source, .. } = &error else {
                return Err(error);
            };
            if !is_absent(source) {
                return Err(error);
            }
            let instead = if is_nodes {
                usual(machine, findings)?
            } else {
                instead
            };
            return match instead {
                None => Err(error),
                Some(usual) => {
                    let text = format!("the usual flat file is used: {}", error.details());
                    findings.remark(LogLevel::Warn, text);
                    Ok(Some(usual))
                }
            };
        }
    };
    let is_usual = usual_paths().any(|usual| usual == path);
    if is_nodes && !is_usual && !file::is_ours_alone(&file) {
        refused.push(text.wrong("does not belong to root, or other users can write it"));
        return usual(machine, findings);
    }
    let named = FlatFile::read(path, &file, named_by, findings)?;
    if is_nodes
        && authority::named_datastore(&named.keys).is_none()
        && let Some(usual) = usual(machine, findings)?
        && authority::named_datastore(&usual.keys).is_some()
        && !usual.allowed.has(authority::FLAT_FILE_KEY)
    {
        // Otherwise, a named file without a datastore would let its author replace the node's
        // datastore.
        refused.push(RequestError::NotForNetworks {
            key: text.key.clone(),
            reason: "the named file does not configure the datastore, but the usual flat file does"
                .to_owned(),
        });
        return Ok(Some(usual));
    }
    Ok(Some(named))
}

fn usual_paths() -> impl Iterator<Item = PathBuf> {
    DIRECTORIES
        .map(|directory| Path::new(directory).join(FILE_NAME))
        .into_iter()
}

/// The flat file in one of the usual places.
fn usual(machine: &dyn Machine, findings: &mut Findings) -> Result<Option<FlatFile>, RequestError> {
    for path in usual_paths() {
        match machine.read(&path) {
            Ok(file) => return FlatFile::read(path, &file, NamedBy::Node, findings).map(Some),
            Err(error) if is_absent(&error) => {}
            Err(source) => {
                return Err(RequestError::File {
                    key: format!("ipam.{}", authority::FLAT_FILE_KEY),
                    path: Shown::new(&path.to_string_lossy()),
                    source,
                });
            }
        }
    }
    Ok(None)
}

/// Whether a read failed because the file does not exist.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::fake::FakeMachine;

    const FIRST: &str = "/etc/kubernetes/cni/net.d/whereabouts.d/whereabouts.conf";
    const SECOND: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";

    /// `expected` is the merged `range` and the folders, or the code and a part of the error.
    fn check(ipam: &str, machine: &FakeMachine, expected: Result<(&str, &[&str]), (u32, &str)>) {
        let mut object = json::object(ipam.as_bytes(), "stdin", "ipam.").expect("an object");
        match (merge(&mut object, machine, &mut Findings::new()), expected) {
            (Ok(merged), Ok((range, expected))) => {
                let found = object
                    .text("range")
                    .expect("a string")
                    .map(|text| text.text);
                assert_eq!(found.unwrap_or_default(), range);
                let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
                assert_eq!(merged.directories, expected);
            }
            (Err(error), Err((code, part))) => {
                assert_eq!(error.code(), code);
                assert!(error.details().contains(part), "{}", error.details());
            }
            (found, _) => panic!("{ipam}: {found:?}"),
        }
    }

    #[test]
    fn the_first_flat_file_counts_and_its_directory_is_the_one_to_look_in() {
        let second = FakeMachine::default().with(SECOND, 0o600, r#"{"range": "second"}"#);
        check(
            "{}",
            &second,
            Ok(("second", &["/etc/cni/net.d/whereabouts.d"])),
        );
        let both = second.with(FIRST, 0o600, r#"{"range": "first"}"#);
        check(
            "{}",
            &both,
            Ok(("first", &["/etc/kubernetes/cni/net.d/whereabouts.d"])),
        );
        let configured = both.with(
            "/etc/whereabouts/b.conf",
            0o600,
            r#"{"ipam": {"range": "mine"}}"#,
        );
        check(
            r#"{"configuration_path": "/etc/whereabouts/b.conf"}"#,
            &configured,
            Ok(("mine", &["/etc/whereabouts"])),
        );
    }

    #[test]
    fn what_stands_in_the_config_wins_over_the_flat_file() {
        let machine = FakeMachine::default().with(FIRST, 0o600, r#"{"range": "flat"}"#);
        let directory = &["/etc/kubernetes/cni/net.d/whereabouts.d"][..];
        check(
            r#"{"range": "config"}"#,
            &machine,
            Ok(("config", directory)),
        );
        check(r#"{"range": null}"#, &machine, Ok(("flat", directory)));
    }

    #[test]
    fn no_flat_file_is_fine_unless_the_config_names_it() {
        let none = FakeMachine::default();
        check("{}", &none, Ok(("", &DIRECTORIES)));
        let missing =
            r#"ipam.configuration_path: cannot read "/etc/whereabouts/b.conf": entity not found"#;
        check(
            r#"{"configuration_path": "/etc/whereabouts/b.conf"}"#,
            &none,
            Err((7, missing)),
        );
        let relative = "\"b.conf\" is not an absolute path";
        check(
            r#"{"configuration_path": "b.conf"}"#,
            &none,
            Err((7, relative)),
        );
    }

    #[test]
    fn a_broken_flat_file_is_code_6_and_names_its_path() {
        let machine = FakeMachine::default().with(FIRST, 0o600, r#"{"range": "#);
        check(
            "{}",
            &machine,
            Err((6, &format!("{FIRST} is not JSON: EOF"))),
        );
        let machine = FakeMachine::default().with(FIRST, 0o600, "[]");
        check(
            "{}",
            &machine,
            Err((6, &format!("{FIRST}: expected an object"))),
        );
    }

    #[test]
    fn a_flat_file_with_a_password_that_others_can_read_is_a_warning() {
        for (mode, count) in [(0o640, 1), (0o604, 1), (0o600, 0)] {
            let machine = FakeMachine::default().with(FIRST, mode, r#"{"etcd_password": "x"}"#);
            let mut findings = Findings::new();
            let mut ipam = Object::default();
            merge(&mut ipam, &machine, &mut findings).expect("a good flat file");
            assert_eq!(findings.remarks.len(), count, "{mode:o}");
        }
    }
}
