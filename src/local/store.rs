//! The file as a store of entries, for tools: they list, back up, restore and repair with it.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use whereabouts_core::failure::Failure;
use whereabouts_store::{
    At, CommitError, Event, Lease, LeaseId, Outcome, Read, Revision, Store, Txn, Unavailable, View,
    Watch, WatchEnded, well_formed,
};

use crate::entries::{self, Committed};
use crate::file;
use crate::wait::Wait;

/// One host's file. It is opened when it is first needed, and made when something is first written.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    wait: Wait,
    connection: OnceCell<Connection>,
    /// Whether something was committed.
    has_written: Cell<bool>,
}

/// In the place of the id of an etcd cluster: a file stays the same one.
const FILE: u64 = 1;

/// The file as it was at one moment, for as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Held<'s>(Option<Transaction<'s>>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It has written nothing: what is open ends with the connection.
        let _ = self.0.take().map(Transaction::finish);
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.get()
            && self.has_written.get()
        {
            file::shorten_log(&self.path, connection);
        }
    }
}

impl LocalStore {
    /// The file at `path`, where `wait` tells how long to wait for other processes.
    pub fn new(path: &Path, wait: Wait) -> Self {
        Self {
            path: path.to_owned(),
            wait,
            connection: OnceCell::new(),
            has_written: Cell::new(false),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Holds the file as it is at the next read: until the end of the answer, all reads see that. Others go on
    /// writing. Nothing can be committed meanwhile.
    pub fn hold(&self) -> Result<Held<'_>, Failure> {
        match self.opened()? {
            Some(connection) if connection.is_autocommit() => {
                let begun = self.begin(connection, TransactionBehavior::Deferred)?;
                Ok(Held(Some(begun)))
            }
            Some(_) | None => Ok(Held(None)),
        }
    }

    /// Runs `act` on one state of the file; on `None`, where there is no file.
    pub(crate) fn reading<T>(
        &self,
        act: impl FnOnce(Option<&Connection>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _held = self.hold()?;
        act(self.opened()?)
    }

    /// Runs `act` in a transaction that no other writes beside. Its writes are on the disk when this returns; an
    /// error takes them back.
    pub(crate) fn writing<T>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let connection = self.made()?;
        let transaction = self.begin(connection, TransactionBehavior::Immediate)?;
        let result = act(&transaction)?;
        let committed = transaction.commit();
        committed.map_err(|error| self.failure(&error))?;
        self.has_written.set(true);
        Ok(result)
    }

    /// The failure that an error of SQLite stands for.
    pub(crate) fn failure(&self, error: &rusqlite::Error) -> Failure {
        file::of_sqlite(&self.path, error)
    }

    /// Whether there is a file, as far as anybody has seen.
    pub(crate) fn exists(&self) -> Result<bool, Failure> {
        self.opened().map(|opened| opened.is_some())
    }

    fn opened(&self) -> Result<Option<&Connection>, Failure> {
        if self.connection.get().is_none()
            && let Some(opened) = file::open(&self.path, self.wait)?
        {
            return Ok(Some(self.connection.get_or_init(|| opened)));
        }
        Ok(self.connection.get())
    }

    fn made(&self) -> Result<&Connection, Failure> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        let made = file::open_or_make(&self.path, self.wait)?;
        Ok(self.connection.get_or_init(|| made))
    }

    fn begin<'c>(
        &self,
        connection: &'c Connection,
        behaviour: TransactionBehavior,
    ) -> Result<Transaction<'c>, Failure> {
        let begun = Transaction::new_unchecked(connection, behaviour);
        begun.map_err(|error| self.failure(&error))
    }

    /// The answers to `reads`; there are none where there is no file.
    pub(crate) fn view(
        &self,
        connection: Option<&Connection>,
        reads: &[Read],
    ) -> Result<View, Failure> {
        let Some(connection) = connection else {
            return Ok(View {
                revision: 1,
                cluster: FILE,
                answers: vec![Vec::new(); reads.len()],
            });
        };
        let view = || {
            Ok(View {
                revision: entries::revision(connection)?,
                cluster: FILE,
                answers: entries::read(connection, reads)?,
            })
        };
        view().map_err(|error| self.failure(&error))
    }

    fn commit_now(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let committed = self.writing(|connection| {
            let committed = entries::commit(connection, txn);
            match committed.map_err(|error| self.failure(&error))? {
                Committed::Done => Ok(Ok(Outcome::Done(self.view(Some(connection), &txn.then)?))),
                Committed::Conflict => Ok(self.instead(connection, txn)?.map(Outcome::Conflict)),
                Committed::Refused(refused) => Ok(Err(refused)),
            }
        });
        let committed = committed.map_err(unavailable)?;
        Ok(committed?)
    }

    /// Reads as before, writes the rest, and answers with the revision after that.
    fn instead(
        &self,
        connection: &Connection,
        txn: &Txn,
    ) -> Result<Result<View, Unavailable>, Failure> {
        let mut view = self.view(Some(connection), &txn.otherwise)?;
        let instead = entries::write(connection, &txn.instead);
        let revision = instead.map_err(|error| self.failure(&error))?;
        Ok(revision.map(|revision| {
            view.revision = revision;
            view
        }))
    }
}

/// A failure of the file, in the terms of a store.
fn unavailable(failure: Failure) -> Unavailable {
    match failure {
        Failure::File(failure) => Unavailable::File(failure),
        Failure::Unavailable(unavailable) => unavailable,
        other => unreachable!("a file failed with {other:?}"),
    }
}

impl Store for LocalStore {
    type Watch = NoWatch;

    /// The file has no past: a revision that is neither the last one nor [held](LocalStore::hold) is gone.
    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        well_formed::assert_read(reads, at);
        let view = self.reading(|connection| self.view(connection, reads));
        let view = view.map_err(unavailable)?;
        let is_gone = |revision: Revision| revision != view.revision;
        match at {
            At::Revision(revision) if is_gone(revision) => Err(Unavailable::Compacted),
            At::Now | At::Revision(_) | At::Whenever => Ok(view),
        }
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        well_formed::assert_txn(txn);
        self.commit_now(txn)
    }

    async fn grant(&self, _: i64) -> Result<Lease, Unavailable> {
        Err(Unavailable::NotInFiles("leases"))
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<(), Unavailable> {
        Err(Unavailable::NotInFiles("leases"))
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), Unavailable> {
        Err(Unavailable::NotInFiles("leases"))
    }

    async fn watch(&self, _: &[Vec<u8>]) -> Result<NoWatch, Unavailable> {
        Err(Unavailable::NotInFiles("watches"))
    }
}

/// A watch that there is none of.
#[derive(Debug)]
pub enum NoWatch {}

impl Watch for NoWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        match *self {}
    }
}
