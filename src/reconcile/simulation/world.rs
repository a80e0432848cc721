//! Nodes, kubelets, pods, sandboxes and claims as they really are.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_clock::Chance;
use whereabouts_core::address::Name;
use whereabouts_core::claim::Attachment;

use crate::{JudgedClaim, NodeState, PodName};

const NODES: u64 = 4;
const NAMES: u64 = 12;

/// After so many seconds without a word, the API server no longer calls a node Ready.
const MONITOR_GRACE: u64 = 40;

/// After so many seconds, the API server's collector deletes pods of a Node that does not exist.
const QUARANTINE: u64 = 40;

/// How long a kubelet may need to end a pod.
const TERMINATION: u64 = 30;

#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each of them is a fault of its own"
)]
struct Node {
    is_powered: bool,
    is_connected: bool,
    is_object: bool,
    is_tainted: bool,
    is_ready: bool,
    /// Its clock is as wrong as this, and may step.
    clock: u64,
    renewed: u64,
    transition: u64,
    heard: u64,
    missing_since: u64,
}

struct Pod {
    uid: String,
    node: usize,
    is_deleting: bool,
}

struct Sandbox {
    pod: PodName,
    uid: String,
    node: usize,
    key: Attachment,
    dies: Option<u64>,
}

/// A later step of a fault.
enum Step {
    ForceDelete(usize),
    DeleteNode(usize),
    Mend(usize),
}

/// All of it.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) released: u64,
    nodes: Vec<Node>,
    pods: BTreeMap<PodName, Pod>,
    sandboxes: Vec<Sandbox>,
    claims: BTreeMap<Attachment, JudgedClaim>,
    /// The names and UIDs of pods at each second.
    past: Vec<BTreeMap<PodName, String>>,
    steps: BTreeMap<u64, Vec<Step>>,
    counter: u64,
    /// Whether a container on a node always has the same id, so that a claim is written again.
    has_stable_ids: bool,
}

impl World {
    pub(super) fn new(chance: &Chance) -> Self {
        let node = |_| Node {
            is_powered: true,
            is_connected: true,
            is_object: true,
            is_ready: true,
            clock: chance.below(10_000),
            ..Node::default()
        };
        let mut world = Self {
            now: 0,
            released: 0,
            nodes: (0..NODES).map(node).collect(),
            pods: BTreeMap::new(),
            sandboxes: Vec::new(),
            claims: BTreeMap::new(),
            past: Vec::new(),
            steps: BTreeMap::new(),
            counter: 0,
            has_stable_ids: chance.below(2) == 0,
        };
        world.claim_without_uid();
        world
    }

    /// A claim of which the API server cannot tell.
    fn claim_without_uid(&mut self) {
        let key = attachment("no-uid");
        let claim = JudgedClaim {
            attachment: key.clone(),
            revision: 1,
            pod: Some(pod_name(99)),
            pod_uid: None,
            node: Some(node_name(9)),
        };
        self.claims.insert(key, claim);
    }

    /// At most a fault or a change.
    pub(super) fn suffer(&mut self, chance: &Chance) {
        let node = chance.index(self.nodes.len());
        match chance.below(100) {
            0..=19 => self.create(chance),
            20..=24 => self.delete(chance, false),
            25..=27 => self.delete(chance, true),
            28 => self.cut(node),
            29..=30 => self.nodes[node].is_connected = true,
            31 => self.power_off(node),
            32..=33 => self.boot(node),
            34 => self.declare_dead(node, true),
            35 => self.declare_dead(node, false),
            36..=37 => self.delete_by_mistake(chance, node),
            39 => self.nodes[node].clock = chance.below(10_000),
            38 => self.replace_sandbox(chance),
            _ => {}
        }
    }

    /// All faults end. Every pod comes back under its name, on a node that is well.
    pub(super) fn recover(&mut self) {
        self.steps.clear();
        for node in 0..self.nodes.len() {
            self.nodes[node].is_connected = true;
            self.nodes[node].is_tainted = false;
            self.boot(node);
        }
    }

