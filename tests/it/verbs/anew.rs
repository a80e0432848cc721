//! ADD of a pod whose sandbox is made anew: the new container takes over the addresses that the old one still holds.

use std::fs;

use serde_json::json;

use crate::plugin::{Answer, Foreigner, Network, Pod, Site, attachment, log_folder, pods, put};
use whereabouts_store::Write;
use whereabouts_store::keys::Key;

const CIDR: &str = "10.0.0.0/30";

/// A container of the pod with this UID.
fn of_pod(container: &str, uid: &str) -> Pod {
    Pod::new(container).argument(&format!("K8S_POD_UID={uid}"))
}

fn old() -> Pod {
    of_pod("old", "u-1")
}

fn new() -> Pod {
    of_pod("new", "u-1")
}

/// A range of two addresses: the old container has the second, and another pod the first.
fn full() -> (Site, Network) {
    let site = Site::shared();
    let network = site.network(CIDR);
    network.add(&Pod::new("other")).result();
    assert_eq!(network.add(&old()).address(), "10.0.0.2/30");
    (site, network)
}

#[test]
fn the_new_container_takes_over_and_the_late_del_of_the_old_one_frees_nothing() {
    let (site, network) = full();
    let added = network.add(&new());
    assert_eq!(added.address(), "10.0.0.2/30");
    site.assert_at_rest(2);
    network.check(&new(), &added.result()).assert_silent();
    assert_eq!(
        network.add(&new()).result(),
        added.result(),
        "the same again"
    );
    network
        .check(&old(), &added.result())
        .assert_error(106, &["old"]);
    let before = site.entries();
    network.del(&old()).assert_silent();
    network
        .gc(Some(&[&new(), &Pod::new("other")]))
        .assert_silent();
    assert_eq!(site.entries(), before);
    network.del(&new()).assert_silent();
    site.assert_at_rest(1);
    assert_eq!(network.add(&Pod::new("next")).address(), "10.0.0.2/30");
}

#[test]
fn the_claim_says_for_whom_it_is_now() {
    let (site, network) = full();
    network.add(&new()).result();
    let asking = Pod::new("asking").argument("IP=10.0.0.2");
    let holder = "eth0 of container new in network net, pod space/pod-new on node node-1";
    network.add(&asking).assert_error(102, &[holder]);
    site.assert_at_rest(2);
}

#[test]
fn where_another_address_is_free_the_pod_keeps_its_own_all_the_same() {
    let site = Site::shared();
    let network = site.network(CIDR);
    network.add(&Pod::new("other")).result();
    assert_eq!(network.add(&old()).address(), "10.0.0.2/30");
    network.del(&Pod::new("other")).assert_silent();
    assert_eq!(network.add(&new()).address(), "10.0.0.2/30");
    site.assert_at_rest(1);
    network.del(&old()).assert_silent();
    site.assert_at_rest(1);
}

#[test]
fn an_old_address_that_is_excluded_now_stays_with_the_old_container() {
    let site = Site::shared();
    let network = site.network(CIDR);
    assert_eq!(network.add(&old()).address(), "10.0.0.1/30");
    let later = network.ipam(json!({"exclude": ["10.0.0.1/32"]}));
    assert_eq!(later.add(&new()).address(), "10.0.0.2/30");
    site.assert_at_rest(2);
    later.del(&old()).assert_silent();
    site.assert_at_rest(1);
}

#[test]
fn an_old_claim_that_cannot_be_read_is_no_reason_to_fail() {
    let site = Site::shared();
    let network = site.network(CIDR);
    network.add(&old()).result();
    put(
        &site,
        Write::Put {
            key: site.keys().encode(&Key::Claim(attachment("net", &old()))),
            value: vec![200, 1, 2, 3],
            lease: 0,
        },
    );
    assert_eq!(network.add(&new()).address(), "10.0.0.2/30");
}

#[test]
fn a_lock_of_others_holds_up_no_pod_that_has_its_address() {
    let site = Site::shared();
    let network = site.network(CIDR);
    network.add(&old()).result();
    let foreigner = Foreigner::hold(&site, CIDR);
    assert_eq!(network.add(&new()).address(), "10.0.0.1/30");
    foreigner.leave(&site);
    site.assert_at_rest(1);
}

#[test]
fn a_requested_address_that_the_old_container_holds_is_taken_over() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let at = |pod: Pod| pod.argument("IP=10.0.0.77");
    network.add(&at(old())).result();
    assert_eq!(network.add(&at(new())).address(), "10.0.0.77/24");
    network.del(&old()).assert_silent();
    site.assert_at_rest(1);
}

