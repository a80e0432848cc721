//! The note of the files that were installed in a folder: their SHA-256 and names, as `sha256sum --check` reads them.
//! A file belongs to this program while its content is one that the note gives it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::fail;
use super::file::{put, read, remove};

/// The file that notes what was installed beside it.
const FILE: &str = ".installed-by-whereaboutsctl";

/// The owner of a file's content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is no such file.
    Absent,
    /// This program: the file has not changed since.
    Own,
    /// Another one. A link is nobody's file, wherever it leads to.
    Foreign,
}

/// The note of one folder.
pub(super) struct Note {
    folder: PathBuf,
    /// Names and digests. A name has two while a file of it is replaced.
    files: BTreeSet<(String, String)>,
}

impl Note {
    pub(super) fn of(folder: &Path) -> Result<Self, String> {
        let path = folder.join(FILE);
        let text = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                fs::read_to_string(&path).map_err(|error| fail(&path, &error))?
            }
            Ok(_) => return Err(format!("{}: it is not a regular file", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(fail(&path, &error)),
        };
        let file = |line: &str| {
            let (digest, name) = line.split_once("  ")?;
            // A note cannot lead out of its folder.
            (!name.contains('/')).then(|| (name.to_owned(), digest.to_owned()))
        };
        let files = text.lines().filter_map(file).collect();
        let folder = folder.to_path_buf();
        Ok(Self { folder, files })
    }

    /// The names of all files.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.files.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn standing(&self, name: &str) -> Result<Standing, String> {
        let path = self.folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let file = (name.to_owned(), digest(&read(&path)?));
                let is_own = self.files.contains(&file);
                Ok(if is_own {
                    Standing::Own
                } else {
                    Standing::Foreign
                })
            }
            Ok(_) => Ok(Standing::Foreign),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Standing::Absent),
            Err(error) => Err(fail(&path, &error)),
        }
    }

    /// That a file of this content is about to be there, if it is not there yet.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) {
        self.files.insert((name.to_owned(), digest(content)));
    }

    /// That a file of this content is there, and no other of its name.
    pub(super) fn settle(&mut self, name: &str, content: &[u8]) {
        let digest = digest(content);
        self.files
            .retain(|(other, of)| other != name || *of == digest);
    }

    /// That no file of this name is there.
    pub(super) fn forget(&mut self, name: &str) {
        self.files.retain(|(other, _)| other != name);
    }

    /// Writes it if it has changed, or removes it when there is nothing to note.
    pub(super) fn save(&self) -> Result<(), String> {
        let path = self.folder.join(FILE);
        if self.files.is_empty() {
            return remove(&path);
        }
        let lines = self.files.iter();
        let lines = lines.map(|(name, digest)| format!("{digest}  {name}\n"));
        let text = lines.collect::<Vec<_>>().concat();
        put(&path, text.as_bytes(), 0o644)
    }
}

fn digest(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let bytes = digest.iter().map(|byte| format!("{byte:02x}"));
    bytes.collect::<Vec<_>>().concat()
}