    /// Fails if a claim is there whose pod and sandbox are gone, or if the one without a UID is not there. An old claim of
    /// a pod that has a new sandbox is the node's affair.
    pub(super) fn expect_no_leak(&self) -> Result<(), String> {
        let pods: BTreeSet<&String> = self.pods.values().map(|pod| &pod.uid).collect();
        let is_leaked = |claim: &&JudgedClaim| {
            let uid = claim.pod_uid.as_ref();
            !self.is_alive(claim) && uid.is_some_and(|uid| !pods.contains(uid))
        };
        let leaked: Vec<_> = self.claims.values().filter(is_leaked).collect();
        if !leaked.is_empty() {
            return Err(format!("leaked: {leaked:?}"));
        }
        let spared = self.claims.contains_key(&attachment("no-uid"));
        spared
            .then_some(())
            .ok_or_else(|| "a claim without a UID is gone".to_owned())
    }

    /// A second passes.
    pub(super) fn tick(&mut self, chance: &Chance) {
        self.now += 1;
        for step in self.steps.remove(&self.now).unwrap_or_default() {
            self.perform(&step);
        }
        for node in 0..self.nodes.len() {
            self.kubelet(node, chance);
            self.monitor(node);
        }
        self.collect_pods();
        self.end_sandboxes(chance);
        if self.now > 1_500 && self.now.is_multiple_of(5) {
            self.create(chance);
        }
        let pods = self
            .pods
            .iter()
            .map(|(name, pod)| (name.clone(), pod.uid.clone()));
        self.past.push(pods.collect());
    }

    // Questions of a controller.

    pub(super) fn claims(&self) -> Vec<JudgedClaim> {
        self.claims.values().cloned().collect()
    }

    pub(super) fn node(&self, name: &str) -> NodeState {
        let node = (0..self.nodes.len()).find(|node| node_name(*node) == name);
        let Some(node) = node
            .map(|node| &self.nodes[node])
            .filter(|node| node.is_object)
        else {
            return NodeState::Missing;
        };
        match (node.is_ready, node.is_tainted) {
            (true, _) => NodeState::Ready {
                renewed: node.renewed.to_string(),
                transition: node.transition.to_string(),
            },
            (false, true) => NodeState::OutOfService,
            (false, false) => NodeState::NotReady,
        }
    }

    pub(super) fn node_names(&self) -> Vec<String> {
        (0..self.nodes.len()).map(node_name).collect()
    }

    pub(super) fn pod(&self, name: &PodName) -> Option<String> {
        self.pods.get(name).map(|pod| pod.uid.clone())
    }

    /// The pods of some seconds ago.
    pub(super) fn pods_before(&self, seconds: u64) -> BTreeMap<PodName, String> {
        let last = self.past.len().saturating_sub(1);
        let index = usize::try_from(seconds).map_or(0, |seconds| last.saturating_sub(seconds));
        self.past.get(index).cloned().unwrap_or_default()
    }

    /// Deletes a claim, at any revision if `revision` is `None`. Fails if its sandbox lives.
    pub(super) fn release(
        &mut self,
        key: &Attachment,
        revision: Option<i64>,
    ) -> Result<(), String> {
        let Some(claim) = self.claims.get(key) else {
            return Ok(());
        };
        if revision.is_some_and(|revision| revision != claim.revision) {
            return Ok(());
        }
        if self.is_alive(claim) {
            return Err(format!(
                "at {} s: {claim:?} is released, and its sandbox lives",
                self.now
            ));
        }
        self.claims.remove(key);
        self.released += 1;
        Ok(())
    }

    fn is_alive(&self, claim: &JudgedClaim) -> bool {
        let mut sandboxes = self.sandboxes.iter();
        sandboxes.any(|one| one.key == claim.attachment && Some(&one.uid) == claim.pod_uid.as_ref())
    }

