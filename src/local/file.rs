//! The file: how it is made, opened and checked, and its failures.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statfs::{self, FsType, statfs};
use nix::unistd::{AccessFlags, access};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use tracing::{debug, warn};
use whereabouts_core::failure::{Failure, FileFailure, FileProblem};

use crate::FOLDER;
use crate::wait::Wait;

/// `application_id` of a file of this program: "whab".
const APPLICATION: i32 = 0x7768_6162;

/// `user_version`: the format of the tables.
const FORMAT: i32 = 1;

/// The log is written into the file, and emptied, when it has more bytes. A process that finds no other one reads all of
/// the log when it begins, so the log is to be short. Emptying it costs a few syncs, so it is not to be too short.
const LOG_BYTES: u64 = 100 * 4096;

/// The suffix of the write-ahead log.
const LOG: &str = "-wal";

/// File systems of several hosts. SQLite's log needs memory that all users of the file share.
const OF_SEVERAL_HOSTS: [FsType; 10] = [
    statfs::NFS_SUPER_MAGIC,
    statfs::SMB_SUPER_MAGIC,
    statfs::AFS_SUPER_MAGIC,
    statfs::CODA_SUPER_MAGIC,
    statfs::OCFS2_SUPER_MAGIC,
    // CIFS, SMB 2, Ceph, GFS2 and Lustre.
    FsType(0xff53_4d42),
    FsType(0xfe53_4d42),
    FsType(0x00c3_6400),
    FsType(0x0116_1970),
    FsType(0x0bd0_0bd0),
];

const TABLES: &str = "
CREATE TABLE entries (
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE revision (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
INSERT INTO revision VALUES (1, 1);
";

/// Opens the file at `path`. `None`: there is no such file, and none was lost.
pub(crate) fn open(path: &Path, wait: Wait) -> Result<Option<Connection>, Failure> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(damaged(path, &"is not a regular file")),
        // It comes into being with its tables.
        Ok(metadata) if metadata.len() == 0 => Err(damaged(path, &"is empty: it was truncated")),
        Ok(_) => connect(path, wait).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            expect_nothing_lost(path)?;
            Ok(None)
        }
        Err(error) => Err(of_system(path, &error)),
    }
}

/// Whether the file can be written, or made. It asks without opening it.
pub(crate) fn expect_writable(path: &Path) -> Result<(), Failure> {
    let is_writable = if path.exists() {
        may_write(path)
    } else {
        // The usual folder is made with the file.
        let folder = folder_of(path);
        !folder.exists() || access(folder, AccessFlags::W_OK).is_ok()
    };
    if is_writable {
        return Ok(());
    }
    let reason = "and its folder cannot both be written";
    Err(failure(path, FileProblem::Denied, &reason))
}

/// The same, but the file is made where there is none.
pub(crate) fn open_or_make(path: &Path, wait: Wait) -> Result<Connection, Failure> {
    if let Some(connection) = open(path, wait)? {
        return Ok(connection);
    }
    let folder = folder_of(path);
    if folder == Path::new(FOLDER) {
        make_folder(folder).map_err(|error| of_system(folder, &error))?;
    }
    let locked = lock(folder, wait)?;
    if open(path, wait)?.is_none() {
        make(path)?;
        // A process that finds the file may answer at once. By then, the name must survive a loss of power.
        let synced = locked.sync_all();
        synced.map_err(|error| of_system(folder, &error))?;
    }
    drop(locked);
    open(path, wait)?.ok_or_else(|| {
        let reason = "was removed as soon as it was made";
        failure(path, FileProblem::Unwritable, &reason)
    })
}

/// A failure of the file at `path`.
pub(crate) fn failure(path: &Path, problem: FileProblem, reason: &dyn fmt::Display) -> Failure {
    Failure::File(FileFailure {
        path: path.display().to_string(),
        problem,
        reason: reason.to_string(),
    })
}

/// That the file at `path` cannot be used as it is.
pub(crate) fn damaged(path: &Path, reason: &dyn fmt::Display) -> Failure {
    failure(path, FileProblem::Damaged, reason)
}

/// The failure that an error of SQLite stands for.
pub(crate) fn of_sqlite(path: &Path, error: &rusqlite::Error) -> Failure {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let problem = match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => FileProblem::Busy,
        Some(ErrorCode::DiskFull) => FileProblem::NoSpace,
        // The memory that processes share is a file too.
        Some(ErrorCode::SystemIoFailure) if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => {
            FileProblem::NoSpace
        }
        Some(ErrorCode::CannotOpen) if may_write(path) => FileProblem::Unwritable,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            FileProblem::Denied
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => FileProblem::Unwritable,
        // Tables of another shape, and values of another type, are damage too.
        Some(_) | None => FileProblem::Damaged,
    };
    failure(path, problem, error)
}

fn of_system(path: &Path, error: &io::Error) -> Failure {
    let problem = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FileProblem::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileProblem::NoSpace,
        _ => FileProblem::Unwritable,
    };
    failure(path, problem, &error)
}

