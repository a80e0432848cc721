//! A storm: many nodes start their pods at once, and one etcd has a bounded capacity.
//!
//! Production code from the verbs downwards runs on virtual time against `etcd`. First, rising loads find the largest
//! throughput of the protocol. Then all pods come at a multiple of it, and the kubelets try failed pods again.

mod etcd;
mod pod;
mod report;
mod service;
mod tally;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use whereabouts_audit::invariants::audit;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::{Entry, record};

pub use etcd::Counts;
pub use report::{Level, Report, Run};
pub use service::{OPERATIONS_OF_AN_ADD, Service};

use crate::world::{Step, World};
use etcd::Etcd;
use tally::Tally;

/// The nodes, pods and ranges of a storm, and the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed of all chance.
    pub seed: u64,
    /// Nodes.
    pub nodes: u64,
    /// Pods of each node.
    pub pods: u64,
    /// Ranges. Each node takes its addresses from one of them.
    pub ranges: u64,
    /// The offered load of the storm, as a multiple of the largest throughput.
    pub overload: u64,
    /// The service times of etcd.
    pub service: Service,
}

impl Plan {
    fn all_pods(&self) -> u64 {
        self.nodes * self.pods
    }
}

/// The time for which each level of the rising load is offered.
const LEVEL: Duration = Duration::from_secs(10);

/// The beginning of a level that is not measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// The first level, in ADDs a second.
const FIRST_LEVEL: u64 = 400;

/// A storm ends after this time even if pods have no address.
const LONGEST: Duration = Duration::from_secs(1_800);

/// One world of nodes and their etcd.
#[derive(Clone)]
struct Storm {
    plan: Plan,
    world: World,
    etcd: Etcd,
    keys: Rc<Keys>,
    tally: Rc<RefCell<Tally>>,
}

/// Finds the largest throughput of the protocol, and lets the storm come.
pub fn storm(plan: &Plan, tell: &dyn Fn(&str)) -> Report {
    let levels = rising_load(plan, tell);
    let peak = levels
        .iter()
        .map(|level| level.completed)
        .fold(0.0, f64::max);
    let offered = peak * f64::from(u32::try_from(plan.overload).expect("a small multiple"));
    let pods = plan.all_pods();
    let within = Duration::from_secs_f64(report::float(pods) / offered);
    let run = offer(plan, pods, within, LONGEST);
    Report {
        plan: *plan,
        levels,
        peak,
        run,
    }
}

/// The counts of an ADD that meets no other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alone {
    /// Requests of the ADD.
    pub requests: f64,
    /// Commits of the ADD.
    pub commits: f64,
    /// Bytes of the keys and values of its claim.
    pub claim_bytes: f64,
    /// Questions of its reads and their entries, and compares, writes and reads of its commits.
    pub operations: f64,
}

/// Adds one pod after another to a range in use, and counts.
pub fn alone(plan: &Plan) -> Alone {
    let pods = 10;
    let storm = Storm::begin(plan);
    for pod in 0..pods {
        storm.carry_out(async move |storm| storm.start_pod(pod).await);
    }
    let before = (storm.etcd.counts(), storm.claim_bytes());
    for pod in pods..2 * pods {
        storm.carry_out(async move |storm| storm.start_pod(pod).await);
    }
    let counts = storm.etcd.counts().since(&before.0);
    let of_one = |all: u64| report::float(all) / report::float(pods);
    Alone {
        requests: of_one(counts.requests),
        commits: of_one(counts.commits),
        claim_bytes: of_one(storm.claim_bytes() - before.1),
        operations: of_one(counts.questions + counts.operations),
    }
}

/// Offers rising loads, until two levels in a row complete less than the best one.
fn rising_load(plan: &Plan, tell: &dyn Fn(&str)) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    let mut rate = FIRST_LEVEL;
    let mut best = 0.0;
    let mut worse = 0;
    while worse < 2 {
        let pods = rate * LEVEL.as_secs();
        let run = offer(plan, pods, LEVEL, LEVEL);
        let level = Level {
            offered: rate,
            completed: run.completed_between(WARM_UP, LEVEL),
        };
        tell(&format!("{level}"));
        worse = if level.completed > best { 0 } else { worse + 1 };
        best = level.completed.max(best);
        levels.push(level);
        rate += (rate / 4).max(1);
    }
    levels
}

