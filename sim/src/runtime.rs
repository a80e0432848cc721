//! Container runtimes: what they do with pods on their nodes, with all their habits.
//!
//! A pod is added, perhaps again after a failure, checked, and deleted until that succeeds, perhaps
//! once more; or its node is lost and comes back, and GC gets the list of what is left. An ADD may
//! be killed, stopped, or forgotten by its runtime, which then sends DEL all the same.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures::future::join;
use whereabouts_core::address::{Address, Name, Range};
use whereabouts_core::claim::{Ask, Attachment, Owner, QueueId, Want};
use whereabouts_core::verbs::{
    CheckRequest, Expectation, GcRequest, StatusRequest, ValidAttachment, WhenFull,
};

use crate::cluster::Cluster;
use crate::judge::Used;
use crate::knobs::Shape;
use crate::pods;
use crate::process::{self, Answer, Job, NodeId, Process};
use crate::seats;
use crate::step::{Fault, Step, Verb};

/// How often a DEL is sent before its runtime turns to other things, while faults last.
const DELETE_TRIES: u64 = 4;

/// The interface of attachments that are there before a history begins.
pub const HELD_BEFORE: &str = "before";

/// The runtimes of all nodes. Clones are the same.
#[derive(Clone)]
pub struct Runtime(Rc<Inner>);

struct Inner {
    cluster: Cluster,
    nodes: BTreeMap<NodeId, Node>,
    /// Attachments that may be left when everything was deleted: the documented case.
    suspects: RefCell<BTreeSet<Attachment>>,
    /// What was asked for by attachments that are not deleted yet, and on which node.
    known: RefCell<BTreeMap<Attachment, (NodeId, Vec<QueueId>)>>,
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
    pub fn new(cluster: Cluster) -> Self {
        let nodes = (0..cluster.knobs().nodes).map(|node| (NodeId(node), Node::default()));
        let (suspects, known) = (RefCell::default(), RefCell::default());
        Self(Rc::new(Inner {
            nodes: nodes.collect(),
            cluster,
            suspects,
            known,
        }))
    }

    /// Runs one place for pods on a node: one pod after the other.
    pub async fn run_pods(self, node: NodeId, place: u64) {
        let cluster = &self.0.cluster;
        for round in 0..cluster.knobs().rounds {
            self.idle(cluster.knobs().pause_us).await;
            let name = format!("n{}-{place}-{round}", node.0);
            self.run_pod(node, &name).await;
            match cluster.world().chance().below(8) {
                0 => self.collect(node).await,
                1 if cluster.knobs().is_near() => self.ask_status(node).await,
                _ => {}
            }
        }
    }

    /// The container of that name, in one of the seats that the history has.
    fn container(&self, name: String) -> String {
        match self.0.cluster.knobs().seats {
            Some(seats) => seats::within(seats, &name),
            None => name,
        }
    }

    async fn run_pod(&self, node: NodeId, name: &str) {
        let is_anew = self.0.cluster.knobs().shape == Shape::Anew;
        let container = &self.container(if is_anew {
            format!("{name}.0")
        } else {
            name.to_owned()
        });
        let chance = self.0.cluster.world().chance();
        let lost = self.node(node).lost.get();
        let networks: &[&str] = if chance.below(4) == 0 {
            &["net", "other"]
        } else {
            &["net"]
        };
        let asks: Vec<Ask> = networks
            .iter()
            .map(|network| self.ask(node, network, container))
            .collect();
        for ask in &asks {
            if chance.below(8) == 0 {
                // The runtime loses patience, and asks again: perhaps with a config that was edited.
                let again = self.ask(node, ask.attachment.network.as_str(), container);
                join(self.add(node, lost, ask), self.add(node, lost, &again)).await;
            } else {
                self.add(node, lost, ask).await;
            }
        }
        let knobs = self.0.cluster.knobs();
        self.0.cluster.world().sleep(knobs.shape.least_life()).await;
        self.idle(knobs.pause_us).await;
        let mut asks = asks;
        if is_anew {
            for ask in &mut asks {
                *ask = self.make_anew(node, lost, ask, &format!("{name}.1")).await;
            }
            self.idle(knobs.pause_us).await;
        }
        for ask in &asks {
            if self.node(node).lost.get() != lost {
                // The node came back without its pods: nobody deletes them.
                return;
            }
            self.delete(node, &ask.attachment).await;
        }
    }

