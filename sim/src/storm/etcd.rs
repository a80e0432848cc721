//! One etcd with a bounded capacity: it serves its requests in the order of their arrival, and each takes its time.
//!
//! The store is the memory model. A request that its sender has given up stays in line. A read of this kind is dropped
//! cheaply, as in etcd, which sees that the stream ended. A commit is carried out at its full price.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures::channel::oneshot;
use whereabouts_store::memory::State;
use whereabouts_store::{
    At, CommitError, Entry, Event, Lease, LeaseId, Outcome, Purpose, Read, Revision, Store, Txn,
    Unavailable, View, Watch, WatchEnded,
};

use super::service::Service;
use crate::world::World;

/// Commits that may wait. etcd refuses further ones ("too many requests") if it is this far behind
/// (`maxGapBetweenApplyAndCommitIndex`).
const COMMITS_WAITING: usize = 5_000;

/// Revisions that stay readable. etcd keeps those of minutes.
const HISTORY: Revision = 20_000;

/// Requests and commits that etcd has served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were sent, those included that were refused or given up.
    pub requests: u64,
    /// Transactions that passed raft, refused compares included.
    pub commits: u64,
    /// Commits whose compares did not hold.
    pub conflicts: u64,
    /// Compares, writes and reads of all commits.
    pub operations: u64,
    /// Questions of all reads, and the entries that answered them.
    pub questions: u64,
    /// Reads that their senders had given up.
    pub dropped: u64,
    /// Commits that were carried out after their senders had given them up.
    pub late: u64,
    /// Commits that were refused because too many waited.
    pub refused: u64,
    /// The largest number of requests in line.
    pub longest_line: usize,
}

impl Counts {
    /// What was served since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            commits: self.commits - before.commits,
            conflicts: self.conflicts - before.conflicts,
            operations: self.operations - before.operations,
            questions: self.questions - before.questions,
            dropped: self.dropped - before.dropped,
            late: self.late - before.late,
            refused: self.refused - before.refused,
            longest_line: self.longest_line,
        }
    }
}

/// An etcd. Clones are the same one.
#[derive(Clone)]
pub(super) struct Etcd(Rc<Inner>);

struct Inner {
    world: World,
    service: Service,
    state: RefCell<State>,
    line: RefCell<VecDeque<Waiting>>,
    commits_waiting: Cell<usize>,
    idle: RefCell<Option<Waker>>,
    /// Work that was done between two requests, and delays the next one.
    debt: Cell<Duration>,
    watches: RefCell<BTreeMap<Vec<u8>, Vec<Rc<Mailbox>>>>,
    counts: RefCell<Counts>,
}

/// A request in line.
struct Waiting {
    arrives: Duration,
    cost: Duration,
    is_commit: bool,
    job: Box<dyn Job>,
}

trait Job {
    fn is_given_up(&self) -> bool;

    /// Carries the request out and answers it. The result is the number of operations that were not known before.
    fn serve(self: Box<Self>, state: &mut State) -> usize;
}

struct Call<T, F> {
    act: F,
    reply: oneshot::Sender<T>,
}

impl<T, F: FnOnce(&mut State) -> (T, usize)> Job for Call<T, F> {
    fn is_given_up(&self) -> bool {
        self.reply.is_canceled()
    }

    fn serve(self: Box<Self>, state: &mut State) -> usize {
        let (answer, entries) = (self.act)(state);
        // A sender that has given up hears nothing.
        let _ = self.reply.send(answer);
        entries
    }
}

impl Etcd {
    /// A new etcd in `world`, and its server as a process of it.
    pub(super) fn start(world: &World, service: Service) -> Self {
        let etcd = Self(Rc::new(Inner {
            world: world.clone(),
            service,
            state: RefCell::default(),
            line: RefCell::default(),
            commits_waiting: Cell::new(0),
            idle: RefCell::default(),
            debt: Cell::default(),
            watches: RefCell::default(),
            counts: RefCell::default(),
        }));
        let (server, leases) = (etcd.clone(), etcd.clone());
        world.spawn(async move { server.serve().await });
        world.spawn(async move { leases.end_leases().await });
        etcd
    }