/// Starts `pods` pods within a time, and ends when all have addresses, at the latest after `longest`.
fn offer(plan: &Plan, pods: u64, within: Duration, longest: Duration) -> Run {
    let storm = Storm::begin(plan);
    let world = storm.world.clone();
    let before = storm.etcd.counts();
    let began = world.elapsed();
    *storm.tally.borrow_mut() = Tally {
        began,
        ..Tally::default()
    };
    let window_us = u64::try_from(within.as_micros())
        .expect("a short time")
        .max(1);
    for node in 0..pods.div_ceil(plan.pods) {
        let starts = Duration::from_micros(world.chance().below(window_us));
        for pod in node * plan.pods..((node + 1) * plan.pods).min(pods) {
            let (world, storm) = (world.clone(), storm.clone());
            storm.world.clone().spawn(async move {
                world.sleep(starts).await;
                storm.start_pod(pod).await;
            });
        }
    }
    let is_done = || storm.tally.borrow().granted_at.len() as u64 == pods;
    while !is_done() && world.elapsed().saturating_sub(began) < longest {
        world.step();
    }
    let mut violations = std::mem::take(&mut storm.tally.borrow_mut().violations);
    let is_whole = is_done();
    if is_whole {
        storm.settle();
        violations.extend(storm.audit());
    }
    Run::new(
        &storm.tally.borrow(),
        pods,
        is_whole,
        &before,
        &storm.etcd.counts(),
        violations,
    )
}

impl Storm {
    /// A world whose store is the cluster's.
    fn begin(plan: &Plan) -> Self {
        let world = World::new(plan.seed);
        let storm = Self {
            plan: *plan,
            etcd: Etcd::start(&world, plan.service),
            world,
            keys: Rc::new(Keys::new("/whereabouts/v1/")),
            tally: Rc::default(),
        };
        storm.carry_out(async |storm| storm.found().await);
        storm
    }

    /// Runs one process to its end.
    fn carry_out(&self, process: impl AsyncFnOnce(Self) + 'static) {
        let storm = self.clone();
        let task = self.world.spawn(async move { process(storm).await });
        while self.world.is_alive(task) {
            assert_ne!(self.world.step(), Step::Idle, "a process waits for ever");
        }
    }

    /// Bytes of the keys and values of all claims.
    fn claim_bytes(&self) -> u64 {
        let is_block =
            |key: &[u8]| matches!(self.keys.decode(key), Ok(Key::Open(_) | Key::Full(_)));
        let entries = self.etcd.entries();
        let of_claims = entries.iter().filter(|entry| !is_block(&entry.key));
        of_claims
            .map(|entry| (entry.key.len() + entry.value.len()) as u64)
            .sum()
    }

    /// Lets holders step down and late requests arrive.
    fn settle(&self) {
        let until = self.world.elapsed() + Duration::from_secs(60);
        while self.world.elapsed() < until {
            self.world.step();
        }
    }

    /// What is wrong with the store after the storm.
    fn audit(&self) -> Vec<String> {
        let entries = self.etcd.entries();
        let audit = audit(&self.keys, &entries);
        let mut wrong: Vec<String> = audit.findings.iter().map(ToString::to_string).collect();
        let claimed = self.claimed(&entries);
        for (address, pod) in &self.tally.borrow().holders {
            if claimed.get(address).and_then(Option::as_ref) != Some(&pod::name(*pod)) {
                wrong.push(format!(
                    "no claim has {address} for pod {pod}, which got it"
                ));
            }
        }
        wrong
    }

    /// The claimed addresses, and the names of their pods.
    fn claimed(&self, entries: &[Entry]) -> BTreeMap<String, Option<String>> {
        let mut claimed = BTreeMap::new();
        for entry in entries {
            if let Ok(Key::Claim(_)) = self.keys.decode(&entry.key)
                && let Ok(claim) = record::decode_claim(&entry.value)
            {
                for held in claim.held {
                    claimed.insert(held.address.to_string(), claim.owner.pod_name.clone());
                }
            }
        }
        claimed
    }
}