    /// The sandbox of a pod is made anew: another container wants the same. The DEL of the old one comes before, at the
    /// same time, late, or never.
    async fn make_anew(&self, node: NodeId, lost: u64, old: &Ask, name: &str) -> Ask {
        let mut new = old.clone();
        let container = self.container(name.to_owned());
        new.attachment.container = Name::new(&container).expect("a name");
        if self.node(node).lost.get() != lost {
            return new;
        }
        self.end_newcomers(node, &old.attachment);
        self.0.cluster.judge().no_longer_used(&old.attachment);
        match self.0.cluster.world().chance().below(4) {
            0 => {
                self.delete(node, &old.attachment).await;
                self.add(node, lost, &new).await;
            }
            1 => {
                let (old, new) = (
                    self.delete(node, &old.attachment),
                    self.add(node, lost, &new),
                );
                join(old, new).await;
            }
            2 => {
                self.add(node, lost, &new).await;
                self.delete(node, &old.attachment).await;
            }
            _ => {
                // GC finds it.
                self.forget(&old.attachment);
                self.add(node, lost, &new).await;
            }
        }
        new
    }

    fn forget(&self, attachment: &Attachment) {
        self.0.known.borrow_mut().remove(attachment);
        self.0.suspects.borrow_mut().insert(attachment.clone());
    }

    /// Before its new container there is, a pod has no process of the old one that has not even read: it would be the
    /// newer one to all that it reads.
    fn end_newcomers(&self, node: NodeId, attachment: &Attachment) {
        let running = self.node(node).running.borrow();
        let of_it = running.iter().filter(|process| {
            let identity = &process.identity;
            identity.attachment.as_ref() == Some(attachment) && !identity.has_read.get()
        });
        for process in of_it {
            self.kill(process, Fault::Killed);
        }
    }

    fn ask(&self, node: NodeId, network: &str, container: &str) -> Ask {
        let cluster = &self.0.cluster;
        let chance = cluster.world().chance();
        let configs = cluster.knobs().shape.configs();
        let config = usize::try_from(chance.below(configs.len() as u64)).expect("a short list");
        let wants = configs[config]
            .iter()
            .map(|range| self.want(range))
            .collect();
        let attachment = Attachment {
            network: Name::new(network).expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        };
        let owner = Owner {
            node: self.name_of(node),
            pod_uid: pods::uid_of(container),
            ..Owner::default()
        };
        Ask {
            attachment,
            wants,
            owner,
        }
    }

    fn want(&self, range: &Range) -> Want {
        let chance = self.0.cluster.world().chance();
        if let Some(many) = self.0.cluster.knobs().shape.requests_among()
            && chance.below(3) == 0
        {
            let first = Address::from(range.cidr().network());
            let number = first.number() + u128::from(chance.below(many));
            let address = Address::new(first.family(), number).expect("inside the family");
            if let Ok(want) = Want::exactly(range, address) {
                return want;
            }
        }
        Want::lowest(range)
    }

