//! Names that people choose: for nodes, clusters, pools and pods.

use std::path::{Path, PathBuf};

use super::LogLevel;
use super::error::{RequestError, Shown};
use super::findings::Findings;
use super::flat_file;
use super::json::{Node, Text};
use crate::invocation::Machine;
use whereabouts_core::claim::BootId;
use whereabouts_core::identity::{Identity, check_plain};

/// The name of the file with the node's name, beside the flat file.
const FILE_NAME: &str = "nodename";

/// The name of the file with the cluster's identity.
pub const CLUSTER_FILE_NAME: &str = "cluster";

/// Names of a host that nobody has named.
const NAMELESS: [&str; 3] = ["", "localhost", "localhost.localdomain"];

/// Checks a node's name. It must not be a path, because people name files after nodes.
fn check_node(text: &str) -> Result<(), &'static str> {
    if text.contains('/') {
        return Err("has a '/'");
    }
    check_plain(text)
}

/// The node's name in the text of a file or of the kernel. `None` means that nobody has named the
/// host.
pub(super) fn in_file(text: &str) -> Result<Option<&str>, &'static str> {
    let name = text.trim();
    if NAMELESS.contains(&name) {
        return Ok(None);
    }
    check_node(name).map(|()| Some(name))
}

/// The name that a key gives.
pub(super) fn name(text: Text) -> Result<String, RequestError> {
    check_plain(&text.text).map_err(|reason| text.wrong(reason))?;
    Ok(text.text)
}

