//! A store in memory: [`State`], the model of etcd, behind the [`Store`] trait.
//!
//! Every request is done at once, and fails only as in a healthy etcd. Only [`Watch::next`] waits, for another user of the
//! same store. It has no clock and no threads.

mod model;
mod transaction;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub use model::{Options, State};

use super::{
    At, CommitError, Entry, Event, Lease, LeaseId, Outcome, Read, Revision, Store, Txn,
    Unavailable, View, Watch, WatchEnded, well_formed,
};

/// A store in memory. Its clones are one store, seen by several users.
#[derive(Clone, Default)]
pub struct MemoryStore(Rc<RefCell<Shared>>);

#[derive(Default)]
struct Shared {
    state: State,
    /// How often all watches were ended.
    cuts: u64,
    /// How many watches there have been.
    watches: u64,
    /// The watches that wait, by number.
    waiting: BTreeMap<u64, Waker>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(options: Options) -> Self {
        Self(Rc::new(RefCell::new(Shared {
            state: State::new(options),
            ..Shared::default()
        })))
    }

    /// Acts on the state behind the users' backs, and wakes the watches if that wrote anything.
    pub fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut shared = self.0.borrow_mut();
        let before = shared.state.revision();
        let result = act(&mut shared.state);
        let wrote = shared.state.revision() > before;
        drop(shared);
        if wrote {
            self.wake();
        }
        result
    }

    /// All keys, in order.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.borrow().state.entries().cloned().collect()
    }

    /// The revision of the last transaction that wrote.
    pub fn revision(&self) -> Revision {
        self.0.borrow().state.revision()
    }

    /// Lets time pass, and ends the leases whose time is then up.
    pub fn advance(&self, by: Duration) {
        self.with(|state| {
            state.advance(by);
            state.expire();
        });
    }

    /// Ends all watches there are, as the loss of a member does. Events that they have not told are lost.
    pub fn end_watches(&self) {
        self.0.borrow_mut().cuts += 1;
        self.wake();
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.0.borrow_mut().waiting);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryStore")
            .field(&self.0.borrow().state)
            .finish()
    }
}

impl Store for MemoryStore {
    type Watch = MemoryWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        self.with(|state| state.read(reads, at))
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        Ok(self.with(|state| state.commit(txn))?)
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        Ok(self.with(|state| state.grant(ttl_s)))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        self.with(|state| state.keep_alive(lease))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        self.with(|state| state.revoke(lease))
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<MemoryWatch, Unavailable> {
        well_formed::assert_keys(keys);
        let mut shared = self.0.borrow_mut();
        shared.watches += 1;
        Ok(MemoryWatch {
            number: shared.watches,
            cuts: shared.cuts,
            seen: shared.state.revision(),
            keys: keys.iter().cloned().collect(),
            store: self.clone(),
        })
    }
}

/// A watch on some keys of a [`MemoryStore`]. It ends when the store's watches are ended, or when
/// what it has not looked at is compacted.
#[derive(Debug)]
pub struct MemoryWatch {
    store: MemoryStore,
    number: u64,
    cuts: u64,
    seen: Revision,
    keys: BTreeSet<Vec<u8>>,
}

impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        poll_fn(|context| self.poll_next(context)).await
    }
}