    fn name_of(&self, node: NodeId) -> Option<String> {
        let nameless = self.0.cluster.knobs().nameless && node.0 < 2;
        let sharing = self.0.cluster.knobs().sharing;
        (!nameless).then(|| sharing.node_name(node))
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

    /// Adds, and perhaps again: after a failure, or just so. Not once the node was lost again.
    async fn add(&self, node: NodeId, lost: u64, ask: &Ask) {
        let cluster = &self.0.cluster;
        let chance = cluster.world().chance();
        let queues: Vec<QueueId> = ask.wants.iter().map(|want| want.range.clone()).collect();
        let attachment = &ask.attachment;
        for _ in 0..2 {
            while self.node(node).collecting.get() {
                cluster.world().sleep(Duration::from_millis(1)).await;
            }
            if self.node(node).lost.get() != lost {
                return;
            }
            self.know(attachment, node, &queues);
            self.node(node).adding.set(self.node(node).adding.get() + 1);
            let answer = self.execute(node, Job::Add(ask.clone())).await;
            self.node(node).adding.set(self.node(node).adding.get() - 1);
            let again = match &answer {
                Some(Answer::Done(held)) => {
                    if chance.below(4) == 0 {
                        let previous = held
                            .iter()
                            .map(whereabouts_core::claim::Held::interface_address);
                        let previous = previous.collect();
                        let (attachment, statics) = (attachment.clone(), Vec::new());
                        let check = CheckRequest {
                            attachment,
                            previous,
                            statics,
                            claim: Expectation::Needed,
                        };
                        self.check(node, check).await;
                    }
                    chance.below(6) == 0
                }
                Some(Answer::Failed(_)) => chance.below(2) == 0,
                Some(Answer::Refused) | None => false,
            };
            if !again {
                return;
            }
        }
    }

    fn know(&self, attachment: &Attachment, node: NodeId, queues: &[QueueId]) {
        let mut known = self.0.known.borrow_mut();
        let nothing = || (node, Vec::new());
        let (_, all) = known.entry(attachment.clone()).or_insert_with(nothing);
        all.extend(queues.iter().cloned());
        all.sort();
        all.dedup();
    }

    async fn check(&self, node: NodeId, check: CheckRequest) {
        let attachment = check.attachment.clone();
        let lost = self.node(node).lost.get();
        let answer = self.execute(node, Job::Check(check)).await;
        let healthy = self.0.cluster.knobs().faults.is_empty();
        if healthy && self.node(node).lost.get() == lost && !matches!(answer, Some(Answer::Done(_)))
        {
            let text = format!("CHECK of {attachment}, which was added: {answer:?}");
            self.0.cluster.judge().accuse(6, text);
        }
    }

    /// Deletes until that succeeds; while faults last, not for ever.
    pub async fn delete(&self, node: NodeId, attachment: &Attachment) {
        let cluster = &self.0.cluster;
        let queues = match self.0.known.borrow().get(attachment) {
            Some((_, queues)) => queues.clone(),
            None => return,
        };
        cluster.judge().no_longer_used(attachment);
        for _ in 0..DELETE_TRIES {
            let job = Job::Del(attachment.clone(), queues.clone());
            if let Some(Answer::Done(_)) = self.execute(node, job.clone()).await {
                self.0.known.borrow_mut().remove(attachment);
                if cluster.world().chance().below(5) == 0 {
                    let is_calm = cluster.is_calm();
                    let again = self.execute(node, job).await;
                    if is_calm && !matches!(again, Some(Answer::Done(_))) {
                        let text = format!("a second DEL of {attachment}: {again:?}");
                        cluster.judge().accuse(6, text);
                    }
                }
                return;
            }
        }
    }

    /// Executes a process and waits for it, unless the runtime forgets it. `None`: no answer.
    async fn execute(&self, node: NodeId, job: Job) -> Option<Answer> {
        let cluster = &self.0.cluster;
        let world = cluster.world();
        let process = process::start(cluster, node, job);
        self.node(node).running.borrow_mut().push(process.clone());
        if cluster.strikes(Fault::Killed) {
            self.some_moment(&process).await;
            self.kill(&process, Fault::Killed);
        } else if cluster.strikes(Fault::Paused) {
            self.some_moment(&process).await;
            let pause = Duration::from_millis(world.chance().below(30_000));
            cluster.count_fault(Fault::Paused, &process.identity);
            cluster.note_pause(process.identity.id, pause);
            world.pause(process.task);
            world.sleep(pause).await;
            world.resume(process.task);
        } else if process.identity.verb == Verb::Add && cluster.strikes(Fault::Orphaned) {
            self.some_moment(&process).await;
            cluster.count_fault(Fault::Orphaned, &process.identity);
            process.identity.used.set(Used::ByNobody);
            self.suspect(&process);
            return None;
        }
        let answer = process.ended().await;
        self.node(node)
            .running
            .borrow_mut()
            .retain(|other| other.task != process.task);
        if let Some(Answer::Failed(reason)) = &answer {
            if reason.contains("unknown") {
                self.suspect(&process);
            }
            if cluster.knobs().faults.is_empty() {
                let text = format!("{} failed without a fault: {reason}", process.identity);
                cluster.judge().accuse(10, text);
            }
        }
        answer
    }

    /// A moment in the life of a process: any, or when it waits in a queue, if it soon does.
    async fn some_moment(&self, process: &Process) {
        let world = self.0.cluster.world();
        let delay_us = self.0.cluster.knobs().delay_us;
        let longest = Duration::from_micros(world.chance().below(30 * delay_us));
        if world.chance().below(2) == 0 {
            return world.sleep(longest).await;
        }
        let until = world.elapsed() + 4 * longest;
        while process.identity.step.get() != Step::Wait && world.elapsed() < until {
            world.sleep(Duration::from_micros(1 + delay_us / 4)).await;
        }
    }

    fn kill(&self, process: &Process, fault: Fault) {
        if process.answer().is_none() {
            self.0.cluster.count_fault(fault, &process.identity);
            match process.identity.step.get() {
                // A request that takes addresses, or leads to it, may be on its way.
                Step::Commit | Step::TakeOver | Step::Join | Step::Batch => self.suspect(process),
                _ => {}
            }
            process::kill(&self.0.cluster, process);
        }
    }

    fn suspect(&self, process: &Process) {
        if let Some(attachment) = &process.identity.attachment {
            self.0.suspects.borrow_mut().insert(attachment.clone());
        }
    }

    /// Counts a fault that strikes everybody who waits for something.
    pub fn count_for_all(&self, fault: Fault) {
        for node in self.0.nodes.values() {
            for process in node
                .running
                .borrow()
                .iter()
                .filter(|process| process.answer().is_none())
            {
                self.0.cluster.count_fault(fault, &process.identity);
            }
        }
    }

    /// A node is lost with all its pods and processes, and comes back under the same name.
    pub fn lose_node(&self, id: NodeId) {
        let node = self.node(id);
        node.lost.set(node.lost.get() + 1);
        self.0
            .cluster
            .log(&"nemesis", format_args!("! NodeLost n{}", id.0));
        for process in node.running.take() {
            self.kill(&process, Fault::NodeLost);
        }
        let mut judge = self.0.cluster.judge();
        let mut known = self.0.known.borrow_mut();
        for attachment in known
            .extract_if(.., |_, (node, _)| *node == id)
            .map(|(attachment, _)| attachment)
        {
            judge.no_longer_used(&attachment);
            self.0.suspects.borrow_mut().insert(attachment);
        }
    }

    /// Collects what the node does not use any more.
    pub async fn collect(&self, id: NodeId) {
        let node = self.node(id);
        if node.adding.get() > 0 || node.collecting.replace(true) {
            return;
        }
        let chance = self.0.cluster.world().chance();
        let no_list = !self.0.cluster.is_calm() && chance.below(4) == 0;
        for network in ["net", "other"] {
            let valid = (!no_list).then(|| self.valid_attachments(id, network));
            let network = Name::new(network).expect("a name");
            let gc = GcRequest {
                network,
                node: self.name_of(id),
                valid,
            };
            self.execute(id, Job::Gc(gc)).await;
        }
        node.collecting.set(false);
    }

    /// What a runtime knows to be in use on its node.
    fn valid_attachments(&self, id: NodeId, network: &str) -> BTreeSet<ValidAttachment> {
        let known = self.0.known.borrow();
        let of_node = known.iter().filter(|(attachment, (node, _))| {
            *node == id && attachment.network.as_str() == network
        });
        of_node
            .map(|(attachment, _)| ValidAttachment {
                container: attachment.container.as_str().to_owned(),
                interface: attachment.interface.clone(),
            })
            .collect()
    }

    async fn ask_status(&self, node: NodeId) {
        let configs = self.0.cluster.knobs().shape.configs();
        let wants = configs[0].iter().map(Want::lowest).collect();
        let status = StatusRequest {
            wants,
            when_full: WhenFull::Error,
        };
        self.execute(node, Job::Status(status)).await;
    }

    /// Deletes everything that was not deleted; what is left after that GC collects, and what GC
    /// cannot tell to be its node's, an operator releases.
    pub async fn clean_up(self) {
        let cluster = &self.0.cluster;
        // Requests still on their way, and leases of processes that are gone, end first.
        let known: Vec<(Attachment, NodeId)> = {
            let known = self.0.known.borrow();
            known
                .iter()
                .map(|(attachment, (node, _))| (attachment.clone(), *node))
                .collect()
        };
        for (attachment, node) in known {
            self.delete(node, &attachment).await;
            if self.0.known.borrow().contains_key(&attachment) {
                cluster
                    .judge()
                    .accuse(10, format!("{attachment} cannot be deleted"));
            }
        }
        cluster.world().sleep(Duration::from_secs(300)).await;
        let left: Vec<Attachment> = cluster.judge().ledger().claims().keys().cloned().collect();
        let left = left
            .into_iter()
            .filter(|attachment| attachment.interface != HELD_BEFORE);
        for attachment in left {
            cluster.totals().left_to_gc += 1;
            if !self.0.suspects.borrow().contains(&attachment) {
                let text = format!("{attachment} was deleted and holds addresses");
                cluster.judge().accuse(8, text);
            }
        }
        for node in self.0.nodes.keys() {
            self.collect(*node).await;
        }
        let (nameless, mixed) = (cluster.knobs().nameless, cluster.knobs().mixed);
        let left: BTreeSet<Attachment> = {
            let judge = cluster.judge();
            let holding = judge.ledger().claims().keys();
            let holding = holding.filter(|one| nameless || mixed || one.interface == HELD_BEFORE);
            // A ticket of a newer version only that one's GC can read, and any holder of that version
            // may serve it until then.
            let waiting = judge.ledger().tickets().map(|ticket| &ticket.id.attachment);
            let waiting = waiting.filter(|_| nameless || mixed);
            holding.chain(waiting).cloned().collect()
        };
        for attachment in left {
            cluster.judge().no_longer_used(&attachment);
            let ranges = cluster.ranges().into_iter().collect();
            self.execute(NodeId(0), Job::Del(attachment, ranges)).await;
        }
        cluster.judge().all_is_gone();
    }
}
