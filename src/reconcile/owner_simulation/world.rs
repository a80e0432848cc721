//! StatefulSets, nodes, pods, sandboxes and durable owners as they really are.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_clock::Chance;
use whereabouts_core::address::Name;
use whereabouts_core::durable::{DurableOwner, stateful_name};

use super::GRACE;
use crate::{JudgedOwner, OWNER_EVIDENCE_LASTS, Ordinals};

const NODES: u64 = 3;
const SETS: [&str; 3] = ["web", "db", "my-web"];
const NAMESPACE: &str = "default";

/// Most seconds from the first answer of a round to the end of an owner.
const ROUND: u64 = OWNER_EVIDENCE_LASTS.as_secs();

/// How long the end of a pod may take.
const TERMINATION: u64 = 8;

/// The objects of the API server: the ordinals of StatefulSets, and the UIDs of pods.
#[derive(Clone, Default)]
pub(super) struct Objects {
    pub(super) sets: BTreeMap<String, Ordinals>,
    pub(super) pods: BTreeMap<String, String>,
}

#[derive(Clone, Copy)]
struct Node {
    is_powered: bool,
    is_connected: bool,
}

struct Pod {
    node: usize,
    is_deleting: bool,
}

struct Sandbox {
    uid: String,
    node: usize,
    dies: Option<u64>,
}

struct Owner {
    revision: i64,
    written: u64,
    /// The UID of the pod whose attachment has the addresses.
    attached: Option<String>,
}

