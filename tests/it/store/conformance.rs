//! The suite of every store, on real etcd.

use whereabouts_store::conformance;

use super::store;
use crate::support::etcd::Cluster;
use crate::support::run;

fn check(members: usize) {
    let cluster = Cluster::start(members);
    let store = store(&cluster.access());
    run(conformance::all(&store, "/"));
}

#[test]
fn the_store_in_one_member_conforms() {
    check(1);
}

#[test]
fn the_store_in_three_members_conforms() {
    check(3);
}
