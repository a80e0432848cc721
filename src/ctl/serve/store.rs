//! The store behind the page, for the tool: reads of keys below the prefix, and the life of a lease. Only a few answers are in
//! memory at the same time: each has a seat until its client has taken it, or was too slow.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::future::{self, Either};
use futures::stream;
use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use whereabouts_core::limits;
use whereabouts_etcd::EtcdStore;
use whereabouts_store::keys::Keys;
use whereabouts_store::{At, LeaseId, Order, Read, Store, Unavailable};

use crate::store_api::{self, About, AskedRead, Life, View};

/// Bytes that are handed to a connection at once.
const PIECE: usize = 64 << 10;

/// The way from requests to the store, which no other thread may ask.
pub(super) struct Reader {
    prefix: String,
    keys: Keys,
    seats: Arc<Semaphore>,
    questions: mpsc::Sender<Question>,
}

/// The other end of that way.
pub(super) struct Questions(mpsc::Receiver<Question>);

struct Question {
    asked: Asked,
    reply: oneshot::Sender<Result<String, Unavailable>>,
}

enum Asked {
    View(Vec<Read>, At),
    Life(LeaseId),
}

impl Questions {
    /// Asks `store` one question after the other, for ever. A question that nobody waits for any more is given up.
    pub(super) async fn put_to(mut self, store: &EtcdStore) {
        while let Some(Question { asked, mut reply }) = self.0.recv().await {
            let told = {
                let told = pin!(asked.told_by(store));
                match future::select(pin!(reply.closed()), told).await {
                    Either::Left(_) => continue,
                    Either::Right((told, _)) => told,
                }
            };
            // Its client may have gone just now.
            let _ = reply.send(told);
        }
    }
}

impl Asked {
    /// The text of the store's answer.
    async fn told_by(self, store: &EtcdStore) -> Result<String, Unavailable> {
        match self {
            Self::View(reads, at) => {
                let view = store.read(&reads, at).await?;
                Ok(store_api::answer(Ok(View::from(view))))
            }
            Self::Life(lease) => {
                let life = store.life_of(lease).await?;
                Ok(store_api::answer(Ok(life.map(Life::from))))
            }
        }
    }
}

impl Reader {
    /// Of a store whose keys are below `prefix`.
    pub(super) fn new(prefix: &str) -> (Self, Questions) {
        let (questions, receiver) = mpsc::channel(limits::PAGE_READERS);
        let reader = Self {
            prefix: prefix.to_owned(),
            keys: Keys::new(prefix),
            seats: Arc::new(Semaphore::new(limits::PAGE_READERS)),
            questions,
        };
        (reader, Questions(receiver))
    }

    /// Where the keys are.
    pub(super) fn about(&self) -> Response {
        let prefix = self.prefix.clone();
        json(Body::from(store_api::answer(Ok(About { prefix }))))
    }

    /// The answer to a read, or the reason why the request is none.
    pub(super) async fn read(&self, asked: &AskedRead) -> Result<Response, String> {
        let (reads, at) = asked.questions()?;
        self.check(&reads, at)?;
        Ok(self.answer(Asked::View(reads, at)).await)
    }

    /// The rest of a lease's life, if it lives.
    pub(super) async fn life_of(&self, lease: LeaseId) -> Response {
        self.answer(Asked::Life(lease)).await
    }

    /// The answer to `asked`, which has a seat until it is sent.
    async fn answer(&self, asked: Asked) -> Response {
        let bound = Duration::from_millis(limits::PAGE_READ_MS);
        match timeout(bound, self.ask(asked)).await {
            Ok(Some((_, Ok(text)))) if text.len() > limits::PAGE_ANSWER_BYTES => {
                failure(Unavailable::TooLarge)
            }
            Ok(Some((seat, Ok(text)))) => json(sent(text, seat)),
            Ok(Some((_, Err(error)))) => failure(error),
            Ok(None) => failure(Unavailable::NotNow("the page ends".to_owned())),
            Err(_) => failure(Unavailable::Later(format!("no answer in {bound:?}"))),
        }
    }

    /// The text of the store's answer and its seat; none when this process is about to end.
    async fn ask(
        &self,
        asked: Asked,
    ) -> Option<(OwnedSemaphorePermit, Result<String, Unavailable>)> {
        let seat = self.seats.clone().acquire_owned().await.ok()?;
        let (reply, told) = oneshot::channel();
        self.questions.send(Question { asked, reply }).await.ok()?;
        Some((seat, told.await.ok()?))
    }

    /// The reason why a read is none that the store is asked. An etcd without authentication would also answer with keys of
    /// others.
    fn check(&self, reads: &[Read], at: At) -> Result<(), String> {
        if reads.is_empty() || reads.len() > limits::TRANSACTION_OPERATIONS {
            return Err(format!("asked: {} reads", reads.len()));
        }
        if matches!(at, At::Revision(..=0)) {
            return Err(format!("asked: {at:?} is no revision"));
        }
        let (first, end) = self.keys.everything();
        if let Some(read) = reads.iter().find(|read| !is_within(read, &first, &end)) {
            return Err(format!("asked: {read:?} is no read below the prefix"));
        }
        // etcd builds the whole answer before anybody can measure it, and ignores the limit of a read that is sorted.
        let mut entries: u64 = 0;
        for read in reads {
            entries += match read {
                Read::Key(_) => 1,
                Read::Range {
                    order: Order::Key,
                    limit,
                    ..
                } => u64::from(*limit),
                Read::Range { .. } => {
                    return Err(format!("asked: {read:?} is not in the order of keys"));
                }
            };
        }
        if entries > limits::ENTRIES_PER_PAGE.into() {
            return Err(format!("asked: {entries} entries, which is too many"));
        }
        Ok(())
    }
}

/// Whether all keys of a read are from `first` on and before `end`.
fn is_within(read: &Read, first: &Vec<u8>, end: &Vec<u8>) -> bool {
    match read {
        Read::Key(key) => (first..end).contains(&key),
        Read::Range {
            from, until, limit, ..
        } => from >= first && from < until && until <= end && *limit > 0,
    }
}

fn failure(error: Unavailable) -> Response {
    json(Body::from(store_api::answer::<()>(Err(error))))
}

fn json(body: Body) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// A body that is sent in pieces. If its client is too slow, it ends early, which is no JSON.
fn sent(text: String, seat: OwnedSemaphorePermit) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    let bound = Duration::from_millis(limits::PAGE_SEND_MS);
    tokio::spawn(async move {
        let mut text = Bytes::from(text);
        let sending = async {
            while !text.is_empty() {
                let piece = text.split_to(text.len().min(PIECE));
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        };
        // A client that is too slow, or gone, has no other answer to come.
        let _ = timeout(bound, sending).await;
        drop(seat);
    });
    Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        let piece: Option<Bytes> = receiver.recv().await;
        piece.map(|piece| (Ok::<_, Infallible>(piece), receiver))
    }))
}
