//! Files that a config names.

use std::path::PathBuf;

use super::error::{RequestError, Shown};
use super::json::Text;
use crate::invocation::{File, Machine};
use whereabouts_core::limits;

/// The path that a key gives. It must be absolute, because the working directory is the runtime's.
pub(super) fn path(text: &Text) -> Result<PathBuf, RequestError> {
    let reason = match text.text.as_str() {
        path if !path.starts_with('/') => "is not an absolute path",
        path if path.len() > limits::PATH_BYTES => "is longer than a path can be",
        path if path.chars().any(char::is_control) => "has control characters",
        path => return Ok(PathBuf::from(path)),
    };
    Err(text.wrong(reason))
}

/// The file whose path a key gives.
pub(super) fn read(text: &Text, machine: &dyn Machine) -> Result<File, RequestError> {
    let path = path(text)?;
    machine.read(&path).map_err(|source| RequestError::File {
        key: text.key.clone(),
        path: Shown::new(&text.text),
        source,
    })
}

/// Whether the file belongs to root or to this user, and no other user can write it.
pub(super) fn is_ours_alone(file: &File) -> bool {
    file.is_ours && file.mode & 0o022 == 0
}

/// Whether other users than the owner can read the file.
pub(super) fn is_open_to_others(file: &File) -> bool {
    file.mode & 0o044 != 0
}
