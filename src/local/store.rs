//! The file as a store of entries, for tools: they list, back up, restore and repair with it.

use std::cell::{Ref, RefCell};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use whereabouts_core::failure::{Failure, FileProblem};
use whereabouts_store::{
    At, CommitError, Event, Lease, LeaseId, Outcome, Read, Revision, Store, Txn, Unavailable, View,
    Watch, WatchEnded, well_formed,
};

use crate::entries::{self, Committed};
use crate::file;

/// One host's file. It is opened when it is first needed, and made when something is first written.
#[derive(Debug)]
pub struct LocalStore {
    path: PathBuf,
    wait: Duration,
    connection: RefCell<Option<Connection>>,
}

impl LocalStore {
    /// The file at `path`. Each transaction waits up to `wait` for other processes.
    pub fn new(path: &Path, wait: Duration) -> Self {
        Self {
            path: path.to_owned(),
            wait,
            connection: RefCell::new(None),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `act` on one state of the file; on `None`, where there is no file.
    pub(crate) fn reading<T>(
        &self,
        act: impl FnOnce(Option<&Connection>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.connection.borrow().is_none() {
            *self.connection.borrow_mut() = file::open(&self.path, self.wait)?;
        }
        let connection = self.connection.borrow();
        let Some(connection) = connection.as_ref() else {
            return act(None);
        };
        let transaction = self.begin(connection, TransactionBehavior::Deferred)?;
        act(Some(&transaction))
    }

    /// Runs `act` in a transaction that no other writes beside. Its writes are on the disk when this returns; an
    /// error takes them back.
    pub(crate) fn writing<T>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let connection = self.made()?;
        let transaction = self.begin(&connection, TransactionBehavior::Immediate)?;
        let result = act(&transaction)?;
        let committed = transaction.commit();
        committed.map_err(|error| self.failure(&error))?;
        Ok(result)
    }

    /// The failure that an error of SQLite stands for.
    pub(crate) fn failure(&self, error: &rusqlite::Error) -> Failure {
        file::of_sqlite(&self.path, error)
    }

    fn made(&self) -> Result<Ref<'_, Connection>, Failure> {
        if self.connection.borrow().is_none() {
            let made = file::open_or_make(&self.path, self.wait)?;
            *self.connection.borrow_mut() = Some(made);
        }
        let made = Ref::filter_map(self.connection.borrow(), Option::as_ref);
        Ok(made.unwrap_or_else(|_| unreachable!("it was opened above")))
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
                cluster: 0,
                answers: vec![Vec::new(); reads.len()],
            });
        };
        let view = || {
            Ok(View {
                revision: entries::revision(connection)?,
                cluster: 0,
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
                Committed::Conflict => {
                    let view = self.view(Some(connection), &txn.otherwise)?;
                    Ok(Ok(Outcome::Conflict(view)))
                }
                Committed::Refused(refused) => Ok(Err(refused)),
            }
        });
        let committed = committed.map_err(unavailable)?;
        Ok(committed?)
    }
}

/// A failure of the file, in the terms of a store.
fn unavailable(failure: Failure) -> Unavailable {
    let text = failure.to_string();
    match failure {
        Failure::File {
            problem: FileProblem::Busy,
            ..
        } => Unavailable::NotNow(text),
        Failure::File {
            problem: FileProblem::Denied,
            ..
        } => Unavailable::Denied(text),
        _ => Unavailable::Refused(text),
    }
}

impl Store for LocalStore {
    type Watch = NoWatch;

    /// The file has no past: a revision that is not the last one is gone.
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
        Err(without("leases"))
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<(), Unavailable> {
        Err(without("leases"))
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), Unavailable> {
        Err(without("leases"))
    }

    async fn watch(&self, _: &[Vec<u8>]) -> Result<NoWatch, Unavailable> {
        Err(without("watches"))
    }
}

fn without(what: &str) -> Unavailable {
    Unavailable::Refused(format!("the datastore local has no {what}"))
}

/// A watch that there is none of.
#[derive(Debug)]
pub enum NoWatch {}

impl Watch for NoWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        match *self {}
    }
}
