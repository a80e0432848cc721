//! The files that a configuration of an object may name: its author may be anybody who can write the object.

use std::io;
use std::path::{Path, PathBuf};

use whereabouts_cni::invocation::{File, LocalMachine, Machine};

/// Folders whose files a configuration of an object may name. They are those of the nodes' flat file.
const FOLDERS: [&str; 2] = [
    "/etc/kubernetes/cni/net.d/whereabouts.d",
    "/etc/cni/net.d/whereabouts.d",
];

/// This machine, as far as a network's author may look into it: an answer must not tell of other files of the
/// controller, not even whether they exist.
pub(crate) struct FlatFileFolders;

impl FlatFileFolders {
    fn expect_inside(path: &Path) -> io::Result<()> {
        let is_plain = !path.components().any(|part| part.as_os_str() == "..");
        if is_plain && FOLDERS.iter().any(|folder| path.starts_with(folder)) {
            return Ok(());
        }
        Err(io::Error::other("the controller does not look there"))
    }
}

impl Machine for FlatFileFolders {
    fn read(&self, path: &Path) -> io::Result<File> {
        Self::expect_inside(path)?;
        let file = LocalMachine.read(path)?;
        // The files of a pod come from Secrets. Their modes and owners tell nothing of the nodes' files.
        Ok(File {
            mode: 0o600,
            is_ours: true,
            ..file
        })
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Self::expect_inside(path)?;
        LocalMachine.real_path(path)
    }

    fn host_name(&self) -> Option<String> {
        LocalMachine.host_name()
    }

    fn boot_id(&self) -> Option<String> {
        LocalMachine.boot_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_learns_nothing_of_the_controllers_files() {
        let said = |path: &str| {
            let error = FlatFileFolders.read(Path::new(path));
            error.err().expect("it is not read").to_string()
        };
        for path in [
            "/etc/passwd",
            "/nowhere",
            "relative",
            "/etc/cni/net.d/whereabouts.d/../../../passwd",
        ] {
            assert_eq!(said(path), "the controller does not look there", "{path}");
        }
        assert_ne!(
            said("/etc/cni/net.d/whereabouts.d/absent"),
            "the controller does not look there"
        );
    }
}
