//! A sticky network: the name of a pod of a StatefulSet keeps its address.

use std::collections::BTreeMap;
use std::thread;

use serde_json::json;

use crate::plugin::{Answer, Network, Pod, Site};

/// A range of two addresses.
const CIDR: &str = "10.0.0.0/30";

fn sticky(network: &Network) -> Network {
    network.clone().ipam(json!({"sticky": "statefulset"}))
}

/// A container of the pod `name`.
fn of(name: &str, uid: &str, container: &str) -> Pod {
    let pod = Pod::new(container);
    let pod = pod.argument(&format!("K8S_POD_NAME={name}"));
    pod.argument(&format!("K8S_POD_UID={uid}"))
}

#[test]
fn an_address_stays_over_the_deletion_of_its_pod_and_comes_back_to_its_name_alone() {
    let site = Site::shared();
    let (network, plain) = (sticky(&site.network(CIDR)), site.network(CIDR));
    assert_eq!(
        network.add(&of("web-0", "u-1", "a")).address(),
        "10.0.0.1/30"
    );
    network.del(&of("web-0", "u-1", "a")).assert_silent();
    let audit = site.audit();
    assert_eq!(
        (audit.findings.len(), audit.claims, audit.set_bits),
        (0, 0, 1)
    );
    // The name ends in no ordinal, so the address of this pod does not stay.
    assert_eq!(
        network.add(&of("web-x7", "u-2", "b")).address(),
        "10.0.0.2/30"
    );
    plain
        .add(&Pod::new("c"))
        .assert_error(101, &["range 10.0.0.0/30"]);
    let exactly = Pod::new("d").argument("IP=10.0.0.1");
    let keeper = "is kept for eth0 of pod space/web-0 in network net";
    plain.add(&exactly).assert_error(102, &["10.0.0.1", keeper]);
    let again = of("web-0", "u-3", "e");
    let added = network.add(&again);
    assert_eq!(added.address(), "10.0.0.1/30");
    network.check(&again, &added.result()).assert_silent();
    assert_eq!(
        network.add(&again).result(),
        added.result(),
        "the same again"
    );
    site.assert_at_rest(2);
    network.del(&of("web-x7", "u-2", "b")).assert_silent();
    assert_eq!(plain.add(&Pod::new("c")).address(), "10.0.0.2/30");
    // The network of this DEL is not sticky. The claim tells that it is durable.
    plain.del(&again).assert_silent();
    plain.add(&Pod::new("f")).assert_error(101, &[]);
}

#[test]
fn a_pod_of_another_uid_is_told_who_has_the_address() {
    let site = Site::shared();
    let network = sticky(&site.network(CIDR));
    network.add(&of("web-0", "u-1", "a")).result();
    let before = site.entries();
    let holder = "eth0 of container a in network net, which holds 10.0.0.1 of range 10.0.0.0/30";
    let answer = network.add(&of("web-0", "u-2", "b"));
    answer.assert_error(11, &["eth0 of pod space/web-0", holder, "pod UID u-1"]);
    assert_eq!(site.entries(), before);
    network.del(&of("web-0", "u-2", "b")).assert_silent();
    assert_eq!(site.entries(), before);
    network.del(&of("web-0", "u-1", "a")).assert_silent();
    assert_eq!(
        network.add(&of("web-0", "u-2", "b")).address(),
        "10.0.0.1/30"
    );
    site.assert_at_rest(1);
}

#[test]
fn an_address_outside_of_the_range_is_an_error_that_names_both() {
    let site = Site::shared();
    let network = sticky(&site.network("10.0.0.0/24"));
    network.add(&of("web-0", "u-1", "a")).result();
    network.del(&of("web-0", "u-1", "a")).assert_silent();
    for (keys, allowed) in [
        (json!({"range_start": "10.0.0.9"}), "10.0.0.9-10.0.0.254"),
        (json!({"exclude": ["10.0.0.0/29"]}), "10.0.0.8-10.0.0.254"),
        (
            json!({"range": "10.0.0.0/25"}),
            "10.0.0.1-10.0.0.126 of range 10.0.0.0/25",
        ),
        (
            json!({"network_name": "red"}),
            "of range 10.0.0.0/24 of pool red",
        ),
    ] {
        let answer = network.clone().ipam(keys).add(&of("web-0", "u-2", "b"));
        let keeps = "eth0 of pod space/web-0 in network net keeps 10.0.0.1 of range 10.0.0.0/24";
        answer.assert_error(103, &[keeps, allowed]);
    }
    assert_eq!(
        network.add(&of("web-0", "u-2", "b")).address(),
        "10.0.0.1/24"
    );
}

#[test]
fn a_pod_without_a_name_gets_nothing_of_a_sticky_network() {
    let site = Site::shared();
    let network = sticky(&site.network(CIDR));
    let nameless = Pod::new("a").argument("K8S_POD_NAME=");
    network
        .add(&nameless)
        .assert_error(4, &["K8S_POD_NAME", "ipam.sticky"]);
    site.assert_at_rest(0);
}

/// Adds all of `pods` at once.
fn crowd(network: &Network, pods: &[Pod]) -> Vec<Answer> {
    thread::scope(|scope| {
        let adds: Vec<_> = pods
            .iter()
            .map(|pod| scope.spawn(|| network.add(pod)))
            .collect();
        let adds = adds.into_iter().map(|add| add.join().expect("no panic"));
        adds.collect()
    })
}

#[test]
fn each_pod_of_a_crowd_gets_its_own_address_again() {
    const PODS: usize = 24;
    let site = Site::shared();
    let network = sticky(&site.network("10.0.0.0/27"));
    let pods = |uid: &str| {
        let one = |number: usize| of(&format!("web-{number}"), uid, &format!("{uid}-{number}"));
        (0..PODS).map(one).collect::<Vec<Pod>>()
    };
    let mut before = BTreeMap::new();
    for round in 0..3 {
        let pods = pods(&format!("u{round}"));
        for (number, answer) in crowd(&network, &pods).iter().enumerate() {
            let address = answer.address();
            let first = before.entry(number).or_insert_with(|| address.clone());
            assert_eq!(*first, address, "web-{number}");
        }
        site.assert_at_rest(PODS);
        for pod in &pods {
            network.del(pod).assert_silent();
        }
    }
    let audit = site.audit();
    assert_eq!((audit.findings.len(), audit.claims), (0, 0));
    assert_eq!((audit.owners, audit.set_bits), (PODS, PODS));
}

#[test]
fn of_many_containers_of_one_name_at_once_one_gets_the_address() {
    let site = Site::shared();
    let network = sticky(&site.network("10.0.0.0/27"));
    let pods: Vec<Pod> = (0..12)
        .map(|number| of("web-0", &format!("u-{number}"), &format!("c-{number}")))
        .collect();
    for _ in 0..2 {
        let answers = crowd(&network, &pods);
        let added: Vec<usize> = (0..pods.len())
            .filter(|number| answers[*number].exit_code == Some(0))
            .collect();
        let [added] = added[..] else {
            panic!("{added:?}")
        };
        assert_eq!(answers[added].address(), "10.0.0.1/27");
        for (number, answer) in answers.iter().enumerate().filter(|(one, _)| *one != added) {
            assert_eq!(answer.json()["code"], 11, "{number}: {answer:?}");
        }
        site.assert_at_rest(1);
        network.del(&pods[added]).assert_silent();
    }
}
