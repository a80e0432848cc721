//! Container runtimes: what they do with pods on their nodes, with all their habits.
//!
//! A pod is added, perhaps again after a failure, then checked, then deleted until that succeeds, perhaps once more.
//! Or its node is lost and comes back, and GC gets the list of the living pods. An ADD may be killed, stopped, or
//! forgotten by its runtime, which then sends DEL all the same.

mod collection;
mod execution;
mod imported;
mod pods;
mod process;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use whereabouts_core::claim::{Attachment, RangeId};

use crate::cluster::Cluster;
use crate::setup::Shape;
use crate::vocabulary::NodeId;
use process::Process;

/// The runtimes of all nodes. Clones are the same.
#[derive(Clone)]
pub(crate) struct Runtime(Rc<Inner>);

struct Inner {
    cluster: Cluster,
    nodes: BTreeMap<NodeId, Node>,
    /// Attachments that may be left when everything was deleted: the documented case.
    suspects: RefCell<BTreeSet<Attachment>>,
    /// The ranges of attachments that are not deleted yet, and their nodes.
    known: RefCell<BTreeMap<Attachment, (NodeId, Vec<RangeId>)>>,
}

#[derive(Default)]
struct Node {
    /// How often it was lost.
    lost: Cell<u64>,
    /// ADDs under way.
    adding: Cell<u64>,
    /// Whether GC is under way, which then keeps ADDs waiting, as the specification wants.
    collecting: Cell<bool>,
    running: RefCell<Vec<Process>>,
}

impl Runtime {
    /// The runtimes of a cluster's nodes.
    pub(crate) fn new(cluster: Cluster) -> Self {
        let nodes = (0..cluster.knobs().nodes).map(|node| (NodeId(node), Node::default()));
        let (suspects, known) = (RefCell::default(), RefCell::default());
        let runtime = Self(Rc::new(Inner {
            nodes: nodes.collect(),
            cluster,
            suspects,
            known,
        }));
        runtime.know_imported();
        runtime
    }

    /// Runs one place for pods on a node: one pod after the other.
    pub(crate) async fn run_pods(self, node: NodeId, place: u64) {
        let cluster = &self.0.cluster;
        for round in 0..cluster.knobs().rounds {
            self.idle(cluster.knobs().pause_us).await;
            let name = format!("n{}-{place}-{round}", node.0);
            self.run_pod(node, &name).await;
            match cluster.world().chance().below(8) {
                0 => self.collect(node).await,
                2 if cluster.knobs().shape == Shape::Sticky => self.end_owners(node).await,
                1 if cluster.knobs().is_near() => self.ask_status(node).await,
                _ => {}
            }
        }
    }

    fn node(&self, node: NodeId) -> &Node {
        self.0
            .nodes
            .get(&node)
            .expect("every node is there from the beginning")
    }

    async fn idle(&self, longest_us: u64) {
        let world = self.0.cluster.world();
        world
            .sleep(Duration::from_micros(world.chance().below(longest_us + 1)))
            .await;
    }

    fn know(&self, attachment: &Attachment, node: NodeId, queues: &[RangeId]) {
        let mut known = self.0.known.borrow_mut();
        let nothing = || (node, Vec::new());
        let (_, all) = known.entry(attachment.clone()).or_insert_with(nothing);
        all.extend(queues.iter().cloned());
        all.sort();
        all.dedup();
    }
}
