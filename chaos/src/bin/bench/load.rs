//! Putting load on a cluster: many clients at once, all on one thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::timeout_at;
use whereabouts_chaos::cluster::Cluster;

use super::client::{Client, text};
use super::measure::{Cost, Meters};

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

/// What a load was, and who has what of it.
pub(crate) struct Load {
    pub(crate) cost: Cost,
    /// For each client, the pods that it served.
    pub(crate) done: Vec<Vec<u64>>,
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
    let ended = Rc::new(RefCell::new(Vec::new()));
    let meters = Meters::read(cluster);
    let tasks = clients
        .iter()
        .zip(work)
        .enumerate()
        .map(|(index, (client, numbers))| {
            let (client, ended) = (Rc::clone(client), Rc::clone(&ended));
            async move {
                for number in numbers {
                    let started = Instant::now();
                    act(&client, number).await?;
                    ended.borrow_mut().push(Ended {
                        client: index,
                        number,
                        started,
                        at: Instant::now(),
                    });
                }
                Ok(())
            }
        });
    together(runtime, tasks.collect())?;
    let wall = meters.start().elapsed();
    Ok(load(cluster, meters, clients.len(), &ended.borrow(), wall))
}

/// Every client carries out one operation after the other, for as long as `window`.
pub(crate) fn sustained<C: Client>(
    runtime: &Runtime,
    cluster: &Cluster,
    clients: &[Rc<C>],
    numbers: &Rc<Numbers>,
    window: Duration,
) -> Result<Load, String> {
    let ended = Rc::new(RefCell::new(Vec::new()));
    let meters = Meters::read(cluster);
    let until = meters.start() + window;
    let tasks = clients.iter().enumerate().map(|(index, client)| {
        let (client, ended, numbers) = (Rc::clone(client), Rc::clone(&ended), Rc::clone(numbers));
        async move {
            while Instant::now() < until {
                let (number, started) = (numbers.next(), Instant::now());
                let done = timeout_at((until + C::DRAIN).into(), client.allocate(number)).await;
                let Ok(done) = done else { break };
                done?;
                ended.borrow_mut().push(Ended {
                    client: index,
                    number,
                    started,
                    at: Instant::now(),
                });
            }
            Ok(())
        }
    });
    together(runtime, tasks.collect())?;
    Ok(load(
        cluster,
        meters,
        clients.len(),
        &ended.borrow(),
        window,
    ))
}

fn load(
    cluster: &Cluster,
    meters: Meters,
    clients: usize,
    ended: &[Ended],
    wall: Duration,
) -> Load {
    let mut done = vec![Vec::new(); clients];
    for operation in ended {
        done[operation.client].push(operation.number);
    }
    let until = meters.start() + wall;
    let in_time = ended
        .iter()
        .filter(|operation| operation.at <= until)
        .count() as u64;
    let took = ended
        .iter()
        .map(|operation| operation.at - operation.started);
    Load {
        cost: meters.cost(cluster, took.collect(), in_time, wall),
        done,
    }
}

/// Runs all of these at once, to the end of each; the first failure is told.
fn together(
    runtime: &Runtime,
    tasks: Vec<impl Future<Output = Result<(), String>> + 'static>,
) -> Result<(), String> {
    let local = LocalSet::new();
    let tasks: Vec<_> = tasks
        .into_iter()
        .map(|task| local.spawn_local(task))
        .collect();
    local.block_on(runtime, async {
        let mut result = Ok(());
        for task in tasks {
            result = result.and(task.await.map_err(text).and_then(|ended| ended));
        }
        result
    })
}
