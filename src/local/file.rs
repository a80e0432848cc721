//! The file: how it is made, opened and checked, and its failures.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use whereabouts_core::failure::{Failure, FileFailure, FileProblem};

/// `application_id` of a file of this program: "whab".
const APPLICATION: i32 = 0x7768_6162;

/// `user_version`: the format of the tables.
const FORMAT: i32 = 1;

/// How long another process may take to make the file; SQLite does not wait where it changes the journal.
const PAUSE: Duration = Duration::from_millis(2);

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

/// Opens the file at `path`, waiting up to `wait` for other processes. `None`: there is no such file.
pub(crate) fn open(path: &Path, wait: Duration) -> Result<Option<Connection>, Failure> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            return Err(failure(
                path,
                FileProblem::Damaged,
                &"is not a regular file",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(of_system(path, &error)),
    }
    let connection = connect(path, wait)?;
    Ok(is_of_this_format(path, &connection)?.then_some(connection))
}

/// The same, but the file is made where there is none.
pub(crate) fn open_or_make(path: &Path, wait: Duration) -> Result<Connection, Failure> {
    if let Some(connection) = open(path, wait)? {
        return Ok(connection);
    }
    make_file(path).map_err(|error| of_system(path, &error))?;
    let connection = connect(path, wait)?;
    make_tables(path, &connection, wait)?;
    Ok(connection)
}

/// A failure of the file at `path`.
pub(crate) fn failure(path: &Path, problem: FileProblem, reason: &dyn fmt::Display) -> Failure {
    Failure::File(FileFailure {
        path: path.display().to_string(),
        problem,
        reason: reason.to_string(),
    })
}

/// The failure that an error of SQLite stands for.
pub(crate) fn of_sqlite(path: &Path, error: &rusqlite::Error) -> Failure {
    let problem = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => FileProblem::Busy,
        Some(ErrorCode::DiskFull) => FileProblem::NoSpace,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            FileProblem::Denied
        }
        Some(ErrorCode::SystemIoFailure) => FileProblem::Unwritable,
        // Tables of another shape, and values of another type, are damage too.
        Some(_) | None => FileProblem::Damaged,
    };
    failure(path, problem, &error)
}

fn of_system(path: &Path, error: &io::Error) -> Failure {
    let problem = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FileProblem::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileProblem::NoSpace,
        _ => FileProblem::Unwritable,
    };
    failure(path, problem, &error)
}

fn connect(path: &Path, wait: Duration) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let set_up = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(wait)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A process lives for one verb, and would sync the whole file again when it ends.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    };
    set_up().map_err(|error| of_sqlite(path, &error))
}

/// Whether the file has its tables; an empty file is one that is being made.
fn is_of_this_format(path: &Path, connection: &Connection) -> Result<bool, Failure> {
    let number = |name| {
        let read = connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        read.map_err(|error| of_sqlite(path, &error))
    };
    let damaged = |reason: String| Err(failure(path, FileProblem::Damaged, &reason));
    match (number("application_id")?, number("user_version")?) {
        (0, 0) if number("schema_version")? == 0 => Ok(false),
        (APPLICATION, FORMAT) => Ok(true),
        (APPLICATION, newer) => damaged(format!(
            "has format version {newer}, this program reads {FORMAT}"
        )),
        (_, _) => damaged("is another program's database".to_owned()),
    }
}

/// An empty file that only its owner reads, and its folders, all of which survive a loss of power.
fn make_file(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let is_missing = |folder: &&Path| !folder.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    let made = missing.into_iter().chain([path]);
    for parent in made.filter_map(Path::parent) {
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Makes the tables, unless another process has made them meanwhile.
fn make_tables(path: &Path, connection: &Connection, wait: Duration) -> Result<(), Failure> {
    let mut waited = Duration::ZERO;
    while let Err(error) = connection.pragma_update(None, "journal_mode", "WAL") {
        let failure = of_sqlite(path, &error);
        let is_busy =
            matches!(&failure, Failure::File(failure) if failure.problem == FileProblem::Busy);
        if !is_busy || waited >= wait {
            return Err(failure);
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    let made = || {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let tables = "SELECT count(*) FROM sqlite_schema";
        if transaction.query_row(tables, [], |row| row.get::<_, i64>(0))? == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        transaction.commit()
    };
    made().map_err(|error| of_sqlite(path, &error))?;
    if is_of_this_format(path, connection)? {
        Ok(())
    } else {
        Err(failure(path, FileProblem::Damaged, &"has no tables"))
    }
}
