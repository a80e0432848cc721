//! Pods that come and go on many nodes, and what is demanded of the store meanwhile.
//!
//! Phase one runs under faults; the audit of every revision must be clean. Then faults stop, every
//! pod is deleted, and nothing may be left.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use whereabouts::address::{Name, Pool, Range, RangeSpec};
use whereabouts::audit::audit;
use whereabouts::claim::{Ask, Attachment, Held, Owner, QueueId, Want};
use whereabouts::clock::{Chance, Clock};
use whereabouts::commands;
use whereabouts::error::Error;
use whereabouts::session::Session;
use whereabouts::store::keys::Keys;
use whereabouts::store::memory::MemoryStore;

use crate::link::{Link, Weather};
use crate::world::{Step, TaskId, World};

/// What a history is made of.
#[derive(Clone, Copy, Debug)]
pub struct Knobs {
    /// Pods that come and go at the same time.
    pub pods: u64,
    /// How often each comes and goes.
    pub rounds: u64,
    /// In thousandths: how often a process is killed at some point.
    pub kills: u64,
    /// The weather of the first phase.
    pub weather: Weather,
    /// The ranges; pods draw one or two.
    pub cidrs: &'static [&'static str],
}

/// What a history came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// ADDs that were answered with addresses.
    pub added: u64,
    /// ADDs that found their range full.
    pub full: u64,
    /// ADDs that failed otherwise.
    pub failed: u64,
    /// DELs that succeeded.
    pub deleted: u64,
    /// DELs that failed, and were sent again.
    pub deletes_failed: u64,
    /// Processes killed.
    pub killed: u64,
    /// Tickets seen at most in the store at once.
    pub longest_queue: usize,
    /// The store's last revision.
    pub revisions: i64,
}

#[derive(Clone)]
struct Node {
    world: World,
    link: Link,
    keys: Rc<Keys>,
    totals: Rc<RefCell<Totals>>,
    held: Rc<RefCell<BTreeMap<Attachment, Vec<Held>>>>,
}

/// Runs one history; `Err` says what was wrong.
pub fn run(seed: u64, knobs: &Knobs) -> Result<Totals, String> {
    let world = World::new(seed);
    let store = MemoryStore::default();
    let link = Link::new(world.clone(), store.clone());
    link.set_weather(knobs.weather);
    let node = Node {
        world: world.clone(),
        link: link.clone(),
        keys: Rc::new(Keys::new("/w/")),
        totals: Rc::default(),
        held: Rc::default(),
    };
    let pods: Vec<TaskId> = (0..knobs.pods)
        .map(|pod| {
            let (node, knobs) = (node.clone(), *knobs);
            world.spawn(async move { node.live(pod, &knobs).await })
        })
        .collect();
    let mut calm = false;
    let mut audited = 0;
    loop {
        match world.step() {
            Step::Ran(_) => {}
            Step::Waited(by) => store.advance(by),
            Step::Idle => break,
        }
        if store.revision() != audited {
            audited = store.revision();
            let entries = store.entries();
            let audit = audit(&node.keys, &entries);
            let mut totals = node.totals.borrow_mut();
            totals.longest_queue = totals.longest_queue.max(audit.tickets);
            totals.revisions = audited;
            if let Some(finding) = audit.findings.first() {
                return Err(format!("seed {seed}, revision {audited}: {finding}"));
            }
        }
        if !calm && pods.iter().all(|pod| !world.is_alive(*pod)) {
            calm = true;
            link.set_weather(Weather {
                delay_ms: 1,
                ..Weather::default()
            });
            let node = node.clone();
            world.spawn(async move { node.clean_up().await });
        }
        if world.elapsed() > Duration::from_secs(100_000) {
            return Err(format!("seed {seed}: pods still wait after a day"));
        }
    }
    let left = audit(&node.keys, &store.entries());
    if left.claims + left.set_bits + left.tickets > 0 {
        return Err(format!("seed {seed}: left over: {left:?}"));
    }
    let totals = *node.totals.borrow();
    Ok(totals)
}

impl Node {
    async fn live(self, pod: u64, knobs: &Knobs) {
        for round in 0..knobs.rounds {
            self.world
                .sleep(Duration::from_micros(self.world.chance().below(2_000)))
                .await;
            let ask = self.ask(pod, round, knobs);
            self.runtime_adds(&ask, knobs).await;
            self.world
                .sleep(Duration::from_micros(self.world.chance().below(5_000)))
                .await;
            self.runtime_deletes(&ask, knobs).await;
        }
    }