/// Whether the file and its folder can be written, without opening the file: the end of that would end SQLite's locks.
fn may_write(path: &Path) -> bool {
    let can = |path| access(path, AccessFlags::W_OK).is_ok();
    can(path) && can(folder_of(path))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Sees that a file that is not there never was. A new one would give addresses that are in use.
fn expect_nothing_lost(path: &Path) -> Result<(), Failure> {
    // Its target is perhaps on a disk that is not mounted. A new file would take the place of the link.
    if path.is_symlink() && !path.exists() {
        let reason = "is a link that leads to nothing: is the disk of its target mounted?";
        return Err(failure(path, FileProblem::Unwritable, &reason));
    }
    let log = beside(path, LOG);
    // Another process may have made the file meanwhile, and then its log.
    if log.exists() && !path.exists() {
        let reason = format!(
            "is lost: its log {} is there. Remove the log to begin anew, or put both back",
            log.display()
        );
        return Err(damaged(path, &reason));
    }
    let folder = folder_of(path);
    if folder != Path::new(FOLDER) && !folder.exists() {
        let reason =
            "is not there: is its disk mounted? Folders other than the usual one are not made";
        return Err(failure(folder, FileProblem::Unwritable, &reason));
    }
    Ok(())
}

fn connect(path: &Path, wait: Wait) -> Result<Connection, Failure> {
    expect_one_host(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let set_up = || {
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_handler(Some(wait.handler()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // SQLite's own would never end: the next process does not know what the last one wrote into the file, and goes
        // on with the same log.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // A process lives for one verb, and would sync the whole file again when it ends.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    };
    let connection = set_up().map_err(|error| of_sqlite(path, &error))?;
    expect_format(path, &connection)?;
    Ok(connection)
}

/// Empties the log if it is long. This never waits: if other processes use the file now, a later process empties the log.
/// The commits are on the disk in any case, so no failure matters.
pub(crate) fn shorten_log(path: &Path, connection: &Connection) {
    let is_long = fs::metadata(beside(path, LOG)).is_ok_and(|log| log.len() > LOG_BYTES);
    if !is_long || connection.busy_timeout(Duration::ZERO).is_err() {
        return;
    }
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    match emptied {
        Ok(0_i64) => {}
        Ok(_) => debug!("the log stays long: others use the file"),
        Err(error) => warn!(%error, "the log stays long"),
    }
}

fn expect_one_host(path: &Path) -> Result<(), Failure> {
    let found = statfs(folder_of(path)).map_err(|error| of_system(path, &error.into()))?;
    if is_of_several_hosts(found.filesystem_type()) {
        let reason = "is on a network file system; the datastore local is for one host";
        return Err(failure(path, FileProblem::Denied, &reason));
    }
    Ok(())
}

fn is_of_several_hosts(kind: FsType) -> bool {
    OF_SEVERAL_HOSTS.contains(&kind)
}

fn expect_format(path: &Path, connection: &Connection) -> Result<(), Failure> {
    let number = |name| {
        let read = connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        read.map_err(|error| of_sqlite(path, &error))
    };
    match (number("application_id")?, number("user_version")?) {
        (APPLICATION, FORMAT) => Ok(()),
        (APPLICATION, other) => {
            let reason = format!("has format version {other}, this program reads {FORMAT}");
            Err(damaged(path, &reason))
        }
        (_, _) => Err(damaged(path, &"is another program's database")),
    }
}

/// A folder that only its owner enters, which survives a loss of power.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    File::open(folder_of(folder))?.sync_all()
}

/// The folder, locked against others that make a file there, until it is closed.
fn lock(folder: &Path, wait: Wait) -> Result<File, Failure> {
    let fail = |error: io::Error| of_system(folder, &error);
    let opened = File::open(folder).map_err(fail)?;
    let mut goes_on = wait.handler();
    for tries in 0.. {
        match opened.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if goes_on(tries) => {}
            Err(TryLockError::WouldBlock) => {
                let reason = "another process makes a file in it";
                return Err(failure(folder, FileProblem::Busy, &reason));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
    }
    Ok(opened)
}

/// Makes the file with its tables under another name first, so that nobody ever sees a half of it.
fn make(path: &Path) -> Result<(), Failure> {
    let new = beside(path, ".new");
    let made = build(&new).and_then(|()| {
        let moved = File::open(&new).and_then(|file| file.sync_all());
        let moved = moved.and_then(|()| fs::rename(&new, path));
        moved.map_err(|error| of_system(path, &error))
    });
    if made.is_err() {
        remove(&new);
    }
    made
}

/// Removes what is at `new`, of a process that was killed perhaps.
fn remove(new: &Path) {
    for suffix in ["", "-journal", LOG, "-shm"] {
        // If a file cannot be removed, the next step fails and names it.
        let _ = fs::remove_file(beside(new, suffix));
    }
}

fn build(new: &Path) -> Result<(), Failure> {
    remove(new);
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(new);
    created.map_err(|error| of_system(new, &error))?;
    expect_one_host(new)?;
    let fill = || {
        let connection = Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // It is synced as a whole.
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "application_id", APPLICATION)?;
        connection.pragma_update(None, "user_version", FORMAT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.close().map_err(|(_, error)| error)
    };
    fill().map_err(|error| of_sqlite(new, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_told_from_one_of_this_host() {
        assert!(is_of_several_hosts(statfs::NFS_SUPER_MAGIC));
        for kind in [
            statfs::EXT4_SUPER_MAGIC,
            statfs::TMPFS_MAGIC,
            statfs::XFS_SUPER_MAGIC,
            statfs::OVERLAYFS_SUPER_MAGIC,
        ] {
            assert!(!is_of_several_hosts(kind), "{kind:?}");
        }
    }
}
