//! Questions to the datastore, each with a short bound. One thread asks them, one after the other.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use whereabouts_core::allocator::Shortage;
use whereabouts_core::claim::{RangeId, Want};
use whereabouts_core::limits;
use whereabouts_core::registry::Scope;

use super::stranded::{Question, Stranded};
use crate::connection::{Connection, DatastoreOptions};
use crate::output::counted;

/// How long the claims and durable owners of a network may be read.
const PATIENCE: Duration = Duration::from_millis(limits::ADMISSION_READ_MS);

enum Asked {
    Stranded(Question, oneshot::Sender<Stranded>),
    Full(Vec<Want>, oneshot::Sender<Fullness>),
}

/// The first range of a request that has no free address, if there is one.
pub(super) type Fullness = Result<Option<RangeId>, String>;

/// The datastore, as the webhook asks it.
#[derive(Clone)]
pub(super) struct Claims(SyncSender<(Asked, Instant)>);

impl Claims {
    /// Starts the thread. It connects when it is asked.
    pub(super) fn start(etcd: &DatastoreOptions) -> Result<Self, String> {
        let (sender, asked) = sync_channel(limits::ADMISSION_READS);
        let etcd = etcd.clone();
        thread::Builder::new()
            .name("admission".to_owned())
            .spawn(move || answer_all(&etcd, &asked))
            .map_err(|error| error.to_string())?;
        Ok(Self(sender))
    }

    /// The claims and durable owners that a change strands.
    pub(super) async fn stranded(&self, question: &Question) -> Stranded {
        let (sender, receiver) = oneshot::channel();
        let answer = self.ask(Asked::Stranded(question.clone(), sender), receiver);
        answer.await.unwrap_or_else(Stranded::unknown)
    }

    /// Whether one of the wanted ranges is full.
    pub(super) async fn full(&self, wants: Vec<Want>) -> Fullness {
        let (sender, receiver) = oneshot::channel();
        self.ask(Asked::Full(wants, sender), receiver).await?
    }

    async fn ask<T>(&self, asked: Asked, answer: oneshot::Receiver<T>) -> Result<T, String> {
        match self.0.try_send((asked, Instant::now() + PATIENCE)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err("too many reviews wait for it".to_owned()),
            Err(TrySendError::Disconnected(_)) => return Err("its thread has ended".to_owned()),
        }
        // The thread keeps to the bound by itself, unless its present question comes from before.
        let answer = tokio::time::timeout(PATIENCE + PATIENCE / 4, answer).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err("its thread has ended".to_owned()),
            Err(_) => Err(format!("the datastore has not answered in {PATIENCE:?}")),
        }
    }
}

fn answer_all(etcd: &DatastoreOptions, asked: &Receiver<(Asked, Instant)>) {
    let mut kept = None;
    while let Ok((asked, end)) = asked.recv() {
        // A client that is gone needs no answer.
        match asked {
            Asked::Stranded(question, sender) => {
                let stranded = with(etcd, &mut kept, |connection| {
                    let stranded = stranded(connection, &question, end);
                    let failed = stranded.incomplete.clone();
                    (stranded, failed)
                });
                drop(sender.send(stranded.unwrap_or_else(Stranded::unknown)));
            }
            Asked::Full(wants, sender) => {
                let full = with(etcd, &mut kept, |connection| {
                    let full = full(connection, &wants, end);
                    let failed = full.as_ref().err().cloned();
                    (full, failed)
                });
                drop(sender.send(full.unwrap_or_else(Err)));
            }
        }
    }
}

/// Asks by the connection that is kept. After an error another one is opened: files may come late, and certificates change.
fn with<T>(
    etcd: &DatastoreOptions,
    kept: &mut Option<Connection>,
    ask: impl FnOnce(&Connection) -> (T, Option<String>),
) -> Result<T, String> {
    let connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(etcd)?,
    };
    let (answer, failed) = ask(&connection);
    *kept = failed.is_none().then_some(connection);
    Ok(answer)
}

fn stranded(connection: &Connection, question: &Question, end: Instant) -> Stranded {
    let mut stranded = Stranded::default();
    let mut unreadable = 0_u64;
    let scope = Scope::Network(&question.network);
    let read = connection.each_claim_until(end, scope, |claim| match claim {
        Ok((attachment, claim)) => stranded.take(question, &attachment, &claim.value),
        Err(_) => unreadable += 1,
    });
    let read = read.and_then(|()| {
        connection.each_owner_until(end, &question.network, |owner| match owner {
            Ok((owner, state)) => stranded.take_owner(question, &owner, &state.value),
            Err(_) => unreadable += 1,
        })
    });
    let damaged =
        (unreadable > 0).then(|| format!("{} cannot be read", counted(unreadable, "record")));
    stranded.incomplete = read.err().or(damaged);
    stranded
}

fn full(connection: &Connection, wants: &[Want], end: Instant) -> Fullness {
    match connection.shortage_until(end, wants)? {
        Some(Shortage::Exhausted(range)) => Ok(Some(range)),
        Some(Shortage::Taken(_)) | None => Ok(None),
    }
}
