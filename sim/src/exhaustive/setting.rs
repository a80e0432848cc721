//! A scenario made ready: keys, the operations of all processes, and the store as it is at first.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use whereabouts_core::address::{Address, Bitmap, Interval, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Claim, Held, Owner, RangeId, Want};
use whereabouts_core::identity::Identity;
use whereabouts_core::limits;
use whereabouts_store::keys::{Key, Keys, QueuedVerb};
use whereabouts_store::memory::State;
use whereabouts_store::record::{self, Lock};
use whereabouts_store::{LeaseId, Txn, Write};

use super::automaton::Verb;
use super::linearizable::Holdings;
use super::scenario::{Act, Foreign, Scenario};
use crate::planted::{Bug, twist};
use crate::setup::imports;
use crate::setup::pods;
use crate::setup::sharing;

/// Leases that one operation may be granted.
pub(super) const LEASES: usize = 6;

/// A scenario made ready.
pub(super) struct Setting {
    /// The keys of the store.
    pub keys: Rc<Keys>,
    /// The operations of all processes, and at last a DEL of each attachment.
    pub verbs: Vec<Verb>,
    /// The identity of the cluster of each operation.
    pub identities: Vec<Option<Identity>>,
    /// Which operations each process executes; the last process does the DELs when all others
    /// have ended.
    pub processes: Vec<Vec<usize>>,
    /// The store at first.
    pub state: State,
    /// The leases each operation will be granted: so their numbers do not tell who came first.
    pub leases: Vec<Vec<LeaseId>>,
    /// Somebody else who has the lock of that queue at first: the lease, and what becomes of it.
    pub foreign: Option<(LeaseId, Foreign)>,
    /// The claims at first.
    pub held: Holdings,
    /// The queue of the first range of the first operation.
    pub queue: RangeId,
    /// Whether executions give up by themselves.
    pub is_impatient: bool,
    /// The bug that is planted.
    pub bug: Option<Bug>,
}

impl Setting {
    /// Prepares `scenario`, perhaps with a bug.
    pub(super) fn new(scenario: &Scenario, bug: Option<Bug>) -> Self {
        let keys = Rc::new(Keys::new("/w/"));
        let mut verbs = Vec::new();
        let mut processes = Vec::new();
        let mut identities = Vec::new();
        for (number, acts) in scenario.processes.iter().enumerate() {
            let identity = scenario.identities.get(number).copied().flatten();
            identities.extend(acts.iter().map(|_| identity.map(sharing::named)));
            processes.push((verbs.len()..verbs.len() + acts.len()).collect());
            verbs.extend(acts.iter().map(verb));
        }
        let sweep_from = verbs.len();
        let dels: Vec<Verb> = sweep(&verbs);
        verbs.extend(dels);
        identities.resize(verbs.len(), None);
        processes.push((sweep_from..verbs.len()).collect());
        let mut state = State::default();
        let held = hold(&mut state, &keys, scenario);
        let leases = verbs
            .iter()
            .map(|_| (0..LEASES).map(|_| state.grant(10).id).collect())
            .collect();
        let queue = queues_of(&verbs[0]).swap_remove(0);
        let foreign = scenario.foreign.map(|end| {
            let lease = state.grant(10).id;
            let lock = Write::Put {
                key: keys.encode(&Key::Lock(queue.clone())),
                value: record::encode_lock(&foreign_holder()),
                lease,
            };
            let txn = Txn {
                writes: vec![lock],
                ..Txn::default()
            };
            state.commit(&txn).expect("it is well formed");
            (lease, end)
        });
        Self {
            keys,
            verbs,
            identities,
            processes,
            state,
            leases,
            foreign,
            held,
            queue,
            is_impatient: scenario.deadline_ms < 1_000,
            bug,
        }
    }

    /// The operations with the identities of their clusters, and what each may take: those that delete everything at last never give up
    /// for want of time.
    pub(super) fn with_deadlines(
        &self,
        scenario: &Scenario,
    ) -> Vec<(Verb, Option<Identity>, Duration)> {
        let sweep_from = self.sweep_from();
        let deadline_ms = |verb| {
            if verb < sweep_from {
                scenario.deadline_ms
            } else {
                60_000
            }
        };
        let verbs = self.verbs.iter().cloned().enumerate();
        verbs
            .map(|(number, verb)| {
                let deadline = Duration::from_millis(deadline_ms(number));
                let identity = self.identities[number].clone();
                (twisted(self.bug, verb), identity, deadline)
            })
            .collect()
    }

    /// Whether another operation, but for the DEL at last, is about the same attachment, or another container of its pod.
    pub(super) fn has_rival(&self, operation: usize) -> bool {
        let attachment = self.verbs[operation].attachment();
        let others = self.verbs[..self.sweep_from()].iter().enumerate();
        others
            .filter(|(other, _)| *other != operation)
            .map(|(_, verb)| verb.attachment())
            .any(|other| other == attachment || pods::are_of_one(other, attachment))
    }

