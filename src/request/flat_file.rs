//! The flat file: keys of `ipam` that all configs of a node share.
//!
//! What stands in the config itself wins. Which keys there are is not known here.

use std::io;
use std::path::{Path, PathBuf};

use super::LogLevel;
use super::error::{RequestError, Shown};
use super::file;
use super::findings::Findings;
use super::json::{self, Object, Text};
use crate::invocation::{File, Machine};

/// Where the flat file, and the `nodename` file beside it, are looked for when the config does not
/// say; the first that is there counts.
pub(super) const DIRECTORIES: [&str; 2] = [
    "/etc/kubernetes/cni/net.d/whereabouts.d",
    "/etc/cni/net.d/whereabouts.d",
];

const FILE_NAME: &str = "whereabouts.conf";

/// The key under which the config may say where its flat file is.
pub(super) const KEY: &str = "configuration_path";

/// Takes the flat file's keys over into `ipam`. Answers the directories in which to look for what
/// lies beside it.
pub(super) fn merge(
    ipam: &mut Object,
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Vec<PathBuf>, RequestError> {
    let Some((path, file)) = find(ipam.text(KEY)?, machine)? else {
        return Ok(DIRECTORIES.map(PathBuf::from).to_vec());
    };
    let name = path.display().to_string();
    let mut keys = json::object(&file.bytes, &name, &format!("{name}: "))?;
    if let Some(nested) = keys.take("ipam") {
        keys = nested.object()?;
    }
    if keys.has("etcd_password") && file::is_open_to_others(&file) {
        let text = format!("{name} holds a password and is readable by others than its owner");
        findings.remark(LogLevel::Warn, text);
    }
    ipam.fill_from(keys);
    Ok(path.parent().map(Path::to_owned).into_iter().collect())
}

fn find(
    configured: Option<Text>,
    machine: &dyn Machine,
) -> Result<Option<(PathBuf, File)>, RequestError> {
    if let Some(text) = configured {
        return Ok(Some((file::path(&text)?, file::read(&text, machine)?)));
    }
    for directory in DIRECTORIES {
        let path = Path::new(directory).join(FILE_NAME);
        match machine.read(&path) {
            Ok(file) => return Ok(Some((path, file))),
            Err(error) if is_absent(&error) => {}
            Err(source) => {
                return Err(RequestError::File {
                    key: format!("ipam.{KEY}"),
                    path: Shown::new(&path.to_string_lossy()),
                    source,
                });
            }
        }
    }
    Ok(None)
}

/// Whether a file could not be read because it is not there.
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

    /// `expected` is the merged `range` and the directories, or code and part of an error.
    fn check(ipam: &str, machine: &FakeMachine, expected: Result<(&str, &[&str]), (u32, &str)>) {
        let mut object = json::object(ipam.as_bytes(), "stdin", "ipam.").expect("an object");
        match (merge(&mut object, machine, &mut Findings::new()), expected) {
            (Ok(directories), Ok((range, expected))) => {
                let found = object
                    .text("range")
                    .expect("a string")
                    .map(|text| text.text);
                assert_eq!(found.unwrap_or_default(), range);
                let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
                assert_eq!(directories, expected);
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
        let configured = both.with("/a/b.conf", 0o600, r#"{"ipam": {"range": "mine"}}"#);
        check(
            r#"{"configuration_path": "/a/b.conf"}"#,
            &configured,
            Ok(("mine", &["/a"])),
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
        let missing = r#"ipam.configuration_path: cannot read "/a/b.conf": entity not found"#;
        check(
            r#"{"configuration_path": "/a/b.conf"}"#,
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
