//! Where contenders meet: one cluster, one thread, and the same clients for each of them.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::Runtime;
use whereabouts_chaos::cluster::Cluster;
use whereabouts_etcd::Access;

use crate::client::{Client, Connection, Whereabouts};
use crate::load::{self, Load, Numbers};
use crate::measure::Cost;
use crate::range::audited;
use crate::rivals::{CompareRetry, GlobalLock, LockService, RangeLock, Raw, RawKind};
use crate::setting::Setting;
use crate::workload::Workload;

/// Below what the rivals keep their blocks and claims.
const RIVALS_PREFIX: &str = "/rivals/";

/// Operations by which the bytes of an ADD are measured.
const SIZED_BY: u64 = 20;

/// The kind of clients under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The production code.
    Whereabouts,
    /// A lock per range, without batches, with etcd's lock service.
    LockService,
    /// The same, with a lock that wakes who is next at once.
    RangeLock,
    /// Compare and retry, without a lock.
    CompareRetry,
    /// One lock for all, and whole lists: the ancestor's way.
    GlobalLock,
    /// etcd alone.
    Raw(RawKind),
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whereabouts => "whereabouts",
            Self::LockService => "range lock (etcd's)",
            Self::RangeLock => "range lock (tuned)",
            Self::CompareRetry => "compare and retry",
            Self::GlobalLock => "global lock",
            Self::Raw(RawKind::Put) => "raw put",
            Self::Raw(RawKind::Transaction) => "raw txn",
            Self::Raw(RawKind::ReadAndTransaction) => "raw get + txn",
        })
    }
}

/// How operations come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Every client one operation, all at once.
    Burst,
    /// Every client one operation after the other: for so long to warm up, and for as long again.
    Sustained(Duration),
}

/// A cluster, and what all loads on it have in common.
pub(crate) struct Arena<'c> {
    pub(crate) runtime: &'c Runtime,
    pub(crate) cluster: &'c Cluster,
    /// How clients reach it: perhaps not directly.
    access: Access,
    seed: u64,
    numbers: Rc<Numbers>,
    next_range: Cell<u16>,
    /// Bytes to etcd of an uncontended ADD.
    add_bytes: usize,
}

/// A load of the production code, and the clients that can undo it.
pub(crate) struct Played {
    pub(crate) cost: Cost,
    clients: Vec<Rc<Whereabouts>>,
    done: Vec<Vec<u64>>,
}

impl<'c> Arena<'c> {
    /// An arena on a fresh cluster, which clients reach by `access`.
    pub(crate) fn new(
        setting: &Setting,
        runtime: &'c Runtime,
        cluster: &'c Cluster,
        access: Access,
    ) -> Result<Self, String> {
        let mut arena = Self {
            runtime,
            cluster,
            access,
            seed: setting.seed,
            numbers: Rc::new(Numbers::default()),
            next_range: Cell::new(0),
            add_bytes: 0,
        };
        let ranges = arena.ranges(1);
        // The first one makes the block.
        arena.warm_up(&ranges, 1)?;
        let sized = arena.warm_up(&ranges, SIZED_BY)?;
        let bytes = sized.spent.received_bytes / sized.operations;
        arena.add_bytes = usize::try_from(bytes).expect("bytes of an ADD fit");
        Ok(arena)
    }

    /// So many ADDs, one after the other.
    fn warm_up(&self, ranges: &[Rc<Workload>], operations: u64) -> Result<Cost, String> {
        let clients = self.whereabouts(1, ranges);
        load::connect(self.runtime, &clients)?;
        let work = vec![self.numbers.take(operations)];
        let load = load::each(self.runtime, self.cluster, &clients, work, allocate)?;
        self.undo(&clients, load.done.clone())?;
        Ok(load.cost)
    }

    /// So many ranges that nobody has used yet.
    pub(crate) fn ranges(&self, count: u16) -> Vec<Rc<Workload>> {
        let first = self.next_range.get();
        self.next_range.set(first + count);
        let all = first..first + count;
        all.map(|index| Rc::new(Workload::of_many(index, self.seed)))
            .collect()
    }

    /// A range of so many addresses that nobody has used yet.
    pub(crate) fn range_of(&self, size: u32) -> Rc<Workload> {
        let index = self.next_range.replace(self.next_range.get() + 1);
        Rc::new(Workload::of_size(index, size, self.seed))
    }

    /// Puts the production code under load, and leaves its claims.
    pub(crate) fn play(
        &self,
        pattern: Pattern,
        clients: usize,
        ranges: &[Rc<Workload>],
    ) -> Result<Played, String> {
        let clients = self.whereabouts(clients, ranges);
        let Load { cost, done } = self.load(pattern, &clients)?;
        Ok(Played {
            cost,
            clients,
            done,
        })
    }

    /// Deletes what was played, by the same clients.
    pub(crate) fn take_back(&self, played: &Played) -> Result<Cost, String> {
        self.undo(&played.clients, played.done.clone())
    }