    /// The first of the operations that delete everything at last.
    pub(super) fn sweep_from(&self) -> usize {
        self.verbs.len() - self.processes.last().map_or(0, Vec::len)
    }
}

fn verb(act: &Act) -> Verb {
    match act {
        Act::Add(name, cidrs) => Verb::Add(Ask {
            attachment: attachment(name),
            wants: cidrs.iter().map(|cidr| want(cidr)).collect(),
            owner: owner(name),
            may_take_over: true,
        }),
        Act::Del(name, cidrs) => Verb::Del(
            attachment(name),
            cidrs.iter().map(|cidr| want(cidr).range).collect(),
        ),
    }
}

fn twisted(bug: Option<Bug>, mut verb: Verb) -> Verb {
    match &mut verb {
        Verb::Add(ask) => twist::twist_ask(bug, ask),
        Verb::Del(attachment, queues) => twist::twist_del(bug, attachment, queues),
    }
    verb
}

fn queues_of(verb: &Verb) -> Vec<RangeId> {
    match verb {
        Verb::Add(ask) => ask.wants.iter().map(|want| want.range.clone()).collect(),
        Verb::Del(_, queues) => queues.clone(),
    }
}

/// A DEL of each attachment that is added or deleted.
fn sweep(verbs: &[Verb]) -> Vec<Verb> {
    let mut seen = BTreeSet::new();
    verbs
        .iter()
        .filter(|verb| seen.insert(verb.attachment().clone()))
        .map(|verb| Verb::Del(verb.attachment().clone(), queues_of(verb)))
        .collect()
}

/// The attachment of that name: a container, and after a slash its interface, if that is not `eth0`.
fn attachment(name: &str) -> Attachment {
    let (container, interface) = name.split_once('/').unwrap_or((name, "eth0"));
    imports::attachment(container, interface)
}

/// Of a container of a known pod, the pod and its node are known.
fn owner(container: &str) -> Owner {
    let pod_uid = pods::uid_of(container);
    Owner {
        node: pod_uid.as_ref().map(|_| "node".to_owned()),
        pod_uid,
        netns: Some("of this boot".to_owned()),
        ..Owner::default()
    }
}

fn want(cidr: &str) -> Want {
    let spec = RangeSpec::of(cidr.parse().expect("a CIDR"));
    Want::lowest(&Range::new(spec).expect("a range"))
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

/// Writes what is held at first: all in one block.
fn hold(state: &mut State, keys: &Keys, scenario: &Scenario) -> Holdings {
    let mut bitmap = Bitmap::EMPTY;
    let mut held = Holdings::new();
    let mut txn = Txn::default();
    let mut put = |key: &Key, value| {
        txn.writes.push(Write::Put {
            key: keys.encode(key),
            value,
            lease: 0,
        });
    };
    for (name, cidr, first, last) in scenario.held {
        let range = want(cidr).range;
        let interval = Interval::new(address(first), address(last)).expect("in order");
        let addresses = std::iter::successors(Some(interval.first()), |a| a.successor());
        let addresses = addresses.take_while(|address| interval.contains(*address));
        let all: Vec<Held> = addresses
            .map(|address| Held {
                range: range.clone(),
                address,
            })
            .collect();
        // A claim has at most so many addresses: the rest is held by others of similar names.
        for (index, part) in all.chunks(limits::WANTS).enumerate() {
            let holder = match index {
                0 => attachment(name),
                _ => attachment(&format!("{name}{index}")),
            };
            let claim = Claim {
                held: part.to_vec(),
                usable: Vec::new(),
                owner: Owner {
                    netns: Some("of the boot before".to_owned()),
                    ..owner(name)
                },
                created: Duration::ZERO,
            };
            for held in part {
                bitmap.set(held.address.bit());
            }
            put(&Key::Claim(holder.clone()), record::encode_claim(&claim));
            if let Some(home) = claim.owner.home() {
                put(&Key::OnNode(home, holder.clone()), record::encode_on_node());
            }
            held.insert(holder, claim.held);
        }
    }
    if let Some(one) = held.values().next() {
        let slot = one[0].slot();
        let next = slot.successor().expect("not the last block");
        let is_full = bitmap.is_full(slot.block.family());
        if is_full {
            put(&Key::Full(slot), record::encode_full());
        } else {
            put(&Key::Open(slot), record::encode_block(&bitmap));
        }
        if bitmap.reaches_the_end() {
            put(&Key::Open(next), record::encode_block(&Bitmap::EMPTY));
        }
    }
    state.commit(&txn).expect("it is well formed");
    held
}

/// The value of the foreigner's lock.
fn foreign_holder() -> Lock {
    Lock {
        sender: 0,
        attachment: attachment("foreign"),
        verb: QueuedVerb::Add,
    }
}
