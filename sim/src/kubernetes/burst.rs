//! Many ADDs at once, and then their DELs, each by the plugin's own driver, in virtual time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::claim::{Ask, Owner, Want};
use whereabouts_core::verbs;
use whereabouts_kubernetes::KubernetesRegistry;
use whereabouts_kubernetes::api::{
    ApiServer, ListAt, ListQuery, Page, ReadError, Write, WriteError,
};
use whereabouts_kubernetes::memory::MemoryServer;
use whereabouts_kubernetes::object::{Kind, Metadata, Object};

use super::worlds::{ask, range};
use crate::world::{Step, World};

/// The time between two looks of a server's cache at the revision of all kinds, in microseconds (Kubernetes 1.31 and later).
const CACHE_MICROS: u64 = 100_000;

/// What a burst cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Burst {
    /// Requests of all verbs.
    pub requests: usize,
    /// Writes of all verbs.
    pub writes: usize,
    /// Verbs that succeeded.
    pub ended: usize,
    /// The time until the last answer.
    pub last: Duration,
}

/// Processors of the server, and the time that a request takes of one of them, in microseconds: measured at 15 ms for the five
/// requests of an ADD.
const PROCESSORS: usize = 2;
const SERVICE_MICROS: u64 = 3_000;

/// The model, at a distance of a few milliseconds, on a server of bounded capacity.
struct Distant {
    world: World,
    server: MemoryServer,
    /// The times at which the processors are free.
    free: RefCell<[Duration; PROCESSORS]>,
    requests: Cell<usize>,
    writes: Cell<usize>,
}

impl Distant {
    async fn travel(&self) {
        let micros = 1_000 + self.world.chance().below(2_000);
        self.world.sleep(Duration::from_micros(micros)).await;
    }

    /// A list of the present waits until the server's cache has caught up with the writes of all kinds.
    async fn catch_up(&self, query: &ListQuery) {
        if query.at == ListAt::Present {
            let micros = self.world.chance().below(CACHE_MICROS);
            self.world.sleep(Duration::from_micros(micros)).await;
        }
    }

    async fn arrive(&self, writes: usize) {
        self.requests.set(self.requests.get() + 1);
        self.writes.set(self.writes.get() + writes);
        self.travel().await;
        let now = self.world.elapsed();
        let served = {
            let mut free = self.free.borrow_mut();
            let next = free.iter_mut().min().expect("there is a processor");
            *next = now.max(*next) + Duration::from_micros(SERVICE_MICROS);
            *next
        };
        self.world.sleep(served.saturating_sub(now)).await;
    }
}

impl ApiServer for Distant {
    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, ReadError> {
        self.arrive(0).await;
        let answer = self.server.get(kind, name).await;
        self.travel().await;
        answer
    }

    async fn list(&self, query: &ListQuery) -> Result<Page<Object>, ReadError> {
        self.arrive(0).await;
        self.catch_up(query).await;
        let answer = self.server.list(query).await;
        self.travel().await;
        answer
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError> {
        self.arrive(0).await;
        self.catch_up(query).await;
        let answer = self.server.list_metadata(query).await;
        self.travel().await;
        answer
    }

    async fn write(&self, write: &Write) -> Result<Option<Object>, WriteError> {
        self.arrive(1).await;
        let answer = self.server.write(write).await;
        self.travel().await;
        answer
    }
}

/// `count` ADDs that begin within `spread`, in an empty range, and then the DELs of them all.
pub fn burst(seed: u64, count: u64, spread: Duration) -> [Burst; 2] {
    let world = World::new(seed);
    let server = Rc::new(Distant {
        world: world.clone(),
        server: MemoryServer::default(),
        free: RefCell::default(),
        requests: Cell::new(0),
        writes: Cell::new(0),
    });
    let range = range("10.0.0.0/16", "10.0.0.1", "10.0.255.254");
    let asks = (0..count).map(|number| {
        let mut ask = ask(&format!("c{number}"), vec![Want::lowest(&range)]);
        ask.owner = Owner {
            node: Some(format!("node-{number}")),
            pod_uid: Some(format!("uid-{number}")),
            ..Owner::default()
        };
        ask
    });
    let asks: Vec<Ask> = asks.collect();
    let adds = at_once(&server, &asks, spread, async |registry, ask| {
        verbs::add(registry, ask).await.is_ok()
    });
    let dels = at_once(&server, &asks, spread, async |registry, ask| {
        verbs::del(registry, &ask.attachment, &[]).await.is_ok()
    });
    [adds, dels]
}

type Registry<'r> = KubernetesRegistry<'r, Distant, World>;

/// A verb for each of `asks`.
fn at_once(
    server: &Rc<Distant>,
    asks: &[Ask],
    spread: Duration,
    verb: impl AsyncFn(&Registry<'_>, &Ask) -> bool + Copy + 'static,
) -> Burst {
    let world = &server.world;
    let (requests, writes) = (server.requests.get(), server.writes.get());
    let begun = world.elapsed();
    let ended = Rc::new(Cell::new((0, Duration::ZERO)));
    for ask in asks {
        let (world, server, ended, ask) =
            (world.clone(), server.clone(), ended.clone(), ask.clone());
        let seed = world.chance().bits();
        let micros = u64::try_from(spread.as_micros()).unwrap_or(0);
        let starts = world.chance().below(micros + 1);
        world.clone().spawn(async move {
            world.sleep(Duration::from_micros(starts)).await;
            let chance = Chance::new(seed);
            let deadline = Duration::from_mins(1);
            let registry = KubernetesRegistry::new(&*server, &world, &chance, deadline);
            let is_done = verb(&registry, &ask).await;
            ended.set((ended.get().0 + usize::from(is_done), world.elapsed()));
        });
    }
    while !matches!(world.step(), Step::Idle) {}
    let (ended, last) = ended.get();
    Burst {
        requests: server.requests.get() - requests,
        writes: server.writes.get() - writes,
        ended,
        last: last.saturating_sub(begun),
    }
}