    /// What it has served.
    pub(super) fn counts(&self) -> Counts {
        self.0.counts.borrow().clone()
    }

    /// All keys, in order.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.0.state.borrow().entries().cloned().collect()
    }

    async fn serve(&self) {
        let mut synced = 0;
        loop {
            let next = self.next().await;
            self.sleep_until(next.arrives).await;
            let is_given_up = next.job.is_given_up();
            if next.is_commit {
                if synced == 0 {
                    synced = self.arrived_commits();
                    self.0.world.sleep(self.0.service.sync).await;
                }
                synced -= 1;
                self.0.commits_waiting.set(self.0.commits_waiting.get() - 1);
                self.0.counts.borrow_mut().late += u64::from(is_given_up);
            } else if is_given_up {
                self.0.counts.borrow_mut().dropped += 1;
                self.owe(self.0.service.refusal);
                continue;
            }
            self.0.world.sleep(next.cost + self.0.debt.take()).await;
            let further = self.change(|state| next.job.serve(state));
            self.owe(self.0.service.operation * u32::try_from(further).expect("a bounded request"));
        }
    }

    /// The next request, once there is one.
    async fn next(&self) -> Waiting {
        poll_fn(|context| {
            if let Some(next) = self.0.line.borrow_mut().pop_front() {
                return Poll::Ready(next);
            }
            *self.0.idle.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The commits that one sync of the log covers: the next one, and those that have arrived behind it.
    fn arrived_commits(&self) -> usize {
        let now = self.0.world.elapsed();
        let line = self.0.line.borrow();
        let arrived = line.iter().take_while(|waiting| waiting.arrives <= now);
        1 + arrived.filter(|waiting| waiting.is_commit).count()
    }

    fn owe(&self, work: Duration) {
        self.0.debt.set(self.0.debt.get() + work);
    }

    async fn sleep_until(&self, at: Duration) {
        let pause = at.saturating_sub(self.0.world.elapsed());
        if !pause.is_zero() {
            self.0.world.sleep(pause).await;
        }
    }

    /// Acts on the state, and tells the watches what changed.
    fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.state.borrow_mut();
        let before = state.revision();
        let result = act(&mut state);
        let arrives = self.0.world.elapsed() + self.0.service.one_way();
        let watches = self.0.watches.borrow();
        let mut told = 0;
        for event in state.changes(before) {
            for mailbox in watches.get(event.key()).into_iter().flatten() {
                mailbox.put(arrives, event.clone());
                told += 1;
            }
        }
        self.owe(self.0.service.operation * told);
        let revision = state.revision();
        if revision > before && revision % HISTORY == 0 {
            let compacted = state.compact(revision - HISTORY / 2);
            compacted.expect("a revision of the past that was not compacted");
        }
        result
    }

    async fn end_leases(&self) {
        let step = Duration::from_millis(500);
        loop {
            self.0.world.sleep(step).await;
            self.change(|state| {
                state.advance(step);
                state.expire()
            });
        }
    }

    async fn call<T: 'static>(
        &self,
        cost: Duration,
        is_commit: bool,
        act: impl FnOnce(&mut State) -> (Result<T, Unavailable>, usize) + 'static,
    ) -> Result<T, Unavailable> {
        let inner = &self.0;
        inner.counts.borrow_mut().requests += 1;
        if is_commit && inner.commits_waiting.get() >= COMMITS_WAITING {
            inner.counts.borrow_mut().refused += 1;
            self.owe(inner.service.refusal);
            inner.world.sleep(2 * inner.service.one_way()).await;
            return Err(Unavailable::NotNow("too many requests".to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        self.push(Waiting {
            arrives: inner.world.elapsed() + inner.service.one_way(),
            cost,
            is_commit,
            job: Box::new(Call { act, reply }),
        });
        let answer = answer.await.expect("the server answers each request");
        inner.world.sleep(inner.service.one_way()).await;
        answer
    }

    fn push(&self, waiting: Waiting) {
        let inner = &self.0;
        if waiting.is_commit {
            inner.commits_waiting.set(inner.commits_waiting.get() + 1);
        }
        let mut line = inner.line.borrow_mut();
        line.push_back(waiting);
        let mut counts = inner.counts.borrow_mut();
        counts.longest_line = counts.longest_line.max(line.len());
        if let Some(server) = inner.idle.borrow_mut().take() {
            server.wake();
        }
    }
}

fn entries_of(view: &View) -> usize {
    view.answers.iter().map(Vec::len).sum()
}

impl Store for Etcd {
    type Watch = KeyWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        let cost = self.0.service.read_of(reads.len());
        let (reads, etcd) = (reads.to_vec(), self.clone());
        let read = move |state: &mut State| {
            let view = state.read(&reads, at);
            let entries = view.as_ref().map_or(0, entries_of);
            etcd.0.counts.borrow_mut().questions += (reads.len() + entries) as u64;
            (view, entries)
        };
        self.call(cost, false, read).await
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        // Compares come first. What comes then depends on them.
        let compares = txn.compares.len();
        let cost = self.0.service.commit_of(compares);
        let (txn, etcd) = (txn.clone(), self.clone());
        let commit = move |state: &mut State| {
            let outcome = state.commit(&txn);
            let further = match &outcome {
                Ok(Outcome::Done(_)) => txn.writes.len() + txn.then.len(),
                Ok(Outcome::Conflict(_)) => txn.instead.len() + txn.otherwise.len(),
                Err(_) => 0,
            };
            let mut counts = etcd.0.counts.borrow_mut();
            counts.commits += 1;
            counts.operations += (compares + further) as u64;
            let entries = match &outcome {
                Ok(Outcome::Done(view)) => entries_of(view),
                Ok(Outcome::Conflict(view)) => {
                    counts.conflicts += u64::from(txn.purpose != Purpose::Fence);
                    entries_of(view)
                }
                Err(_) => 0,
            };
            (outcome, further + entries)
        };
        Ok(self.call(cost, true, commit).await?)
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        let grant = move |state: &mut State| (Ok(state.grant(ttl_s)), 0);
        self.call(self.0.service.commit, true, grant).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        let keep = move |state: &mut State| (state.keep_alive(lease), 0);
        self.call(self.0.service.read, false, keep).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        let revoke = move |state: &mut State| (state.revoke(lease), 0);
        self.call(self.0.service.commit, true, revoke).await
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<KeyWatch, Unavailable> {
        let mailbox = Rc::new(Mailbox::default());
        let watch = KeyWatch {
            etcd: self.clone(),
            keys: keys.to_vec(),
            mailbox: mailbox.clone(),
        };
        let (etcd, keys) = (self.clone(), keys.to_vec());
        let begin = move |_: &mut State| {
            let mut watches = etcd.0.watches.borrow_mut();
            for key in keys {
                watches.entry(key).or_default().push(mailbox.clone());
            }
            (Ok(()), 0)
        };
        self.call(self.0.service.read, false, begin).await?;
        Ok(watch)
    }
}

/// The events that a watch has not looked at, and the times of their arrival.
#[derive(Default)]
struct Mailbox {
    events: RefCell<VecDeque<(Duration, Event)>>,
    reader: RefCell<Option<Waker>>,
}

impl Mailbox {
    fn put(&self, arrives: Duration, event: Event) {
        self.events.borrow_mut().push_back((arrives, event));
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

/// A watch on some keys.
pub(super) struct KeyWatch {
    etcd: Etcd,
    keys: Vec<Vec<u8>>,
    mailbox: Rc<Mailbox>,
}

impl Watch for KeyWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        let arrives = poll_fn(|context| {
            if let Some((arrives, _)) = self.mailbox.events.borrow().front() {
                return Poll::Ready(*arrives);
            }
            *self.mailbox.reader.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        self.etcd.sleep_until(arrives).await;
        let events = self
            .mailbox
            .events
            .borrow_mut()
            .drain(..)
            .collect::<Vec<_>>();
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }
}

impl Drop for KeyWatch {
    fn drop(&mut self) {
        let mut watches = self.etcd.0.watches.borrow_mut();
        for key in &self.keys {
            let Some(mailboxes) = watches.get_mut(key) else {
                continue;
            };
            mailboxes.retain(|mailbox| !Rc::ptr_eq(mailbox, &self.mailbox));
            if mailboxes.is_empty() {
                watches.remove(key);
            }
        }
    }
}