/// The node's name: from the config, else from the `nodename` file, else the host's. It is unknown
/// if nobody has named the host.
pub(super) fn node_name(
    configured: Option<Node>,
    directories: &[PathBuf],
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Option<String>, RequestError> {
    let read = configured.map(|node| {
        let text = node.text()?;
        check_node(&text.text).map_err(|reason| text.wrong(reason))?;
        Ok(text.text)
    });
    // A tolerated error leaves the node unknown. Any other name could be another node's.
    if let Some(read) = read {
        return findings.tolerate(read.map(Some));
    }
    let found = beside(FILE_NAME, "node_name", directories, machine).unwrap_or_else(|error| {
        findings.remark(LogLevel::Warn, error.details());
        // The file may exist, so the host's name does not count.
        Some(Text::default())
    });
    let found = found.map(|text| text.text);
    let name = found.or_else(|| machine.host_name()).unwrap_or_default();
    match in_file(&name) {
        Ok(Some(name)) => Ok(Some(name.to_owned())),
        Ok(None) => {
            let text = "the node's name is unknown: GC will not collect the claims of this node";
            findings.remark(LogLevel::Debug, text.to_owned());
            Ok(None)
        }
        Err(reason) => {
            let text = format!("the node's name {reason}, so it is unknown");
            findings.remark(LogLevel::Warn, text);
            Ok(None)
        }
    }
}

/// The id of the kernel's boot: from the configured file, else from the kernel. Without it, a claim looks neither of this
/// boot nor of an earlier one.
pub(super) fn boot(
    configured: Option<Node>,
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Option<BootId>, RequestError> {
    let Some(node) = configured else {
        let boot = machine.boot_id().map(|text| text.trim().parse());
        return Ok(boot.transpose().unwrap_or_else(|reason| {
            findings.remark(LogLevel::Warn, format!("the kernel's boot id {reason}"));
            None
        }));
    };
    let file = node.text()?;
    let read = machine.read(Path::new(&file.text));
    let read = read.map_err(|source| RequestError::File {
        key: file.key.clone(),
        path: Shown::new(&file.text),
        source,
    })?;
    let text = Text {
        key: format!("{} {}", file.key, file.text),
        text: String::from_utf8_lossy(&read.bytes).trim().to_owned(),
    };
    text.text
        .parse()
        .map(Some)
        .map_err(|reason| text.wrong(reason))
}

/// The cluster's identity: from the config, else from the `cluster` file. No error is tolerated
/// here. Without an identity, a verb would accept every store as its own.
pub(super) fn cluster(
    configured: Option<Node>,
    directories: &[PathBuf],
    machine: &dyn Machine,
) -> Result<Option<Identity>, RequestError> {
    let text = match configured {
        Some(node) => Some(node.text()?),
        None => beside(CLUSTER_FILE_NAME, "cluster_id", directories, machine)?
            .filter(|text| !text.text.is_empty()),
    };
    let identity = |text: Text| Identity::new(&text.text).map_err(|reason| text.wrong(reason));
    text.map(identity).transpose()
}

/// The text of the file `name` in the first directory that has it. The file replaces `key`.
fn beside(
    name: &str,
    key: &str,
    directories: &[PathBuf],
    machine: &dyn Machine,
) -> Result<Option<Text>, RequestError> {
    for directory in directories {
        let path = directory.join(name);
        let shown = path.to_string_lossy();
        match machine.read(&path) {
            Ok(file) => {
                return Ok(Some(Text {
                    key: shown.into_owned(),
                    text: String::from_utf8_lossy(&file.bytes).trim().to_owned(),
                }));
            }
            Err(error) if flat_file::is_absent(&error) => {}
            Err(source) => {
                return Err(RequestError::File {
                    key: format!("ipam.{key}"),
                    path: Shown::new(&shown),
                    source,
                });
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::json;
    use super::super::sample::Sample;
    use super::*;
    use crate::invocation::fake::FakeMachine;

    fn check(config: &str, machine: &FakeMachine, expected: Result<Option<&str>, &str>) {
        let mut ipam = json::object(config.as_bytes(), "stdin", "ipam.").expect("an object");
        let directories = flat_file::DIRECTORIES.map(PathBuf::from);
        let configured = ipam.take("node_name");
        let found = node_name(configured, &directories, machine, &mut Findings::new());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{config}"),
            (Err(error), Err(part)) => {
                assert_eq!(error.code(), 7);
                assert!(error.to_string().contains(part), "{error}");
            }
            (found, _) => panic!("{config}: {found:?}"),
        }
    }

    #[test]
    fn the_node_is_named_by_the_config_else_by_the_file_else_by_the_host() {
        let host = FakeMachine::default().named("from-host");
        check("{}", &host, Ok(Some("from-host")));
        let path = "/etc/cni/net.d/whereabouts.d/nodename";
        let file = host.with(path, 0o644, "from-file\n");
        check("{}", &file, Ok(Some("from-file")));
        check(r#"{"node_name": "mine"}"#, &file, Ok(Some("mine")));
        check(r#"{"node_name": ""}"#, &file, Ok(Some("from-file")));
        check(
            r#"{"node_name": "localhost"}"#,
            &file,
            Ok(Some("localhost")),
        );
    }

    #[test]
    fn a_name_that_nobody_gave_is_unknown() {
        for host in ["", "localhost", "localhost.localdomain", "a\nb", "a/b"] {
            check("{}", &FakeMachine::default().named(host), Ok(None));
        }
        check("{}", &FakeMachine::default(), Ok(None));
        let path = "/etc/cni/net.d/whereabouts.d/nodename";
        check(
            "{}",
            &FakeMachine::default().with(path, 0o644, "\n"),
            Ok(None),
        );
    }

    #[test]
    fn the_boot_is_named_by_the_configured_file_else_by_the_kernel() {
        const KERNELS: &str = "01234567-89ab-cdef-0123-456789abcdef";
        const FILES: &str = "FEDCBA98-7654-3210-fedc-ba9876543210";
        let machine = FakeMachine::default().booted(&format!("{KERNELS}\n"));
        let machine = machine
            .with("/run/boot", 0o644, &format!("{FILES}\n"))
            .with("/run/other", 0o644, "0123456789abcdef0123456789abcdef")
            .with("/run/none", 0o644, "");
        let boot = |config: &str, machine: &FakeMachine| {
            let mut ipam = json::object(config.as_bytes(), "stdin", "ipam.").expect("an object");
            let mut findings = Findings::new();
            boot(ipam.take("boot_id_path"), machine, &mut findings)
        };
        let named = |path: &str| format!(r#"{{"boot_id_path": "{path}"}}"#);
        for (config, expected) in [
            ("{}".to_owned(), Some(KERNELS)),
            (
                named("/run/boot"),
                Some("fedcba98-7654-3210-fedc-ba9876543210"),
            ),
        ] {
            let found = boot(&config, &machine).expect("it can be read");
            assert_eq!(
                found.map(|id| id.to_string()).as_deref(),
                expected,
                "{config}"
            );
        }
        let unknown = boot("{}", &FakeMachine::default()).expect("it is unknown");
        assert_eq!(unknown, None);
        for (path, part) in [
            ("/run/absent", "ipam.boot_id_path: cannot read"),
            (
                "/run/other",
                "ipam.boot_id_path /run/other: \"0123456789abcdef0123456789abcdef\" is not a UUID",
            ),
            (
                "/run/none",
                "ipam.boot_id_path /run/none: \"\" is not a UUID",
            ),
        ] {
            let error = boot(&named(path), &machine).expect_err("it is none");
            assert_eq!(error.code(), 7);
            assert!(error.details().contains(part), "{}", error.details());
        }
    }

    /// The text of a node's `cluster` file, or the reason why it cannot be read.
    enum ClusterFile {
        Absent,
        Broken,
        Says(&'static str),
    }
    use ClusterFile::{Absent, Broken, Says};

    /// Checks the identity from the key and from the file `cluster`, for each verb.
    fn check_cluster(
        verbs: &[&str],
        key: Option<&str>,
        file: &ClusterFile,
        expected: Result<Option<&str>, &str>,
    ) {
        for verb in verbs {
            let mut sample = Sample::of(verb)
                .ipam(json!({"range": "10.0.0.0/24", "cluster_id": key}))
                .config(json!({"prevResult": {}}));
            let path = "/etc/cni/net.d/whereabouts.d/cluster";
            sample.machine = match file {
                Absent => sample.machine,
                Broken => sample.machine.broken(path),
                Says(text) => sample.machine.with(path, 0o644, text),
            };
            let found = sample.parsed().map(|parsed| parsed.cluster);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.as_ref().map(Identity::as_str), expected, "{verb}");
                }
                (Err(error), Err(part)) => {
                    assert_eq!(error.code(), 7);
                    assert!(error.details().contains(part), "{error}");
                }
                (found, _) => panic!("{verb} {key:?}: {found:?}"),
            }
        }
    }

    const ALL: [&str; 5] = ["ADD", "STATUS", "GC", "DEL", "CHECK"];

    #[test]
    fn the_cluster_is_named_by_the_config_else_by_the_file() {
        check_cluster(&ALL, None, &Absent, Ok(None));
        check_cluster(&ALL, None, &Says("from-file\n"), Ok(Some("from-file")));
        check_cluster(&ALL, Some("mine"), &Absent, Ok(Some("mine")));
        for file in [Says("from-file"), Broken] {
            check_cluster(&ALL, Some("mine"), &file, Ok(Some("mine")));
        }
        check_cluster(&ALL, Some(""), &Says("from-file"), Ok(Some("from-file")));
        for nothing in ["", "\n"] {
            check_cluster(&ALL, None, &Says(nothing), Ok(None));
        }
    }

    #[test]
    fn a_cluster_that_cannot_be_known_is_code_7_and_keeps_no_address_from_its_del() {
        let long: &str = &"a".repeat(254);
        let shown = "ipam.cluster_id: \"a\\nb\" has control characters";
        for (key, file, error) in [
            (Some("a\nb"), Absent, shown),
            (Some("a\nb"), Says("good"), shown),
            (Some(long), Absent, "has more than 253"),
            (
                None,
                Says("a\nb"),
                "whereabouts.d/cluster: \"a\\nb\" has control characters",
            ),
            (None, Broken, "ipam.cluster_id: cannot read"),
        ] {
            check_cluster(&["ADD", "STATUS", "GC"], key, &file, Err(error));
            check_cluster(&["DEL", "CHECK"], key, &file, Ok(None));
        }
    }

    #[test]
    fn a_name_whose_file_cannot_be_read_is_unknown_and_not_the_hosts() {
        for file in ["/etc/cni/net.d", "/etc/kubernetes/cni/net.d"] {
            let path = format!("{file}/whereabouts.d/nodename");
            let machine = FakeMachine::default().named("from-host").broken(&path);
            check("{}", &machine, Ok(None));
            check(r#"{"node_name": "mine"}"#, &machine, Ok(Some("mine")));
        }
    }

    #[test]
    fn a_configured_name_that_cannot_be_one_is_code_7() {
        let none = FakeMachine::default();
        check(
            r#"{"node_name": "a\nb"}"#,
            &none,
            Err("has control characters"),
        );
        check(r#"{"node_name": "a/b"}"#, &none, Err("has a '/'"));
        check(
            r#"{"node_name": 5}"#,
            &none,
            Err("ipam.node_name: expected a string"),
        );
        let long = format!(r#"{{"node_name": "{}"}}"#, "a".repeat(254));
        check(&long, &none, Err("has more than 253 bytes"));
    }
}
