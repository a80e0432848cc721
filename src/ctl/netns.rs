//! Whether a network namespace is gone. An error is never evidence: what cannot be judged is in use.
//!
//! Two answers together prove an absence. The name cannot be found. The namespace's own folder can be
//! listed to its end, is not empty, and does not list the name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Where named network namespaces are.
pub(crate) const FOLDERS: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// The knowledge of a network namespace.
#[derive(Debug, PartialEq, Eq)]
enum Presence {
    /// It is there.
    There,
    /// It is not there any more.
    Gone,
    /// No more can be told than this.
    Unknown(String),
}

/// Judges network namespaces, and keeps account of those that it cannot judge.
#[derive(Default)]
pub(crate) struct Namespaces {
    unknown: RefCell<BTreeMap<String, u64>>,
}

impl Namespaces {
    /// Whether the namespace at `path` is gone for certain. One of a process (`/proc/...`) tells nothing
    /// when it is gone, as its number may be another's by then.
    pub(crate) fn is_gone(&self, path: &str) -> bool {
        let Some((folder, name)) = named(path) else {
            return false;
        };
        // The link itself counts, so that its target needs no judgement.
        let found = fs::symlink_metadata(path).map(drop);
        match judge(OsStr::new(name), found, || names(Path::new(folder))) {
            Presence::Gone => true,
            Presence::There => false,
            Presence::Unknown(reason) => {
                let reason = format!("{folder}: {reason}");
                *self.unknown.borrow_mut().entry(reason).or_default() += 1;
                false
            }
        }
    }

    /// Why namespaces could not be judged, and how many.
    pub(crate) fn unknown(self) -> BTreeMap<String, u64> {
        self.unknown.into_inner()
    }
}

/// That at least one of the folders can be read here.
pub(crate) fn expect_folder() -> Result<(), String> {
    let mut reasons = Vec::new();
    for folder in FOLDERS {
        match names(Path::new(folder)) {
            Ok(_) => return Ok(()),
            Err(error) => reasons.push(format!("{folder}: {error}")),
        }
    }
    let reasons = reasons.join("; ");
    Err(format!("{reasons}: are this node's folders visible here?"))
}

/// `found` is what was answered for the path, and `names` lists its folder, afterwards.
fn judge(
    name: &OsStr,
    found: io::Result<()>,
    names: impl FnOnce() -> io::Result<Vec<OsString>>,
) -> Presence {
    match found {
        Ok(()) => return Presence::There,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Presence::Unknown(error.to_string()),
    }
    match names() {
        Ok(names) if names.is_empty() => {
            let reason = "nothing is in it, so that it may not be the node's";
            Presence::Unknown(reason.to_owned())
        }
        Ok(names) if names.iter().any(|other| other == name) => Presence::There,
        Ok(_) => Presence::Gone,
        Err(error) => Presence::Unknown(error.to_string()),
    }
}

/// All names in a folder; half a list is none.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let entries = fs::read_dir(folder)?;
    entries
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()
}

/// The folder and the name of a network namespace that has one: a path directly below one of the
/// folders.
fn named(path: &str) -> Option<(&str, &str)> {
    let (folder, name) = path.rsplit_once('/')?;
    let is_name = !matches!(name, "" | "." | "..");
    (FOLDERS.contains(&folder) && is_name).then_some((folder, name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn only_a_path_directly_below_the_folders_is_a_named_network_namespace() {
        assert_eq!(named("/run/netns/cni-1"), Some(("/run/netns", "cni-1")));
        assert_eq!(
            named("/var/run/netns/cni-1"),
            Some(("/var/run/netns", "cni-1"))
        );
        for path in [
            "/proc/12/ns/net",
            "/run/netns",
            "/run/netns/",
            "/run/netns/a/b",
            "/run/netns/../x",
            "/run/netns/..",
            "/run/netns//a",
            "/run/netns/a/",
            "run/netns/a",
            "",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
    }

    fn of(errno: Errno) -> io::Error {
        errno.into()
    }

    /// The answers for the path and for its folder, and the conclusion; `None` is any unknown.
    #[track_caller]
    fn check(found: Result<(), Errno>, names: Result<&[&str], Errno>, expected: Option<Presence>) {
        let listed = names.map(|names| names.iter().map(OsString::from).collect());
        let presence = judge(OsStr::new("a"), found.map_err(of), || listed.map_err(of));
        match expected {
            Some(expected) => assert_eq!(presence, expected),
            None => assert!(matches!(presence, Presence::Unknown(_)), "{presence:?}"),
        }
    }

    #[test]
    fn a_namespace_is_gone_if_its_whole_folder_says_so_and_no_error_is_evidence() {
        let others: Result<&[&str], Errno> = Ok(&["b", "c"]);
        check(Err(Errno::NOENT), others, Some(Presence::Gone));
        check(Ok(()), others, Some(Presence::There));
        check(Err(Errno::NOENT), Ok(&["b", "a"]), Some(Presence::There));
        for errno in [
            Errno::ACCESS,
            Errno::PERM,
            Errno::LOOP,
            Errno::NAMETOOLONG,
            Errno::NOTDIR,
            Errno::IO,
            Errno::NOMEM,
            Errno::STALE,
            Errno::NOTCONN,
            Errno::MFILE,
        ] {
            check(Err(errno), others, None);
            check(Err(Errno::NOENT), Err(errno), None);
        }
        check(Err(Errno::NOENT), Err(Errno::NOENT), None);
        check(Err(Errno::NOENT), Ok(&[]), None);
    }

    #[test]
    fn a_real_folder_is_listed_whole_and_one_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "").expect("the folder can be written");
        symlink(path("loop"), path("loop")).expect("a new name");
        let presence = |name: &str| {
            let found = fs::symlink_metadata(path(name)).map(drop);
            judge(OsStr::new(name), found, || names(folder.path()))
        };
        assert_eq!(presence("file"), Presence::There);
        assert_eq!(presence("loop"), Presence::There);
        assert_eq!(presence("nothing"), Presence::Gone);
        let long = "a".repeat(300);
        assert!(matches!(presence(&long), Presence::Unknown(_)));
        for no_folder in ["file", "loop", "nothing"] {
            assert!(names(&path(no_folder)).is_err(), "{no_folder}");
        }
    }

    #[test]
    fn what_cannot_be_judged_is_counted_by_its_reason() {
        let namespaces = Namespaces::default();
        let long = format!("/run/netns/{}", "a".repeat(300));
        for path in [&long, &long, "/proc/1/ns/net"] {
            assert!(!namespaces.is_gone(path));
        }
        let unknown = namespaces.unknown();
        assert_eq!(unknown.values().copied().collect::<Vec<_>>(), [2]);
    }
}
