//! One history, from its seed to its verdict.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::executor::block_on;
use whereabouts_clock::Chance;
use whereabouts_core::allocator::{Budget, Demand, Reach, decide};
use whereabouts_protocol::session::{Commit, Session};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::memory::MemoryStore;
use whereabouts_store::record;
use whereabouts_store::snapshot::Query;

use super::nemesis;
use crate::cluster::Cluster;
use crate::journal::{History, Totals};
use crate::judge::Finding;
use crate::planted::Bug;
use crate::runtime::Runtime;
use crate::setup::Knobs;
use crate::setup::imports;
use crate::setup::sharing::{self, Sharing};
use crate::vocabulary::NodeId;
use crate::world::{Step, TaskId, World};

/// Virtual time after which the phase under faults ends, whatever is still going on.
const FAULTS_END: Duration = Duration::from_secs(120);

/// Virtual time in which everything must end, once nothing fails any more.
const PROGRESS: Duration = Duration::from_secs(1_200);

/// Steps of the scheduler in which everything must end: ten times more than the longest takes.
const MOST_STEPS: u64 = 3_000_000;

/// The verdict of a history.
#[derive(Debug)]
pub struct Verdict {
    /// The knobs of the history.
    pub knobs: Knobs,
    /// Its totals.
    pub totals: Totals,
    /// Faults that struck, or would have: they are numbered from 0.
    pub faults: u64,
    /// The first promise that was broken.
    pub finding: Option<Finding>,
}

/// The knobs that a seed draws.
pub fn knobs_of(seed: u64) -> Knobs {
    Knobs::draw(&Chance::new(!seed))
}

/// Runs the history of `seed` with `knobs`.
pub fn run(seed: u64, knobs: &Knobs, bug: Option<Bug>, history: &History) -> Verdict {
    let world = World::new(seed);
    let keys = Keys::new("/w/");
    let store = MemoryStore::default();
    fill(&world, &store, &keys, knobs);
    let cluster = Cluster::new(
        world.clone(),
        store,
        keys,
        knobs.clone(),
        bug,
        history.clone(),
    );
    cluster.log(&"world", format_args!("seed {seed}: {knobs}"));
    let runtime = Runtime::new(cluster.clone());
    let places =
        (0..knobs.nodes).flat_map(|node| (0..knobs.pods_per_node).map(move |place| (node, place)));
    let nodes = (0..knobs.nodes).map(NodeId);
    let imported: Vec<_> = nodes
        .flat_map(|node| {
            imports::containers(knobs, node)
                .into_iter()
                .map(move |name| (node, name))
        })
        .collect();
    let count = knobs.nodes * knobs.pods_per_node + imported.len() as u64;
    let pods_left = Rc::new(Cell::new(count));
    for (node, container) in imported {
        let (runtime, left) = (runtime.clone(), pods_left.clone());
        world.spawn(async move {
            runtime.run_imported(node, container).await;
            left.set(left.get() - 1);
        });
    }
    for (node, place) in places {
        let (runtime, left) = (runtime.clone(), pods_left.clone());
        world.spawn(async move {
            runtime.run_pods(NodeId(node), place).await;
            left.set(left.get() - 1);
        });
    }
    world.spawn(nemesis::haunt(cluster.clone(), runtime.clone()));
    let mut last: Option<TaskId> = None;
    let mut steps = 0_u64;
    let mut calm_since = None;
    while cluster.judge().finding().is_none() {
        steps += 1;
        match world.step() {
            Step::Ran(_) => {}
            Step::Waited(by) => cluster.pass(by),
            Step::Idle => break,
        }
        let pods_left = pods_left.get() > 0;
        if calm_since.is_none() && (!pods_left || world.elapsed() > FAULTS_END) {
            cluster.log(&"world", format_args!("nothing fails any more"));
            cluster.calm_down();
            calm_since = Some(world.elapsed());
        }
        if last.is_none() && !pods_left {
            let runtime = runtime.clone();
            last = Some(world.spawn(async move { runtime.clean_up().await }));
        }
        if last.is_some_and(|last| !world.is_alive(last)) {
            break;
        }
        if steps > MOST_STEPS {
            let text = format!("not everything has ended after {steps} steps");
            cluster.judge().accuse(10, text);
        }
        if calm_since.is_some_and(|since| world.elapsed() > since + PROGRESS) {
            let text = format!("not everything has ended {PROGRESS:?} after the last fault");
            cluster.judge().accuse(10, text);
        }
    }
    let finding = cluster.judge().finding().cloned();
    if let Some(finding) = &finding {
        cluster.log(&"judge", format_args!("{finding}"));
    }
    let mut totals = cluster.totals().clone();
    totals.histories = 1;
    totals.time = world.elapsed();
    totals.revisions = u64::try_from(cluster.judge().ledger().revision()).unwrap_or_default();
    Verdict {
        knobs: knobs.clone(),
        totals,
        faults: cluster.faults(),
        finding,
    }
}

/// Takes addresses before the history begins.
fn fill(world: &World, store: &MemoryStore, keys: &Keys, knobs: &Knobs) {
    let demands: Vec<Demand> = imports::asks(knobs).into_iter().map(Demand::Take).collect();
    let chance = Chance::new(0);
    let session = Session::new(store, world, &chance, keys, Duration::from_secs(60));
    let mut rest = demands.as_slice();
    while let Some(first) = rest.first() {
        let queries: Vec<_> = first
            .block_questions(Reach::Batch)
            .into_iter()
            .map(Query::Blocks)
            .collect();
        let mut snapshot = block_on(session.snapshot(&queries)).expect("memory does not fail");
        let budget = Budget {
            compares: 100,
            operations: 100,
        };
        let mut plan = decide(snapshot.facts(), rest, budget);
        while plan.verdicts.is_empty() {
            let missing: Vec<_> = plan.missing.into_iter().map(Query::Blocks).collect();
            block_on(session.extend(&mut snapshot, &missing)).expect("memory does not fail");
            plan = decide(snapshot.facts(), rest, budget);
        }
        let mut draft = session.draft();
        draft.plan(&plan, Duration::ZERO);
        assert!(matches!(
            block_on(session.commit(draft)),
            Ok(Commit::Done(_))
        ));
        rest = &rest[plan.verdicts.len()..];
    }
    if knobs.sharing == Sharing::Own || !demands.is_empty() {
        let mut draft = session.draft();
        let west = sharing::named(sharing::WEST);
        draft.put(&Key::Cluster, record::encode_cluster(&west));
        assert!(matches!(
            block_on(session.commit(draft)),
            Ok(Commit::Done(_))
        ));
    }
}
