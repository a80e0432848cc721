//! The verbs over the real server, each with the token of its node. The policies are in force.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use whereabouts_apiserver::{Access, Client, Objects};
use whereabouts_clock::Chance;
use whereabouts_core::address::{Address, Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Held, Owner, Want};
use whereabouts_core::verbs::{
    self, CheckRequest, Expectation, GcRequest, StatusRequest, ValidAttachment, WhenFull,
};
use whereabouts_etcd::SystemClock;
use whereabouts_kubernetes::KubernetesRegistry;

use super::lab::{Lab, run};

const DEADLINE: Duration = Duration::from_mins(1);

/// A network, its range, and the access of a node.
#[derive(Clone)]
pub(super) struct Node {
    network: &'static str,
    range: Range,
    name: &'static str,
    access: Access,
}

type Registry<'r> = KubernetesRegistry<'r, Objects, SystemClock>;

impl Node {
    pub(super) fn new(lab: &Lab, name: &'static str, network: &'static str, cidr: &str) -> Self {
        let spec = RangeSpec::of(cidr.parse().expect("a CIDR"));
        Self {
            network,
            range: Range::new(spec).expect("it makes sense"),
            name,
            access: lab.node(name),
        }
    }

    /// One execution of the plugin, with a connection of its own.
    fn execute<T>(&self, seed: u64, what: impl AsyncFnOnce(&Registry<'_>) -> T) -> T {
        let objects = Objects::of(Client::new(&self.access).expect("an access"));
        let chance = Chance::new(seed);
        let registry = KubernetesRegistry::new(&objects, &SystemClock, &chance, DEADLINE);
        run(what(&registry))
    }

    pub(super) fn attachment(&self, container: &str) -> Attachment {
        Attachment {
            network: Name::new(self.network).expect("a name"),
            container: Name::new(container).expect("a name"),
            interface: "eth0".to_owned(),
        }
    }

    fn add(&self, container: &str, seed: u64) -> Result<Vec<Held>, String> {
        let owner = Owner {
            pod_uid: Some(format!("uid of {container}")),
            ..Owner::default()
        };
        self.add_of(container, seed, owner)
    }

    /// An ADD of a container with this owner on the node.
    pub(super) fn add_of(
        &self,
        container: &str,
        seed: u64,
        owner: Owner,
    ) -> Result<Vec<Held>, String> {
        let ask = Ask {
            attachment: self.attachment(container),
            wants: vec![Want::lowest(&self.range)],
            owner: Owner {
                node: Some(self.name.to_owned()),
                ..owner
            },
            may_take_over: true,
        };
        let added = self.execute(seed, async |registry| verbs::add(registry, &ask).await);
        added.map_err(|error| error.to_string())
    }

    pub(super) fn added(&self, container: &str, seed: u64) -> Address {
        self.add(container, seed).expect("it is added")[0].address
    }

    pub(super) fn del(&self, container: &str) -> Result<(), String> {
        let attachment = self.attachment(container);
        let ended = self.execute(2, async |registry| {
            verbs::del(registry, &attachment, &[]).await
        });
        ended.map_err(|error| error.to_string())
    }

    fn check(&self, container: &str, address: &str) -> Result<(), String> {
        let request = CheckRequest {
            attachment: self.attachment(container),
            previous: vec![address.parse().expect("an address")],
            statics: Vec::new(),
            claim: Expectation::Needed,
        };
        let ended = self.execute(3, async |registry| verbs::check(registry, &request).await);
        ended.map_err(|error| error.to_string())
    }

    fn gc(&self, valid: &[&str]) -> usize {
        let valid = valid.iter().map(|container| ValidAttachment {
            container: (*container).to_owned(),
            interface: "eth0".to_owned(),
        });
        let request = GcRequest {
            network: Name::new(self.network).expect("a name"),
            node: Some(self.name.to_owned()),
            valid: Some(valid.collect()),
        };
        let collected = self.execute(4, async |registry| verbs::gc(registry, &request).await);
        collected.expect("it is collected").released
    }

    fn status(&self) -> Result<(), String> {
        let request = StatusRequest {
            wants: vec![Want::lowest(&self.range)],
            when_full: WhenFull::Error,
        };
        let ended = self.execute(5, async |registry| verbs::status(registry, &request).await);
        ended.map_err(|error| error.to_string())
    }
}

#[test]
fn each_verb_works_with_the_token_of_its_node() {
    let lab = Lab::shared();
    let node = |name| Node::new(&lab, name, "verbs", "10.60.0.0/29");
    let (a, b) = (node("a"), node("b"));
    a.status().expect("the range is free");
    let first = a.added("one", 1);
    assert_eq!(first.to_string(), "10.60.0.1");
    assert_eq!(a.added("one", 10), first, "the same again");
    assert_eq!(b.added("two", 1).to_string(), "10.60.0.2");
    assert_eq!(a.added("three", 1).to_string(), "10.60.0.3");
    a.check("one", "10.60.0.1/29").expect("it has its address");
    a.check("one", "10.60.0.2/29").expect_err("another address");
    a.check("four", "10.60.0.4/29").expect_err("there is none");
    let denied = a.del("two").expect_err("the claim of another node");
    assert!(denied.contains("may not change"), "{denied}");
    assert_eq!(a.gc(&["one"]), 1, "its own claim alone");
    b.check("two", "10.60.0.2/29").expect("nobody collects it");
    for number in 3..=6 {
        assert_eq!(
            b.added(&format!("b{number}"), 1).to_string(),
            format!("10.60.0.{number}")
        );
    }
    let full = b.add("late", 1).expect_err("the range is full");
    assert!(full.contains("is full"), "{full}");
    b.status().expect_err("the range is full");
    a.del("one").expect("it is deleted");
    a.del("one").expect("there is nothing to delete");
    assert_eq!(b.added("late", 1), first);
}

#[test]
fn adds_of_two_nodes_at_once_get_the_lowest_addresses() {
    const EACH: u64 = 12;
    let lab = Lab::shared();
    let nodes = ["a", "b"].map(|name| Node::new(&lab, name, "crowd", "10.61.0.0/24"));
    let containers = |name: &str| {
        (0..EACH)
            .map(|number| format!("{name}{number}"))
            .collect::<Vec<_>>()
    };
    let mut threads = Vec::new();
    for (place, node) in (0..).zip(&nodes) {
        for (number, container) in (0..).zip(containers(node.name)) {
            let node = node.clone();
            threads.push(thread::spawn(move || {
                node.added(&container, place * EACH + number)
            }));
        }
    }
    let given: BTreeSet<Address> = threads
        .into_iter()
        .map(|thread| thread.join().expect("it is added"))
        .collect();
    let expected = (1..=2 * EACH).map(|number| format!("10.61.0.{number}"));
    let expected: BTreeSet<Address> = expected
        .map(|text| text.parse::<std::net::IpAddr>().expect("an address").into())
        .collect();
    assert_eq!(given, expected);
    for node in &nodes {
        for container in containers(node.name) {
            node.del(&container).expect("it is deleted");
        }
    }
    assert_eq!(nodes[0].added("next", 99).to_string(), "10.61.0.1");
}