#[test]
fn both_addresses_of_a_dual_stack_pod_are_taken_over_when_one_range_is_full() {
    let site = Site::shared();
    let dual = json!({"ipRanges": [{"range": "fd00::/64"}]});
    let network = site.network("10.0.0.1/32").ipam(dual);
    let expected = ["10.0.0.1/32", "fd00::1/64"];
    assert_eq!(network.add(&old()).addresses(), expected);
    assert_eq!(network.add(&new()).addresses(), expected);
    network.del(&new()).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn many_adds_of_the_new_container_at_once_are_answered_the_same() {
    let (site, network) = full();
    let adds: Vec<_> = (0..6)
        .map(|_| network.call("ADD", &new()).start())
        .collect();
    for add in adds {
        assert_eq!(add.finish().address(), "10.0.0.2/30");
    }
    site.assert_at_rest(2);
}

/// Each pod of a full range is made anew: while ADDs of its new container run, twice and one more that is killed, its
/// old container is deleted, and GCs collect what is old.
#[test]
fn pods_that_are_made_anew_at_once_each_hold_what_they_were_answered_and_nothing_else() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/29");
    let made = |container: &str| -> Vec<Pod> {
        let uids = (1..=6).map(|number| format!("u-{number}"));
        uids.map(|uid| of_pod(&format!("{container}-{uid}"), &uid))
            .collect()
    };
    let (old, new) = (made("old"), made("new"));
    for pod in &old {
        network.add(pod).result();
    }
    let valid: Vec<&Pod> = new.iter().collect();
    let start = |verb: &str, pod: &Pod| network.call(verb, pod).start();
    let killed: Vec<_> = new.iter().map(|pod| start("ADD", pod)).collect();
    let adds: Vec<_> = [&new, &new]
        .map(|new| new.iter().map(|pod| start("ADD", pod)).collect::<Vec<_>>())
        .into_iter()
        .flatten()
        .collect();
    let dels: Vec<_> = old.iter().map(|pod| start("DEL", pod)).collect();
    network.gc(Some(&valid)).assert_silent();
    drop(killed);
    let mut answers = Vec::new();
    for add in adds {
        answers.push(add.finish());
    }
    for del in dels {
        del.finish().assert_silent();
    }
    let answers: Vec<_> = answers.iter().map(Answer::address).collect();
    let (first, second) = answers.split_at(new.len());
    assert_eq!(first, second, "the same again");
    let again: Vec<_> = new.iter().map(|pod| network.add(pod).address()).collect();
    assert_eq!(first, again, "what was answered is held");
    network.gc(Some(&valid)).assert_silent();
    site.assert_at_rest(6);
    for pod in old.iter().chain(&new) {
        network.del(pod).assert_silent();
    }
    site.assert_at_rest(0);
}

#[test]
fn what_the_old_container_holds_on_another_node_is_left_and_named_with_code_11() {
    let (site, network) = full();
    let before = site.entries();
    let elsewhere = network.clone().ipam(json!({"node_name": "node-2"}));
    let parts = ["pod space/pod-old", "container old", "node node-1"];
    elsewhere.add(&new()).assert_error(11, &parts);
    assert_eq!(site.entries(), before);
    network.del(&old()).assert_silent();
    assert_eq!(elsewhere.add(&new()).address(), "10.0.0.2/30");
}

/// A claim that is not the old one of this attachment stays, and the answer is that the range is full.
fn check_full(change: impl Fn(Network) -> Network, asking: &Pod) {
    let (site, network) = full();
    let before = site.entries();
    change(network).add(asking).assert_error(101, &[CIDR]);
    assert_eq!(site.entries(), before, "{asking:?}");
}

#[test]
fn of_another_pod_interface_or_network_nothing_is_taken_over() {
    let same = |network: Network| network;
    check_full(same, &Pod::new("new"));
    check_full(same, &of_pod("new", "u-2"));
    check_full(same, &new().interface("eth1"));
    check_full(|network| network.config(json!({"name": "net-2"})), &new());
}

#[test]
fn an_address_that_the_range_does_not_give_any_more_is_not_taken_over() {
    let excluding = |network: Network| network.ipam(json!({"exclude": ["10.0.0.2"]}));
    check_full(excluding, &new());
}

#[test]
fn a_pod_without_a_known_uid_has_no_old_container() {
    let site = Site::shared();
    let network = site.network(CIDR);
    for pod in pods(2) {
        network.add(&pod).result();
    }
    network.add(&Pod::new("c2")).assert_error(101, &[CIDR]);
    site.assert_at_rest(2);
}

#[test]
fn the_log_tells_from_whom_was_taken_over() {
    let (_site, network) = full();
    let folder = log_folder();
    let log = folder.path().join("log");
    network.ipam(json!({"log_file": log})).add(&new()).result();
    let log = fs::read_to_string(log).expect("it was written");
    assert!(
        log.contains("eth0 of container old in network net"),
        "{log}"
    );
}
