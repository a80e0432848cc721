//! Many ADDs at once, each by the plugin's own driver, in virtual time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::claim::{Owner, Want};
use whereabouts_core::verbs;
use whereabouts_kubernetes::KubernetesRegistry;
use whereabouts_kubernetes::api::{ApiServer, ListQuery, Page, ReadError, Write, WriteError};
use whereabouts_kubernetes::memory::MemoryServer;
use whereabouts_kubernetes::object::{Kind, Metadata, Object};

use super::worlds::{ask, range};
use crate::world::{Step, World};

/// What a burst cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Burst {
    /// Requests of all ADDs.
    pub requests: usize,
    /// Writes of all ADDs.
    pub writes: usize,
    /// ADDs that were answered.
    pub added: usize,
    /// The time until the last answer.
    pub last: Duration,
}

/// The model, at a distance of a few milliseconds.
struct Distant {
    world: World,
    server: MemoryServer,
    requests: Cell<usize>,
    writes: Cell<usize>,
}

impl Distant {
    async fn travel(&self) {
        let micros = 1_000 + self.world.chance().below(2_000);
        self.world.sleep(Duration::from_micros(micros)).await;
    }

    async fn arrive(&self, writes: usize) {
        self.requests.set(self.requests.get() + 1);
        self.writes.set(self.writes.get() + writes);
        self.travel().await;
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
        let answer = self.server.list(query).await;
        self.travel().await;
        answer
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Page<Metadata>, ReadError> {
        self.arrive(0).await;
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

/// `count` ADDs that begin within `spread`, in an empty range.
pub fn burst(seed: u64, count: u64, spread: Duration) -> Burst {
    let world = World::new(seed);
    let server = Rc::new(Distant {
        world: world.clone(),
        server: MemoryServer::default(),
        requests: Cell::new(0),
        writes: Cell::new(0),
    });
    let added = Rc::new(RefCell::new(Burst::default()));
    let range = range("10.0.0.0/16", "10.0.0.1", "10.0.255.254");
    for number in 0..count {
        let (world, server, added) = (world.clone(), server.clone(), added.clone());
        let mut ask = ask(&format!("c{number}"), vec![Want::lowest(&range)]);
        ask.owner = Owner {
            node: Some(format!("node-{number}")),
            pod_uid: Some(format!("uid-{number}")),
            ..Owner::default()
        };
        let starts = world
            .chance()
            .below(u64::try_from(spread.as_micros()).unwrap_or(0) + 1);
        world.clone().spawn(async move {
            world.sleep(Duration::from_micros(starts)).await;
            let chance = Chance::new(seed << 32 | number);
            let deadline = Duration::from_mins(1);
            let registry = KubernetesRegistry::new(&*server, &world, &chance, deadline);
            let held = verbs::add(&registry, &ask).await;
            let mut added = added.borrow_mut();
            added.added += usize::from(held.is_ok());
            added.last = world.elapsed();
        });
    }
    while !matches!(world.step(), Step::Idle) {}
    let added = *added.borrow();
    Burst {
        requests: server.requests.get(),
        writes: server.writes.get(),
        ..added
    }
}
