//! Files that appear and disappear whole: a unique temporary file is written, synced and renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use whereabouts_cni::invocation::read_file;
use whereabouts_core::limits;

use super::fail;

/// The begin of the names of temporary files.
const TEMPORARY: &str = ".whereabouts-install-";

/// After this long, nobody still writes a temporary file.
const STALE: Duration = Duration::from_hours(1);

/// Makes `path` a file of this content and mode.
pub(super) fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    let folder = path.parent().expect("a file is in a folder");
    let temporary = folder.join(temporary_name());
    let written = write(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // It fails only where there is nothing to remove.
        let _ = fs::remove_file(&temporary);
        fail(path, &error)
    })?;
    let folder = File::open(folder).and_then(|folder| folder.sync_all());
    folder.map_err(|error| fail(path, &error))
}

/// Whether `path` is a file of this content and mode.
pub(super) fn is_already(path: &Path, content: &[u8], mode: u32) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    metadata.is_file()
        && metadata.permissions().mode() & 0o7777 == mode
        && fs::read(path).is_ok_and(|there| there == content)
}

/// Another process may be at the same, perhaps with the same number in another container.
fn temporary_name() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    format!("{TEMPORARY}{}-{nanos:x}", std::process::id())
}

fn write(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Removes what an installation that was killed has left.
pub(super) fn remove_stale(folder: &Path) -> Result<(), String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(folder, &error)),
    };
    for entry in entries.filter_map(Result::ok) {
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if is_temporary && age.is_some_and(|age| age >= STALE) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fail(path, &error)),
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = read_file(path, limits::DOCUMENT_BYTES);
    read.map(|file| file.bytes)
        .map_err(|error| fail(path, &error))
}
