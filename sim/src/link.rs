//! A client's link to the simulated etcd: delays, lost requests, lost replies, late requests.
//!
//! A request travels as a process of its own, so it arrives even when its sender has given up or
//! was killed meanwhile. The model behind the links has no faults.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::oneshot;
use whereabouts::store::memory::{MemoryStore, MemoryWatch, State};
use whereabouts::store::{
    At, CommitError, Event, Lease, LeaseId, Outcome, Read, Store, Txn, Unavailable, View, Watch,
    WatchEnded,
};

use crate::world::World;

/// How often links fail, in thousandths of calls, and how slow they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// A request that never arrives.
    pub lost_requests: u64,
    /// A reply that never arrives, after the request was carried out.
    pub lost_replies: u64,
    /// A request that arrives long after its sender has given up.
    pub late_requests: u64,
    /// A watch that ends when it should tell of something.
    pub ended_watches: u64,
    /// The longest usual delay of one way, in milliseconds.
    pub delay_ms: u64,
}

/// The simulated etcd with its weather. Clones share both.
#[derive(Clone, Debug)]
pub struct Link {
    world: World,
    store: MemoryStore,
    weather: Rc<Cell<Weather>>,
}

/// What becomes of one call.
struct Fate {
    request: Duration,
    reply: Duration,
    arrives: bool,
    returns: bool,
    /// Whether the sender is told of the loss, or left to its own bound.
    tells: bool,
}

/// No answer came.
struct NoAnswer;

impl Link {
    /// Links to `store` in calm weather.
    pub fn new(world: World, store: MemoryStore) -> Self {
        Self {
            world,
            store,
            weather: Rc::default(),
        }
    }

    /// Changes the weather for all clones.
    pub fn set_weather(&self, weather: Weather) {
        self.weather.set(weather);
    }

    fn delay(&self) -> Duration {
        let longest = self.weather.get().delay_ms * 1_000;
        Duration::from_micros(1 + self.world.chance().below(longest + 1))
    }

    fn strikes(&self, thousandths: u64) -> bool {
        thousandths > 0 && self.world.chance().below(1_000) < thousandths
    }

    fn fate(&self) -> Fate {
        let weather = self.weather.get();
        let late = self.strikes(weather.late_requests);
        let extra = if late {
            self.world.chance().below(90_000)
        } else {
            0
        };
        Fate {
            request: self.delay() + Duration::from_millis(extra),
            reply: self.delay(),
            arrives: !self.strikes(weather.lost_requests),
            returns: !self.strikes(weather.lost_replies),
            tells: self.strikes(500),
        }
    }

    async fn call<T: 'static>(
        &self,
        act: impl FnOnce(&mut State) -> T + 'static,
    ) -> Result<T, NoAnswer> {
        let fate = self.fate();
        let (sender, receiver) = oneshot::channel();
        let (world, store) = (self.world.clone(), self.store.clone());
        self.world.spawn(async move {
            world.sleep(fate.request).await;
            let answer = fate.arrives.then(|| store.with(act));
            world.sleep(fate.reply).await;
            match answer.filter(|_| fate.returns) {
                Some(answer) => drop(sender.send(answer)),
                None if fate.tells => drop(sender),
                None => {
                    world.sleep(Duration::from_secs(3_600)).await;
                    drop(sender);
                }
            }
        });
        receiver.await.map_err(|_| NoAnswer)
    }
}

fn no_answer<T>(result: Result<Result<T, Unavailable>, NoAnswer>) -> Result<T, Unavailable> {
    result.unwrap_or_else(|NoAnswer| Err(Unavailable::Later("the link was cut".to_owned())))
}

impl Store for Link {
    type Watch = LinkWatch;

    async fn read(&self, reads: &[Read], at: At) -> Result<View, Unavailable> {
        let reads = reads.to_vec();
        no_answer(self.call(move |state| state.read(&reads, at)).await)
    }

    async fn commit(&self, txn: &Txn) -> Result<Outcome, CommitError> {
        let txn = txn.clone();
        match self.call(move |state| state.commit(&txn)).await {
            Ok(result) => Ok(result?),
            Err(NoAnswer) => Err(CommitError::Unknown("the link was cut".to_owned())),
        }
    }

    async fn grant(&self, ttl_s: i64) -> Result<Lease, Unavailable> {
        no_answer(self.call(move |state| Ok(state.grant(ttl_s))).await)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Unavailable> {
        no_answer(self.call(move |state| state.keep_alive(lease)).await)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Unavailable> {
        no_answer(self.call(move |state| state.revoke(lease)).await)
    }

    async fn watch(&self, keys: &[Vec<u8>]) -> Result<LinkWatch, Unavailable> {
        self.world.sleep(self.delay()).await;
        let inner = self.store.watch(keys).await?;
        self.world.sleep(self.delay()).await;
        Ok(LinkWatch {
            inner,
            link: self.clone(),
            arriving: None,
        })
    }
}

/// A watch through a link: its events arrive after a delay, or it ends.
#[derive(Debug)]
pub struct LinkWatch {
    inner: MemoryWatch,
    link: Link,
    arriving: Option<(Duration, Vec<Event>)>,
}

impl Watch for LinkWatch {
    async fn next(&mut self) -> Result<Vec<Event>, WatchEnded> {
        if self.arriving.is_none() {
            let events = self.inner.next().await?;
            let at = self.link.world.elapsed() + self.link.delay();
            self.arriving = Some((at, events));
        }
        let at = self.arriving.as_ref().map_or(Duration::ZERO, |(at, _)| *at);
        let wait = at.saturating_sub(self.link.world.elapsed());
        self.link.world.sleep(wait).await;
        let (_, events) = self.arriving.take().expect("set above");
        if self.link.strikes(self.link.weather.get().ended_watches) {
            return Err(WatchEnded("the link was cut".to_owned()));
        }
        Ok(events)
    }
}