/// All of it.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) ended: u64,
    objects: Objects,
    /// The objects at each second.
    past: Vec<Objects>,
    /// Until then the controller of StatefulSets makes no pod of a set: it is behind, or an earlier pod is not ready.
    stuck: BTreeMap<String, u64>,
    nodes: Vec<Node>,
    /// By UID.
    pods: BTreeMap<String, Pod>,
    sandboxes: Vec<Sandbox>,
    /// By the names of pods.
    owners: BTreeMap<String, Owner>,
    /// Attachments of nodes that lost their power, with the second of their release by the controller.
    lost: Vec<(u64, String)>,
    counter: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let node = Node {
            is_powered: true,
            is_connected: true,
        };
        Self {
            now: 0,
            ended: 0,
            objects: Objects::default(),
            past: Vec::new(),
            stuck: BTreeMap::new(),
            nodes: (0..NODES).map(|_| node).collect(),
            pods: BTreeMap::new(),
            sandboxes: Vec::new(),
            owners: BTreeMap::new(),
            lost: Vec::new(),
            counter: 0,
        }
    }

    /// At most a fault or a change.
    pub(super) fn suffer(&mut self, chance: &Chance) {
        let node = chance.index(self.nodes.len());
        let set = SETS[chance.index(SETS.len())];
        match chance.below(200) {
            0..=3 => self.scale(set, chance),
            4..=5 => self.delete_set(set, false),
            6..=7 => self.delete_set(set, true),
            8..=10 => self.delete_pod(chance, false),
            11..=12 => self.delete_pod(chance, true),
            13 => self.nodes[node].is_connected = false,
            14..=15 => self.nodes[node].is_connected = true,
            16 => self.power_off(node, chance),
            17..=18 => self.nodes[node].is_powered = true,
            19..=20 => {
                let until = self.now + chance.below(300);
                self.stuck.insert(set.to_owned(), until);
            }
            _ => {}
        }
    }

    /// All faults end, and so do all pods without a StatefulSet.
    pub(super) fn recover(&mut self) {
        self.stuck.clear();
        for node in &mut self.nodes {
            node.is_powered = true;
            node.is_connected = true;
        }
        let sets = &self.objects.sets;
        for (name, uid) in &self.objects.pods {
            if !is_wanted(sets, name) {
                self.pods.get_mut(uid).expect("it is there").is_deleting = true;
            }
        }
    }

    /// At the end each owner has an attachment, a pod or a StatefulSet that wants it.
    pub(super) fn expect_no_leak(&self) -> Result<(), String> {
        let is_leaked = |(name, owner): &(&String, &Owner)| {
            owner.attached.is_none() && self.unwanted_at(self.now - 1, name)
        };
        let leaked = self.owners.iter().filter(is_leaked).map(|(name, _)| name);
        let leaked: Vec<_> = leaked.collect();
        leaked
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("leaked: {leaked:?}"))
    }

    /// A second passes.
    pub(super) fn tick(&mut self, chance: &Chance) {
        self.past.push(self.objects.clone());
        self.now += 1;
        self.make_pods(chance);
        self.end_unwanted_pods();
        self.end_sandboxes(chance);
        self.add_sandboxes();
        self.release_lost();
    }

    // Questions of a controller.

    pub(super) fn owners(&self) -> Vec<JudgedOwner> {
        let owners = self.owners.iter().map(|(pod, owner)| JudgedOwner {
            owner: durable(pod),
            revision: owner.revision,
            is_at_rest: owner.attached.is_none(),
        });
        owners.collect()
    }

    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The objects of some seconds ago.
    pub(super) fn objects_before(&self, seconds: u64) -> &Objects {
        self.objects_at(self.now.saturating_sub(seconds))
    }

    fn objects_at(&self, second: u64) -> &Objects {
        let index = usize::try_from(second).expect("it is small");
        self.past.get(index).unwrap_or(&self.objects)
    }

    /// Ends the owner of a pod's name, at any revision if `revision` is `None`. An owner with an attachment refuses that,
    /// unless `may_be_attached`. Fails if the owner must stay.
    pub(super) fn end(
        &mut self,
        pod: &str,
        revision: Option<i64>,
        may_be_attached: bool,
    ) -> Result<(), String> {
        let Some(owner) = self.owners.get(pod) else {
            return Ok(());
        };
        if revision.is_some_and(|revision| revision != owner.revision) {
            return Ok(());
        }
        let wrong = |what: &str| {
            Err(format!(
                "at {} s: the owner {pod} ends, and {what}",
                self.now
            ))
        };
        if owner.attached.is_some() {
            return if may_be_attached {
                wrong("is attached")
            } else {
                Ok(())
            };
        }
        if !self.was_unwanted_for_a_grace(pod, owner.written) {
            return wrong("was wanted within the grace");
        }
        self.owners.remove(pod);
        self.ended += 1;
        Ok(())
    }

    /// Whether nothing wanted the pod just now, and nothing wanted it a grace earlier, after its owner was written.
    fn was_unwanted_for_a_grace(&self, pod: &str, written: u64) -> bool {
        let from = self.now.saturating_sub(ROUND).max(GRACE);
        let is_late = |late: u64| self.unwanted_at(late, pod);
        let is_early = |late: u64| {
            (written..=late.saturating_sub(GRACE)).any(|early| self.unwanted_at(early, pod))
        };
        (from..=self.now).any(|late| is_late(late) && is_early(late))
    }

    fn unwanted_at(&self, second: u64, pod: &str) -> bool {
        let objects = self.objects_at(second);
        !objects.pods.contains_key(pod) && !is_wanted(&objects.sets, pod)
    }

    // StatefulSets.

    fn scale(&mut self, set: &str, chance: &Chance) {
        let small = |below| u32::try_from(chance.below(below)).expect("it is small");
        let ordinals = Ordinals {
            start: small(2) * small(4),
            replicas: small(4),
        };
        self.objects.sets.insert(set.to_owned(), ordinals);
    }

    fn delete_set(&mut self, set: &str, is_orphaning: bool) {
        self.objects.sets.remove(set);
        if is_orphaning {
            return;
        }
        for (name, uid) in &self.objects.pods {
            if stateful_name(name).is_some_and(|(of, _)| of == set) {
                self.pods.get_mut(uid).expect("it is there").is_deleting = true;
            }
        }
    }

    fn make_pods(&mut self, chance: &Chance) {
        let now = self.now;
        let is_stuck = |set: &String| self.stuck.get(set).is_some_and(|until| now < *until);
        let sets = self.objects.sets.iter().filter(|(set, _)| !is_stuck(set));
        let names = sets.flat_map(|(set, ordinals)| {
            let Ordinals { start, replicas } = *ordinals;
            (start..start + replicas).map(move |ordinal| format!("{set}-{ordinal}"))
        });
        let missing = names.filter(|name| !self.objects.pods.contains_key(name));
        for name in missing.collect::<Vec<_>>() {
            let node = chance.index(self.nodes.len());
            if self.is_well(node) {
                self.counter += 1;
                let uid = format!("u{}", self.counter);
                self.objects.pods.insert(name, uid.clone());
                let pod = Pod {
                    node,
                    is_deleting: false,
                };
                self.pods.insert(uid, pod);
            }
        }
    }

    /// The controller of StatefulSets deletes the pods that a set does not want any more.
    fn end_unwanted_pods(&mut self) {
        let sets = &self.objects.sets;
        for (name, uid) in &self.objects.pods {
            let has_set = stateful_name(name).is_some_and(|(set, _)| sets.contains_key(set));
            if has_set && !is_wanted(sets, name) {
                self.pods.get_mut(uid).expect("it is there").is_deleting = true;
            }
        }
    }

    // Pods and nodes.

    fn is_well(&self, node: usize) -> bool {
        self.nodes[node].is_powered && self.nodes[node].is_connected
    }

    fn delete_pod(&mut self, chance: &Chance, is_forced: bool) {
        let pods = &self.objects.pods;
        let name = pods.keys().nth(chance.index(pods.len().max(1))).cloned();
        let Some((name, uid)) =
            name.and_then(|name| pods.get(&name).cloned().map(|uid| (name, uid)))
        else {
            return;
        };
        if is_forced {
            self.remove_pod(&name);
        } else {
            self.pods.get_mut(&uid).expect("it is there").is_deleting = true;
        }
    }

    fn remove_pod(&mut self, name: &str) {
        let uid = self.objects.pods.remove(name).expect("it is there");
        self.pods.remove(&uid);
    }

    /// Sandboxes end without DEL. The controller releases their claims later.
    fn power_off(&mut self, node: usize, chance: &Chance) {
        self.nodes[node].is_powered = false;
        let is_there = |sandbox: &mut Sandbox| sandbox.node == node;
        for sandbox in self.sandboxes.extract_if(.., is_there) {
            let at = self.now + 60 + chance.below(100);
            self.lost.push((at, sandbox.uid));
        }
        let pods = self.objects.pods.iter();
        let gone = pods.filter(|(_, uid)| self.pods[*uid].node == node);
        let gone: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.remove_pod(name);
        }
    }

    fn release_lost(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.lost.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, uid) in due {
            self.rest(&uid);
        }
    }

    /// ADD of each pod that has no sandbox: its owner comes into being, or gives its addresses. It waits for an owner
    /// with another attachment.
    fn add_sandboxes(&mut self) {
        let running: BTreeSet<&String> = self.sandboxes.iter().map(|one| &one.uid).collect();
        let pods = self.objects.pods.iter().filter(|(_, uid)| {
            let pod = &self.pods[*uid];
            !running.contains(uid) && !pod.is_deleting && self.is_well(pod.node)
        });
        let starting: Vec<_> = pods
            .map(|(name, uid)| (name.clone(), uid.clone()))
            .collect();
        for (pod, uid) in starting {
            let owner = self.owners.get(&pod);
            if owner.is_some_and(|owner| owner.attached.is_some()) {
                continue;
            }
            let node = self.pods[&uid].node;
            self.write(&pod, Some(uid.clone()));
            self.sandboxes.push(Sandbox {
                uid,
                node,
                dies: None,
            });
        }
    }

    /// The kubelet of a node that is well ends the sandboxes of pods that are deleted, and their objects.
    fn end_sandboxes(&mut self, chance: &Chance) {
        let now = self.now;
        let nodes = self.nodes.clone();
        let is_well = |node: usize| nodes[node].is_powered && nodes[node].is_connected;
        for sandbox in self.sandboxes.iter_mut().filter(|one| is_well(one.node)) {
            let pod = self.pods.get(&sandbox.uid);
            if pod.is_none_or(|pod| pod.is_deleting) && sandbox.dies.is_none() {
                sandbox.dies = Some(now + chance.below(TERMINATION));
            }
        }
        let is_over =
            |one: &mut Sandbox| is_well(one.node) && one.dies.is_some_and(|dies| dies <= now);
        for ended in self.sandboxes.extract_if(.., is_over).collect::<Vec<_>>() {
            self.rest(&ended.uid);
        }
        let running: BTreeSet<&String> = self.sandboxes.iter().map(|one| &one.uid).collect();
        let pods = self.objects.pods.iter().filter(|(_, uid)| {
            let pod = &self.pods[*uid];
            pod.is_deleting && is_well(pod.node) && !running.contains(uid)
        });
        let gone: Vec<String> = pods.map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.remove_pod(name);
        }
    }

    /// The attachment of the pod with `uid` ends.
    fn rest(&mut self, uid: &str) {
        let mut owners = self.owners.iter();
        let owner = owners.find(|(_, owner)| owner.attached.as_deref() == Some(uid));
        if let Some(pod) = owner.map(|(pod, _)| pod.clone()) {
            self.write(&pod, None);
        }
    }

    fn write(&mut self, pod: &str, attached: Option<String>) {
        self.counter += 1;
        let owner = Owner {
            revision: i64::try_from(self.counter).expect("it is small"),
            written: self.now,
            attached,
        };
        self.owners.insert(pod.to_owned(), owner);
    }
}

fn is_wanted(sets: &BTreeMap<String, Ordinals>, pod: &str) -> bool {
    let named = stateful_name(pod);
    named.is_some_and(|(set, ordinal)| {
        let ordinals = sets.get(set);
        ordinals
            .is_some_and(|wanted| (wanted.start..wanted.start + wanted.replicas).contains(&ordinal))
    })
}

fn durable(pod: &str) -> DurableOwner {
    DurableOwner {
        network: Name::new("net").expect("a name"),
        namespace: NAMESPACE.to_owned(),
        pod: pod.to_owned(),
        interface: "net1".to_owned(),
    }
}