    /// Puts a contender under load on fresh ranges; the production code leaves no claim.
    pub(crate) fn run(
        &self,
        contender: Contender,
        pattern: Pattern,
        clients: usize,
        ranges: u16,
    ) -> Result<Cost, String> {
        let ranges = self.ranges(ranges);
        match contender {
            Contender::Whereabouts => {
                let played = self.play(pattern, clients, &ranges)?;
                self.take_back(&played)?;
                Ok(played.cost)
            }
            Contender::LockService => {
                let mut connections = self.connections(RIVALS_PREFIX, clients, &ranges);
                let clients = self.runtime.block_on(async {
                    let mut made = Vec::with_capacity(clients);
                    for connection in &mut connections {
                        made.push(Rc::new(LockService::new(&self.access, connection).await?));
                    }
                    Ok::<_, String>(made)
                })?;
                self.load(pattern, &clients).map(|load| load.cost)
            }
            Contender::RangeLock => {
                let clients = self.connections(RIVALS_PREFIX, clients, &ranges);
                let clients = clients.zip(0..).map(|(c, number)| RangeLock(c, number));
                let clients: Vec<_> = clients.map(Rc::new).collect();
                self.load(pattern, &clients).map(|load| load.cost)
            }
            Contender::CompareRetry => {
                let clients = self.connections(RIVALS_PREFIX, clients, &ranges);
                let clients: Vec<_> = clients.map(|c| Rc::new(CompareRetry(c))).collect();
                self.load(pattern, &clients).map(|load| load.cost)
            }
            Contender::GlobalLock => {
                let make = async |index: usize| {
                    let cidr = ranges[index % ranges.len()].cidr();
                    let IpAddr::V4(network) = cidr.network() else {
                        return Err(format!("{cidr} is not of IPv4"));
                    };
                    GlobalLock::new(&self.access, &cidr.to_string(), network).await
                };
                let clients = self.made(clients, make)?;
                self.load(pattern, &clients).map(|load| load.cost)
            }
            Contender::Raw(kind) => {
                let make = async |index: usize| {
                    let name = format!("{}-{index}", ranges[0].cidr().network());
                    let bytes = match kind {
                        RawKind::ReadAndTransaction => self.add_bytes,
                        // As the commit alone.
                        RawKind::Put | RawKind::Transaction => self.commit_bytes(),
                    };
                    Raw::new(&self.access, kind, name, bytes).await
                };
                let clients = self.made(clients, make)?;
                self.load(pattern, &clients).map(|load| load.cost)
            }
        }
    }

    /// Bytes to etcd of an ADD's transaction, without those of its read.
    pub(crate) fn commit_bytes(&self) -> usize {
        self.add_bytes * 3 / 4
    }

    /// The faults of a store whose claims were all deleted.
    pub(crate) fn complaints(&self, scenario: &str) -> Result<Vec<String>, String> {
        let connection = self
            .connections(&self.access.prefix, 1, &self.ranges(1))
            .next();
        let connection = connection.expect("there is one");
        let audit = self.runtime.block_on(audited(&connection))?;
        Ok(crate::range::judge::judge_audit(scenario, &audit, 0))
    }

    /// Clients with the production code.
    pub(crate) fn whereabouts(
        &self,
        count: usize,
        ranges: &[Rc<Workload>],
    ) -> Vec<Rc<Whereabouts>> {
        self.connections(&self.access.prefix, count, ranges)
            .map(|connection| Rc::new(Whereabouts(connection)))
            .collect()
    }

    fn connections(
        &self,
        prefix: &str,
        count: usize,
        ranges: &[Rc<Workload>],
    ) -> impl Iterator<Item = Connection> {
        let access = Access {
            prefix: prefix.to_owned(),
            ..self.access.clone()
        };
        (0..count).map(move |index| {
            let seed = self.seed.wrapping_add(index as u64);
            Connection::new(&access, &ranges[index % ranges.len()], seed)
        })
    }

    fn made<C>(
        &self,
        count: usize,
        make: impl AsyncFn(usize) -> Result<C, String>,
    ) -> Result<Vec<Rc<C>>, String> {
        self.runtime.block_on(async {
            let mut clients = Vec::with_capacity(count);
            for index in 0..count {
                clients.push(Rc::new(make(index).await?));
            }
            Ok(clients)
        })
    }

    fn load<C: Client>(&self, pattern: Pattern, clients: &[Rc<C>]) -> Result<Load, String> {
        load::connect(self.runtime, clients)?;
        match pattern {
            Pattern::Burst => {
                let work = clients.iter().map(|_| self.numbers.take(1)).collect();
                load::each(self.runtime, self.cluster, clients, work, allocate)
            }
            Pattern::Sustained(window) => {
                load::sustained(self.runtime, self.cluster, clients, &self.numbers, window)
            }
        }
    }

    fn undo(&self, clients: &[Rc<Whereabouts>], done: Vec<Vec<u64>>) -> Result<Cost, String> {
        let del = async |client: &Whereabouts, number| client.del(number).await;
        load::each(self.runtime, self.cluster, clients, done, del).map(|load| load.cost)
    }
}

async fn allocate<C: Client>(client: &C, number: u64) -> Result<(), String> {
    client.allocate(number).await
}
