//! ADD: the lowest free addresses, the same again, all or nothing.

use serde_json::json;

use crate::plugin::{Pod, Site, pods};

#[test]
fn adds_get_the_lowest_free_addresses_in_order() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    for (number, pod) in pods(5).iter().enumerate() {
        assert_eq!(
            network.add(pod).address(),
            format!("10.0.0.{}/24", number + 1)
        );
    }
    site.assert_at_rest(5);
}

#[test]
fn the_same_add_again_answers_the_same_and_writes_nothing() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let (first, second) = (Pod::new("first"), Pod::new("second"));
    network.add(&first).result();
    let answer = network.add(&second).result();
    let before = site.entries();
    for _ in 0..3 {
        assert_eq!(network.add(&second).result(), answer);
    }
    assert_eq!(site.entries(), before);
}

#[test]
fn an_add_with_other_ranges_is_code_103_and_shows_what_is_held() {
    let site = Site::shared();
    let pod = Pod::new("moved");
    site.network("10.0.0.0/24").add(&pod).result();
    let before = site.entries();
    let moved = site.network("10.9.0.0/24").add(&pod);
    moved.assert_error(
        103,
        &["eth0 of container moved", "10.0.0.1", "DEL it first"],
    );
    assert_eq!(site.entries(), before);
}

#[test]
fn an_add_after_a_del_gets_the_lowest_again() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let pods = pods(4);
    for pod in &pods {
        network.add(pod).result();
    }
    network.del(&pods[1]).assert_silent();
    assert_eq!(network.add(&Pod::new("new")).address(), "10.0.0.2/24");
    assert_eq!(network.add(&pods[1]).address(), "10.0.0.5/24");
    site.assert_at_rest(5);
}

#[test]
fn a_dual_stack_add_gets_an_address_of_each_range_in_the_order_of_the_config() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24").ipam(json!({
        "ipRanges": [{"range": "fd00::/64"}, {"range": "10.1.0.0/16"}],
    }));
    let check = |pod: &str, expected: [&str; 3]| {
        assert_eq!(network.add(&Pod::new(pod)).addresses(), expected);
    };
    check("one", ["10.0.0.1/24", "fd00::1/64", "10.1.0.1/16"]);
    check("two", ["10.0.0.2/24", "fd00::2/64", "10.1.0.2/16"]);
    let audit = site.audit();
    assert_eq!((audit.claims, audit.addresses, audit.set_bits), (2, 6, 6));
}

#[test]
fn a_dual_stack_add_gets_nothing_when_one_of_its_ranges_is_full() {
    let site = Site::shared();
    let small = json!({"ipRanges": [{"range": "fd00::/127"}]});
    let network = site.network("10.0.0.0/24").ipam(small);
    for pod in pods(2) {
        network.add(&pod).result();
    }
    let before = site.entries();
    let refused = network.add(&Pod::new("late"));
    refused.assert_error(101, &["fd00::/127", "all of its 2 addresses are taken"]);
    assert_eq!(site.entries(), before, "no partial reservation");
}

#[test]
fn a_full_range_is_code_101_and_says_how_many_there_are() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/29");
    for pod in pods(6) {
        network.add(&pod).result();
    }
    let refused = network.add(&Pod::new("late"));
    refused.assert_error(101, &["10.0.0.0/29", "all of its 6 addresses are taken"]);
    site.assert_at_rest(6);
}

#[test]
fn a_failed_add_leaves_nothing_and_its_del_succeeds() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/32");
    let (first, late) = (Pod::new("first"), Pod::new("late"));
    let network = network.ipam(json!({"range": "10.0.0.1/32"}));
    network.add(&first).result();
    network.add(&late).assert_error(101, &["1 addresses"]);
    network.del(&late).assert_silent();
    network.del(&first).assert_silent();
    site.assert_at_rest(0);
    assert_eq!(network.add(&late).address(), "10.0.0.1/32");
}

#[test]
fn a_claim_says_for_whom_it_is() {
    let site = Site::shared();
    let pod = Pod::new("c1").argument("K8S_POD_UID=u-1");
    site.network("10.0.0.0/24").add(&pod).result();
    let taken = Pod::new("c2").argument("IP=10.0.0.1");
    let refused = site.network("10.0.0.0/24").add(&taken);
    let owner = "eth0 of container c1 in network net, pod space/pod-c1 on node node-1";
    refused.assert_error(102, &[owner]);
}
