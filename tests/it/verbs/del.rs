//! DEL: all of the attachment's addresses and only those, and success whenever there is nothing.

use serde_json::json;

use crate::plugin::{Pod, Site, pods};

#[test]
fn del_of_an_unknown_attachment_succeeds_and_writes_nothing() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("other")).result();
    let before = site.entries();
    network.del(&Pod::new("unknown")).assert_silent();
    assert_eq!(site.entries(), before);
}

#[test]
fn a_second_del_succeeds_and_frees_nobody_elses_address() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let (old, new) = (Pod::new("old"), Pod::new("new"));
    network.add(&old).result();
    network.del(&old).assert_silent();
    assert_eq!(network.add(&new).address(), "10.0.0.1/24");
    let before = site.entries();
    network.del(&old).assert_silent();
    assert_eq!(site.entries(), before);
}

#[test]
fn del_releases_both_addresses_of_a_dual_stack_attachment() {
    let site = Site::shared();
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"ipRanges": [{"range": "fd00::/64"}]}));
    let pod = Pod::new("dual");
    assert_eq!(network.add(&pod).addresses().len(), 2);
    network.del(&pod).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn del_of_one_interface_leaves_the_other_of_its_container() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let (eth0, eth1) = (Pod::new("c"), Pod::new("c").interface("eth1"));
    assert_eq!(network.add(&eth0).address(), "10.0.0.1/24");
    let second = network.add(&eth1).result();
    network.del(&eth0).assert_silent();
    network.check(&eth1, &second).assert_silent();
    site.assert_at_rest(1);
    network.del(&eth1).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn del_in_one_network_leaves_the_same_container_in_another() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let other = network.clone().config(json!({"name": "other"}));
    let pod = Pod::new("c");
    network.add(&pod).result();
    assert_eq!(other.add(&pod).address(), "10.0.0.2/24");
    network.del(&pod).assert_silent();
    site.assert_at_rest(1);
}

/// ADD with one config, DEL with what `ipam` makes of it: the claim says what is held.
fn check_changed(ipam: serde_json::Value) {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c");
    network.add(&pod).result();
    network.ipam(ipam).del(&pod).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn del_with_a_changed_range_releases_what_is_held() {
    check_changed(json!({"range": "10.7.0.0/16"}));
}

#[test]
fn del_without_a_range_releases_what_is_held() {
    check_changed(json!({"range": null}));
}

#[test]
fn del_lives_with_a_wrong_range_and_a_wrong_exclusion() {
    check_changed(json!({"range": "300.0.0.0/99", "exclude": ["here"]}));
}

#[test]
fn del_lives_with_a_key_misspelt_that_add_refuses() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c");
    network.add(&pod).result();
    let misspelt = network.ipam(json!({"rangeStart": "10.0.0.9"}));
    misspelt
        .add(&Pod::new("d"))
        .assert_error(7, &["rangeStart", "range_start"]);
    misspelt.del(&pod).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn del_needs_neither_a_network_namespace_nor_a_prev_result() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let pods = pods(2);
    for pod in &pods {
        network.add(pod).result();
    }
    let without = network.call("DEL", &pods[0]).variable("CNI_NETNS", "");
    without.run().assert_silent();
    let gone = network
        .call("DEL", &pods[1])
        .variable("CNI_NETNS", "/run/netns/gone-for-good");
    gone.run().assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn del_in_a_version_before_prev_result_releases() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24").version("0.1.0");
    let pod = Pod::new("c");
    network.add(&pod).result();
    network.del(&pod).assert_silent();
    site.assert_at_rest(0);
}
