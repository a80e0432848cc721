//! A process as a function of its answers: a store, a watch and a clock that answer from a tape.
//!
//! Production code runs on a [`Tape`] until it sends a request that has no answer yet. The request is then known, and
//! no store has seen it: the explorer carries it out.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use whereabouts_clock::Clock;
use whereabouts_store::{
    At, CommitError, Event, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View, Watch,
    WatchEnded,
};

/// A request of a process to its store.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// [`Store::read`].
    Read(Vec<Read>, At),
    /// [`Store::commit`].
    Commit(Txn),
    /// [`Store::grant`].
    Grant,
    /// [`Store::keep_alive`].
    KeepAlive(LeaseId),
    /// [`Store::revoke`].
    Revoke(LeaseId),
    /// [`Store::watch`].
    Watch(Vec<Vec<u8>>),
    /// [`Watch::next`] of its last watch.
    Next,
}

/// An answer to a process.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Of [`Request::Read`].
    View(Result<View, Unavailable>),
    /// Of [`Request::Commit`].
    Outcome(Result<Outcome, CommitError>),
    /// Of [`Request::Grant`].
    Lease(Lease),
    /// Of [`Request::KeepAlive`], [`Request::Revoke`] and [`Request::Watch`].
    Done(Result<(), Unavailable>),
    /// Of [`Request::Next`].
    Events(Result<Vec<Event>, WatchEnded>),
    /// No answer: the time came that the process set itself.
    Time,
}

/// The store and the clock of one run of one process. Clones are the same tape.
#[derive(Clone, Debug)]
pub(super) struct Tape(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    now: Cell<Duration>,
    /// The duration of a request on this clock.
    round_trip: Duration,
    asked: RefCell<Option<Request>>,
    answer: RefCell<Option<Answer>>,
    timer: Cell<Option<Duration>>,
}

impl Tape {
    /// A tape with nothing on it yet, on which a request takes so long.
    pub(super) fn new(round_trip: Duration) -> Self {
        Self(Rc::new(Inner {
            round_trip,
            ..Inner::default()
        }))
    }

    /// Gives the process what it waits for; it sees that when it is polled next.
    pub(super) fn give(&self, answer: Answer) {
        if matches!(answer, Answer::Time) {
            let timer = self
                .0
                .timer
                .get()
                .expect("time is given to who waits for it");
            self.0.now.set(timer);
        } else {
            self.0.now.set(self.0.now.get() + self.0.round_trip);
            *self.0.answer.borrow_mut() = Some(answer);
        }
        self.0.timer.set(None);
    }

    /// The request of the process that has no answer yet.
    pub(super) fn asked(&self) -> Option<Request> {
        self.0.asked.borrow().clone()
    }

    /// When the process wants to be woken, since its start.
    pub(super) fn timer(&self) -> Option<Duration> {
        self.0.timer.get()
    }

    async fn call(&self, request: Request) -> Answer {
        let _asking = Asking::new(self, request);
        poll_fn(|_| {
            let answer = self.0.answer.borrow_mut().take();
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// A request that is unanswered as long as this lives.
struct Asking<'t>(&'t Tape);

impl<'t> Asking<'t> {
    fn new(tape: &'t Tape, request: Request) -> Self {
        let before = tape.0.asked.borrow_mut().replace(request);
        assert!(before.is_none(), "a process asks one thing at a time");
        Self(tape)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.0.asked.borrow_mut().take();
    }
}

/// The watch that a process created last.
#[derive(Debug)]
pub(super) struct TapeWatch(Tape);

impl Watch for TapeWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        match self.0.call(Request::Next).await {
            Answer::Events(events) => events,
            other => unreachable!("a watch was answered {other:?}"),
        }
    }
}

impl Store for Tape {
    type Watch = TapeWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        match self.call(Request::Read(reads.to_vec(), at)).await {
            Answer::View(view) => view,
            other => unreachable!("a read was answered {other:?}"),
        }
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        match self.call(Request::Commit(txn.clone())).await {
            Answer::Outcome(outcome) => outcome,
            other => unreachable!("a commit was answered {other:?}"),
        }
    }

    async fn grant(&self, _: i64) -> Result<Lease, Unavailable> {
        match self.call(Request::Grant).await {
            Answer::Lease(lease) => Ok(lease),
            other => unreachable!("a grant was answered {other:?}"),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        match self.call(Request::KeepAlive(lease)).await {
            Answer::Done(done) => done,
            other => unreachable!("a renewal was answered {other:?}"),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        match self.call(Request::Revoke(lease)).await {
            Answer::Done(done) => done,
            other => unreachable!("a revocation was answered {other:?}"),
        }
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<TapeWatch, Unavailable> {
        match self.call(Request::Watch(keys.to_vec())).await {
            Answer::Done(done) => done.map(|()| TapeWatch(self.clone())),
            other => unreachable!("a watch was answered {other:?}"),
        }
    }
}

/// The origin of virtual instants. The code only uses differences of instants.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

impl Clock for Tape {
    fn now(&self) -> Instant {
        origin() + self.0.now.get()
    }

    fn since_epoch(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    async fn sleep_until(&self, instant: Instant) {
        let until = instant.duration_since(origin());
        poll_fn(|_| {
            if self.0.now.get() >= until {
                return Poll::Ready(());
            }
            self.0.timer.set(Some(until));
            Poll::Pending
        })
        .await;
    }
}
