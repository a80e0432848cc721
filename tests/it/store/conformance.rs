//! The suites of every store and of every registry, on real etcd.

use std::time::Duration;

use whereabouts_clock::Chance;
use whereabouts_core::registry;
use whereabouts_etcd::{EtcdStore, SystemClock};
use whereabouts_protocol::session::Session;
use whereabouts_store::conformance;
use whereabouts_store::keys::Keys;

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

/// Sessions on a store in etcd.
struct Sessions {
    store: EtcdStore,
    chance: Chance,
    keys: Keys,
}

impl registry::conformance::Bench for Sessions {
    type Registry<'b> = Session<'b, EtcdStore, SystemClock>;

    fn registry(&self) -> Self::Registry<'_> {
        let deadline = Duration::from_secs(10);
        Session::new(
            &self.store,
            &SystemClock,
            &self.chance,
            &self.keys,
            deadline,
        )
    }
}

#[test]
fn the_registry_in_etcd_conforms() {
    let cluster = Cluster::start(1);
    let access = cluster.access();
    let sessions = Sessions {
        store: store(&access),
        chance: Chance::new(1),
        keys: Keys::new(&access.prefix),
    };
    run(registry::conformance::all(&sessions));
}
