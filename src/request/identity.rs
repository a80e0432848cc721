//! Names that people give: the node's, a pool's, a pod's.

use std::path::PathBuf;

use super::LogLevel;
use super::error::RequestError;
use super::findings::Findings;
use super::flat_file;
use super::json::{Node, Text};
use crate::invocation::Machine;
use crate::limits;

/// The file beside the flat file that holds the node's name.
const FILE_NAME: &str = "nodename";

/// Names that a host has when nobody gave it one.
const NAMELESS: [&str; 3] = ["", "localhost", "localhost.localdomain"];

/// Whether `text` can be a name: not empty, at most [`limits::NAME_BYTES`], no control characters.
pub(super) fn check_plain(text: &str) -> Result<(), &'static str> {
    const { assert!(limits::NAME_BYTES == 253) }
    match text {
        "" => Err("is empty"),
        _ if text.len() > limits::NAME_BYTES => Err("has more than 253 bytes"),
        _ if text.chars().any(char::is_control) => Err("has control characters"),
        _ => Ok(()),
    }
}

/// Whether `text` can be a node's name. It is no path: people name files after nodes.
fn check_node(text: &str) -> Result<(), &'static str> {
    if text.contains('/') {
        return Err("has a '/'");
    }
    check_plain(text)
}

/// The name that a key gives.
pub(super) fn name(text: Text) -> Result<String, RequestError> {
    check_plain(&text.text).map_err(|reason| text.wrong(reason))?;
    Ok(text.text)
}

/// The node's name: as configured, else from the `nodename` file, else the host's. One that nobody
/// gave is unknown.
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
    // A wrong name that is tolerated leaves the node unknown: another name would be another node's.
    if let Some(read) = read {
        return findings.tolerate(read.map(Some));
    }
    let found = directories.iter().find_map(|directory| {
        let path = directory.join(FILE_NAME);
        match machine.read(&path) {
            Ok(file) => Some(String::from_utf8_lossy(&file.bytes).trim().to_owned()),
            Err(error) if flat_file::is_absent(&error) => None,
            Err(error) => {
                let text = format!("{} cannot be read: {error}", path.display());
                findings.remark(LogLevel::Warn, text);
                // The file may be there: without its name, the host's may be another node's.
                Some(String::new())
            }
        }
    });
    let name = found.or_else(|| machine.host_name()).unwrap_or_default();
    if NAMELESS.contains(&name.as_str()) {
        let text = "the node's name is unknown: GC will collect nothing that this node adds";
        findings.remark(LogLevel::Debug, text.to_owned());
        return Ok(None);
    }
    match check_node(&name) {
        Ok(()) => Ok(Some(name)),
        Err(reason) => {
            let text = format!("the node's name {reason}, and so is unknown");
            findings.remark(LogLevel::Warn, text);
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json;
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
