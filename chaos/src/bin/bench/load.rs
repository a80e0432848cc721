//! Putting load on a cluster: many clients at once, all on one thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;
use whereabouts_chaos::cluster::Cluster;

use crate::client::{Client, text};
use crate::measure::{Cost, Meters, Pace};

/// How long a load may take until its last operation has ended. None is given up before: etcd's lock
/// service (3.4) wakes nobody any more when clients that wait for it have gone away.
const PATIENCE: Duration = Duration::from_mins(10);

/// The numbers of pods, each given out once.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Cell<u64>);

impl Numbers {
    /// The next so many.
    pub(crate) fn take(&self, count: u64) -> Vec<u64> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&self) -> u64 {
        self.0.replace(self.0.get() + 1)
    }
}

/// An operation that ended.
struct Ended {
    client: usize,
    number: u64,
    started: Instant,
    at: Instant,
}

/// The time in which operations are timed. They are counted before and after, too.
struct Window {
    start: Instant,
    end: Instant,
}

/// The numbers of a load, and the claims that its clients hold.
pub(crate) struct Load {
    pub(crate) cost: Cost,
    /// For each client, the pods that it served.
    pub(crate) done: Vec<Vec<u64>>,
}

/// The operations of a load that have ended.
#[derive(Default)]
struct Record(RefCell<Vec<Ended>>);

impl Record {
    /// Carries out a client's operation, and notes when it has ended.
    async fn note(
        &self,
        client: usize,
        number: u64,
        operation: impl Future<Output = Result<(), String>>,
    ) -> Result<(), String> {
        let started = Instant::now();
        operation.await?;
        self.0.borrow_mut().push(Ended {
            client,
            number,
            started,
            at: Instant::now(),
        });
        Ok(())
    }

    /// The load that it is the record of.
    fn load(&self, cluster: &Cluster, meters: Meters, clients: usize, window: &Window) -> Load {
        let ended = self.0.borrow();
        let mut done = vec![Vec::new(); clients];
        for operation in ended.iter() {
            done[operation.client].push(operation.number);
        }
        let timed = ended.iter().filter(|operation| operation.at > window.start);
        let in_time = timed.clone().filter(|operation| operation.at <= window.end);
        let pace = Pace {
            in_time: in_time.count() as u64,
            wall: window.end - window.start,
            took: timed
                .map(|operation| operation.at - operation.started)
                .collect(),
        };
        Load {
            cost: meters.cost(cluster, ended.len() as u64, pace),
            done,
        }
    }
}

/// Connects all clients.
pub(crate) fn connect<C: Client>(runtime: &Runtime, clients: &[Rc<C>]) -> Result<(), String> {
    let all = clients.iter().map(|client| {
        let client = Rc::clone(client);
        async move { client.connect().await }
    });
    together(runtime, all.collect())
}

/// Every client carries out `act` for each of its own numbers, one after the other.
pub(crate) fn each<C: Client>(
    runtime: &Runtime,
    cluster: &Cluster,
    clients: &[Rc<C>],
    work: Vec<Vec<u64>>,
    act: impl AsyncFn(&C, u64) -> Result<(), String> + Copy + 'static,
) -> Result<Load, String> {
    let record = Rc::new(Record::default());
    let meters = Meters::read(cluster);
    let tasks = clients
        .iter()
        .zip(work)
        .enumerate()
        .map(|(index, (client, numbers))| {
            let (client, record) = (Rc::clone(client), Rc::clone(&record));
            async move {
                for number in numbers {
                    record.note(index, number, act(&client, number)).await?;
                }
                Ok(())
            }
        });
    together(runtime, tasks.collect())?;
    let window = Window {
        start: meters.start(),
        end: Instant::now(),
    };
    Ok(record.load(cluster, meters, clients.len(), &window))
}

/// Every client carries out one operation after the other: for as long as `window` to warm up, so
/// that they are no longer in step, and for as long again to be timed.
pub(crate) fn sustained<C: Client>(
    runtime: &Runtime,
    cluster: &Cluster,
    clients: &[Rc<C>],
    numbers: &Rc<Numbers>,
    window: Duration,
) -> Result<Load, String> {
    let record = Rc::new(Record::default());
    let meters = Meters::read(cluster);
    let window = Window {
        start: meters.start() + window,
        end: meters.start() + 2 * window,
    };
    let until = window.end;
    let tasks = clients.iter().enumerate().map(|(index, client)| {
        let (client, record, numbers) = (Rc::clone(client), Rc::clone(&record), Rc::clone(numbers));
        async move {
            while Instant::now() < until {
                let number = numbers.next();
                record.note(index, number, client.allocate(number)).await?;
            }
            Ok(())
        }
    });
    together(runtime, tasks.collect())?;
    Ok(record.load(cluster, meters, clients.len(), &window))
}

/// Runs all of these at once, to the end of each, or to the first failure: others may wait for who failed.
fn together(
    runtime: &Runtime,
    tasks: Vec<impl Future<Output = Result<(), String>> + 'static>,
) -> Result<(), String> {
    let local = LocalSet::new();
    let tasks = tasks.into_iter().map(|task| {
        let task = local.spawn_local(task);
        async { task.await.map_err(text)? }
    });
    let all = async { timeout(PATIENCE, try_join_all(tasks)).await };
    let ended = local.block_on(runtime, all);
    ended.map_err(|_| format!("a load did not end within {PATIENCE:?}"))??;
    Ok(())
}