    fn ask(&self, pod: u64, round: u64, knobs: &Knobs) -> Ask {
        let count = knobs.cidrs.len() as u64;
        let first = self.world.chance().below(count);
        let second = self.world.chance().below(count);
        let mut chosen = vec![first];
        if second != first && self.world.chance().below(3) == 0 {
            chosen.push(second);
        }
        let wants = chosen
            .into_iter()
            .map(|index| {
                let cidr = knobs.cidrs[usize::try_from(index).expect("small")];
                let spec = RangeSpec {
                    pool: Pool::default(),
                    cidr: cidr.parse().expect("a CIDR"),
                    first: None,
                    last: None,
                    exclusions: Vec::new(),
                    gateways: Vec::new(),
                };
                Want::lowest(&Range::new(spec).expect("a range"))
            })
            .collect();
        let attachment = Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(&format!("p{pod}r{round}")).expect("a name"),
            interface: "eth0".to_owned(),
        };
        Ask {
            attachment,
            wants,
            owner: Owner::default(),
        }
    }

    /// Executes ADD once, as a runtime does; perhaps the process is killed.
    async fn runtime_adds(&self, ask: &Ask, knobs: &Knobs) {
        let (node, ask) = (self.clone(), ask.clone());
        let process = self.world.spawn(async move {
            let chance = Chance::new(node.world.chance().bits());
            let session = Session::new(
                &node.link,
                &node.world,
                &chance,
                &node.keys,
                Duration::from_secs(60),
            );
            let result = commands::add(&session, &ask).await;
            let mut totals = node.totals.borrow_mut();
            match result {
                Ok(held) => {
                    totals.added += 1;
                    node.held.borrow_mut().insert(ask.attachment.clone(), held);
                }
                Err(Error::Exhausted { .. }) => totals.full += 1,
                Err(_) => totals.failed += 1,
            }
        });
        self.await_process(process, knobs).await;
    }

    /// Executes DEL until it succeeds, as a runtime does.
    async fn runtime_deletes(&self, ask: &Ask, knobs: &Knobs) {
        self.held.borrow_mut().remove(&ask.attachment);
        let done = Rc::new(std::cell::Cell::new(false));
        while !done.get() {
            let (node, attachment, done) = (self.clone(), ask.attachment.clone(), done.clone());
            let queues: Vec<QueueId> = ask.wants.iter().map(|want| want.range.clone()).collect();
            let process = self.world.spawn(async move {
                let chance = Chance::new(node.world.chance().bits());
                let session = Session::new(
                    &node.link,
                    &node.world,
                    &chance,
                    &node.keys,
                    Duration::from_secs(30),
                );
                let result = commands::del(&session, &attachment, &queues).await;
                let mut totals = node.totals.borrow_mut();
                match result {
                    Ok(()) => {
                        totals.deleted += 1;
                        done.set(true);
                    }
                    Err(_) => totals.deletes_failed += 1,
                }
            });
            self.await_process(process, knobs).await;
        }
    }

    async fn await_process(&self, process: TaskId, knobs: &Knobs) {
        let doomed = self.world.chance().below(1_000) < knobs.kills;
        let patience = if doomed {
            self.world.chance().below(100_000)
        } else {
            u64::MAX / 2_000
        };
        let deadline = self.world.elapsed() + Duration::from_micros(patience);
        while self.world.is_alive(process) {
            if self.world.elapsed() >= deadline {
                self.world.kill(process);
                self.totals.borrow_mut().killed += 1;
                return;
            }
            self.world.sleep(Duration::from_micros(500)).await;
        }
    }

    /// What GC does in the end: releases every claim, as no pod is left.
    async fn clean_up(self) {
        // Leases of killed processes, and requests still on their way, end first.
        self.world.sleep(Duration::from_secs(300)).await;
        let chance = Chance::new(self.world.chance().bits());
        let session = Session::new(
            &self.link,
            &self.world,
            &chance,
            &self.keys,
            Duration::from_secs(600),
        );
        let query = whereabouts::snapshot::Query::Claims {
            network: None,
            after: None,
        };
        let page = session.snapshot(&[query]).await.expect("calm weather");
        for listed in page.listed() {
            let (attachment, _) = listed.claim.as_ref().expect("a claim of ours");
            commands::del(&session, attachment, &[])
                .await
                .expect("calm weather");
        }
        let _ = self.world.now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(seeds: std::ops::Range<u64>, knobs: &Knobs) -> Totals {
        let mut sum = Totals::default();
        for seed in seeds {
            let totals = run(seed, knobs).unwrap_or_else(|finding| panic!("{finding}\n{knobs:?}"));
            sum.added += totals.added;
            sum.full += totals.full;
            sum.failed += totals.failed;
            sum.deleted += totals.deleted;
            sum.deletes_failed += totals.deletes_failed;
            sum.killed += totals.killed;
            sum.longest_queue = sum.longest_queue.max(totals.longest_queue);
            sum.revisions += totals.revisions;
        }
        println!("{sum:?}");
        sum
    }

    #[test]
    fn a_hot_range_in_calm_weather_serves_everybody() {
        let weather = Weather {
            delay_ms: 2,
            ..Weather::default()
        };
        let cidrs = &["10.0.0.0/24"];
        let knobs = Knobs {
            pods: 20,
            rounds: 3,
            kills: 0,
            weather,
            cidrs,
        };
        let sum = many(0..100, &knobs);
        assert_eq!(sum.added, 100 * 60);
        assert_eq!(sum.failed + sum.full + sum.deletes_failed, 0);
        assert!(sum.longest_queue > 5, "nobody queued");
    }

    #[test]
    fn faults_and_kills_leave_every_revision_in_order_and_nothing_behind() {
        let weather = Weather {
            lost_requests: 20,
            lost_replies: 20,
            late_requests: 10,
            ended_watches: 50,
            delay_ms: 3,
        };
        let cidrs = &["10.0.0.0/28", "10.0.0.0/29", "fd00::/120", "10.0.0.248/23"];
        let knobs = Knobs {
            pods: 12,
            rounds: 3,
            kills: 100,
            weather,
            cidrs,
        };
        let sum = many(0..200, &knobs);
        assert!(sum.added > 0 && sum.killed > 0 && sum.full > 0);
    }
}
