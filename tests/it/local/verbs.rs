//! The verbs on a file, and without one.

use super::{Host, number};
use crate::plugin::Pod;

#[test]
fn the_verbs_do_on_a_file_what_they_do_on_etcd() {
    let host = Host::new();
    let network = host.network("10.0.0.0/30");
    let (a, b, c) = (Pod::new("a"), Pod::new("b"), Pod::new("c"));
    let added = network.add(&a);
    assert_eq!(added.address(), "10.0.0.1/30");
    assert_eq!(network.add(&a).address(), "10.0.0.1/30", "again");
    network.check(&a, &added.result()).assert_silent();
    network.status().assert_silent();
    assert_eq!(number(&network.add(&b)), 2);
    network
        .add(&c)
        .assert_error(101, &["range 10.0.0.0/30", "full"]);
    network.status().assert_error(50, &["full"]);
    network.del(&a).assert_silent();
    network.del(&a).assert_silent();
    network
        .check(&a, &added.result())
        .assert_error(106, &["holds no address"]);
    assert_eq!(number(&network.add(&c)), 1);
    network.gc(Some(&[&c])).assert_silent();
    host.assert_at_rest(1);
    network.gc(None).assert_silent();
    host.assert_at_rest(1);
}

#[test]
fn without_a_file_there_is_nothing_and_only_an_add_makes_one() {
    let host = Host::with(&serde_json::json!({"cluster_id": "cluster-1"}));
    let network = host.network("10.0.0.0/24");
    let pod = Pod::new("a");
    network.del(&pod).assert_silent();
    network.gc(Some(&[])).assert_silent();
    network.status().assert_silent();
    let previous = serde_json::json!({"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.1/24"}]});
    network
        .check(&pod, &previous)
        .assert_error(106, &["holds no address"]);
    host.assert_at_rest(0);
    let left = std::fs::read_dir(host.folder.path()).expect("it is ours");
    assert_eq!(left.count(), 0, "nothing is made");
    assert_eq!(number(&network.add(&pod)), 1);
    assert!(host.path().is_file());
}

#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::new();
    host.network("10.0.0.0/24").add(&Pod::new("a")).result();
    for entry in std::fs::read_dir(host.folder.path()).expect("it is ours") {
        let entry = entry.expect("it can be listed");
        let mode = entry.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
}