impl MemoryWatch {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<Event>, WatchEnded>> {
        let mut shared = self.store.0.borrow_mut();
        if shared.cuts > self.cuts {
            return Poll::Ready(Err(WatchEnded("it was cut".to_owned())));
        }
        let events = match shared.state.events_after(self.seen, &self.keys) {
            Ok(events) => events,
            Err(error) => return Poll::Ready(Err(WatchEnded(error.to_string()))),
        };
        self.seen = shared.state.revision();
        if events.is_empty() {
            shared.waiting.insert(self.number, context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(events))
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.store.0.borrow_mut().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::executor::block_on;
    use futures::future::join;

    use super::*;
    use crate::Write;

    fn put(value: &str, lease: LeaseId) -> Txn {
        Txn {
            writes: vec![Write::Put {
                key: b"key".to_vec(),
                value: value.into(),
                lease,
            }],
            ..Txn::default()
        }
    }

    fn value_at(store: &MemoryStore, revision: Revision) -> Result<Vec<u8>, Unavailable> {
        let reads = [Read::Key(b"key".to_vec())];
        let view = block_on(store.read(&reads, At::Revision(revision)))?;
        Ok(view.answers[0][0].value.clone())
    }

    #[test]
    fn a_new_store_is_empty_at_revision_1() {
        let store = MemoryStore::default();
        assert_eq!((store.revision(), store.entries()), (1, vec![]));
    }

    #[test]
    fn a_compaction_forgets_what_was_before_it() {
        let store = MemoryStore::default();
        for value in ["2", "3", "4"] {
            block_on(store.commit(&put(value, 0))).expect("it is written");
        }
        assert_eq!(value_at(&store, 2), Ok(b"2".to_vec()));
        assert_eq!(store.with(|state| state.compact(3)), Ok(()));
        assert_eq!(value_at(&store, 2), Err(Unavailable::Compacted));
        assert_eq!(value_at(&store, 3), Ok(b"3".to_vec()));
        assert_eq!(value_at(&store, 4), Ok(b"4".to_vec()));
        let again = store.with(|state| state.compact(3));
        assert_eq!(again, Err(Unavailable::Compacted));
    }

    #[test]
    fn a_lease_ends_when_its_time_is_up_unless_kept_alive() {
        let store = MemoryStore::default();
        let lease = block_on(store.grant(10)).expect("it is granted");
        assert_eq!(lease.ttl, Duration::from_secs(10));
        block_on(store.commit(&put("", lease.id))).expect("it is written");
        store.advance(Duration::from_secs(9));
        block_on(store.keep_alive(lease.id)).expect("it lives");
        store.advance(Duration::from_secs(9));
        assert_eq!(store.entries().len(), 1);
        store.advance(Duration::from_secs(1));
        assert_eq!(store.entries(), []);
        let ended = block_on(store.keep_alive(lease.id));
        assert_eq!(ended, Err(Unavailable::LeaseNotFound));
    }

    #[test]
    fn a_lease_whose_time_is_up_holds_its_keys_until_it_ends() {
        let store = MemoryStore::default();
        let lease = block_on(store.grant(10)).expect("it is granted");
        block_on(store.commit(&put("", lease.id))).expect("it is written");
        store.with(|state| state.advance(Duration::from_secs(10)));
        assert_eq!(store.entries().len(), 1);
        let late = block_on(store.keep_alive(lease.id));
        assert_eq!(late, Err(Unavailable::LeaseNotFound));
        assert_eq!(store.with(State::expire), [lease.id]);
        assert_eq!(store.entries(), []);
    }

    #[test]
    fn the_least_time_to_live_is_granted_to_those_who_ask_for_less() {
        let store = MemoryStore::new(Options {
            least_ttl_s: 5,
            ..Options::default()
        });
        for (asked_s, granted_s) in [(1, 5), (5, 5), (6, 6)] {
            let lease = block_on(store.grant(asked_s)).expect("it is granted");
            assert_eq!(lease.ttl, Duration::from_secs(granted_s));
        }
    }

    #[test]
    fn a_watch_wakes_for_the_write_of_another_user() {
        let store = MemoryStore::default();
        let other = store.clone();
        let mut watch = block_on(store.watch(&[b"key".to_vec()])).expect("it is created");
        let write = put("", 0);
        let (events, outcome) = block_on(join(watch.next(), other.commit(&write)));
        outcome.expect("it is written");
        assert_eq!(events.map(|events| events[0].revision()), Ok(2));
    }

    #[test]
    fn a_watch_wakes_for_the_end_of_a_lease() {
        let store = MemoryStore::default();
        let lease = block_on(store.grant(10)).expect("it is granted");
        block_on(store.commit(&put("", lease.id))).expect("it is written");
        let mut watch = block_on(store.watch(&[b"key".to_vec()])).expect("it is created");
        let pass = async { store.advance(Duration::from_secs(10)) };
        let (events, ()) = block_on(join(watch.next(), pass));
        assert!(matches!(events.as_deref(), Ok([Event::Deleted { .. }])));
    }

    #[test]
    fn an_ended_watch_says_so_and_a_new_one_works() {
        let store = MemoryStore::default();
        let keys = [b"key".to_vec()];
        let mut ended = block_on(store.watch(&keys)).expect("it is created");
        let cut = async { store.end_watches() };
        let (events, ()) = block_on(join(ended.next(), cut));
        events.expect_err("it was cut");
        let mut watch = block_on(store.watch(&keys)).expect("it is created");
        block_on(store.commit(&put("", 0))).expect("it is written");
        assert!(matches!(watch.next().now_or_never(), Some(Ok(_))));
        assert!(matches!(ended.next().now_or_never(), Some(Err(_))));
    }
}