    // Pods.

    fn create(&mut self, chance: &Chance) {
        let name = pod_name(usize::try_from(chance.below(NAMES)).expect("it is small"));
        let node = chance.index(self.nodes.len());
        let is_well =
            |node: &Node| node.is_powered && node.is_connected && node.is_object && node.is_ready;
        if self.pods.contains_key(&name) || !is_well(&self.nodes[node]) {
            return;
        }
        self.counter += 1;
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.counter);
        let pod = Pod {
            uid: uid.clone(),
            node,
            is_deleting: false,
        };
        self.pods.insert(name.clone(), pod);
        self.add(&name, &uid, node);
    }

    /// ADD: a sandbox and its claim.
    fn add(&mut self, name: &PodName, uid: &str, node: usize) {
        self.counter += 1;
        let stable = attachment(&format!("{}-{}", name.name, node_name(node)));
        let is_free = self.sandboxes.iter().all(|sandbox| sandbox.key != stable);
        let key = if self.has_stable_ids && is_free {
            stable
        } else {
            attachment(&format!("c{}", self.counter))
        };
        let claim = JudgedClaim {
            attachment: key.clone(),
            revision: i64::try_from(self.counter).expect("it is small"),
            pod: Some(name.clone()),
            pod_uid: Some(uid.to_owned()),
            node: Some(node_name(node)),
        };
        self.claims.insert(key.clone(), claim);
        self.sandboxes.push(Sandbox {
            pod: name.clone(),
            uid: uid.to_owned(),
            node,
            key,
            dies: None,
        });
    }

    fn delete(&mut self, chance: &Chance, is_forced: bool) {
        let Some(name) = self.pods.keys().nth(chance.index(self.pods.len())).cloned() else {
            return;
        };
        if is_forced {
            self.pods.remove(&name);
        } else {
            self.pods.get_mut(&name).expect("it is there").is_deleting = true;
        }
    }

    /// A sandbox ends without DEL, and its pod has a new one.
    fn replace_sandbox(&mut self, chance: &Chance) {
        if self.sandboxes.is_empty() {
            return;
        }
        let old = self
            .sandboxes
            .swap_remove(chance.index(self.sandboxes.len()));
        if self.pod(&old.pod).as_ref() == Some(&old.uid) {
            self.add(&old.pod, &old.uid, old.node);
        }
    }

    // Nodes.

    fn cut(&mut self, node: usize) {
        self.nodes[node].is_connected = false;
    }

    fn power_off(&mut self, node: usize) {
        self.nodes[node].is_powered = false;
        self.sandboxes.retain(|sandbox| sandbox.node != node);
    }

    fn boot(&mut self, node: usize) {
        self.nodes[node].is_powered = true;
        self.nodes[node].is_tainted = false;
    }

    /// An operator's word, which is true.
    fn declare_dead(&mut self, node: usize, by_taint: bool) {
        if self.nodes[node].is_powered {
            return;
        }
        if by_taint {
            self.nodes[node].is_tainted = self.nodes[node].is_object;
        } else {
            self.perform(&Step::DeleteNode(node));
        }
    }

    /// A node is cut off, its pods are deleted with force, and its Node is deleted. Soon it is back, and registers.
    fn delete_by_mistake(&mut self, chance: &Chance, node: usize) {
        if !self.nodes[node].is_powered {
            return;
        }
        self.cut(node);
        let mut at = self.now + 1 + chance.below(6);
        self.steps
            .entry(at)
            .or_default()
            .push(Step::ForceDelete(node));
        at += chance.below(70);
        self.steps
            .entry(at)
            .or_default()
            .push(Step::DeleteNode(node));
        at += chance.below(20);
        self.steps.entry(at).or_default().push(Step::Mend(node));
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::ForceDelete(node) => self.pods.retain(|_, pod| pod.node != node),
            Step::DeleteNode(node) => {
                self.nodes[node].is_object = false;
                self.nodes[node].is_tainted = false;
                self.nodes[node].missing_since = self.now;
            }
            Step::Mend(node) => self.nodes[node].is_connected = true,
        }
    }

    fn kubelet(&mut self, index: usize, chance: &Chance) {
        let now = self.now;
        let node = &mut self.nodes[index];
        if !node.is_powered {
            return;
        }
        // What the operator would have been told wrongly: a living node is back before its grace ends.
        if !node.is_object && now > node.missing_since + 20 {
            node.is_connected = true;
        }
        if !node.is_connected {
            return;
        }
        if now >= node.heard + 10 {
            node.heard = now;
            node.renewed = node.clock + now;
            node.is_object = true;
        }
        self.end_removed_pods(index, chance);
    }

    fn end_removed_pods(&mut self, node: usize, chance: &Chance) {
        let (now, pods) = (self.now, &self.pods);
        let is_wanted = |sandbox: &Sandbox| {
            let pod = pods.get(&sandbox.pod);
            pod.is_some_and(|pod| pod.uid == sandbox.uid && !pod.is_deleting)
        };
        for sandbox in self.sandboxes.iter_mut().filter(|one| one.node == node) {
            if !is_wanted(sandbox) && sandbox.dies.is_none() {
                sandbox.dies = Some(now + chance.below(TERMINATION));
            }
        }
    }

    fn monitor(&mut self, node: usize) {
        let now = self.now;
        let node = &mut self.nodes[node];
        let is_ready = now <= node.heard + MONITOR_GRACE;
        if is_ready != node.is_ready {
            node.is_ready = is_ready;
            node.transition = now;
        }
    }

    /// The API server's collector of pods.
    fn collect_pods(&mut self) {
        let (now, nodes) = (self.now, &self.nodes);
        self.pods.retain(|_, pod| {
            let node = &nodes[pod.node];
            let is_orphan = !node.is_object && now > node.missing_since + QUARANTINE;
            let is_out_of_service = node.is_object && node.is_tainted && !node.is_ready;
            !is_orphan && !is_out_of_service
        });
    }

    /// Sandboxes end when their time has come. A DEL of a node that is cut off, and one in eight, is lost.
    fn end_sandboxes(&mut self, chance: &Chance) {
        let now = self.now;
        let is_over = |sandbox: &mut Sandbox| sandbox.dies.is_some_and(|dies| dies <= now);
        let ended: Vec<Sandbox> = self.sandboxes.extract_if(.., is_over).collect();
        for sandbox in ended {
            let is_lost = chance.below(8) == 0 || !self.nodes[sandbox.node].is_connected;
            if !is_lost
                && self
                    .claims
                    .get(&sandbox.key)
                    .is_some_and(|claim| claim.pod_uid.as_ref() == Some(&sandbox.uid))
            {
                self.claims.remove(&sandbox.key);
            }
        }
        self.remove_ended_pods();
    }

    /// A kubelet removes the object of a pod without a sandbox.
    fn remove_ended_pods(&mut self) {
        let living: BTreeSet<&String> = self.sandboxes.iter().map(|sandbox| &sandbox.uid).collect();
        let nodes = &self.nodes;
        self.pods.retain(|_, pod| {
            let node = &nodes[pod.node];
            let can_tell = node.is_powered && node.is_connected && node.is_object;
            // A pod of a node that lost its power is ended by its deletion, too.
            living.contains(&pod.uid) || !(can_tell && node.is_ready)
        });
    }
}

fn attachment(container: &str) -> Attachment {
    let name = |text: &str| Name::new(text).expect("a name");
    Attachment {
        network: name("net"),
        container: name(container),
        interface: "net1".to_owned(),
    }
}

fn pod_name(index: usize) -> PodName {
    PodName {
        namespace: "default".to_owned(),
        name: format!("pod-{index}"),
    }
}

fn node_name(index: usize) -> String {
    format!("node-{index}")
}
