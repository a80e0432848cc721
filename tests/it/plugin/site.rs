//! A part of an etcd cluster that one test has for itself, and a look at what is in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::json;
use whereabouts_audit::invariants::{Audit, audit};
use whereabouts_clock::Chance;
use whereabouts_core::address::{Range, RangeSpec};
use whereabouts_etcd::Access;
use whereabouts_etcd::EtcdStore;
use whereabouts_store::keys::{Key, Keys, TicketId};
use whereabouts_store::listing::list;
use whereabouts_store::record::{self, Ticket};
use whereabouts_store::{Entry, Unavailable};

use super::Network;
use crate::support::etcd::Cluster;
use crate::support::{poll, run};

/// A part of a cluster.
pub(crate) struct Site {
    /// The cluster.
    pub(crate) cluster: Arc<Cluster>,
    /// Below which all keys are.
    pub(crate) prefix: String,
}

impl Site {
    /// A part of a cluster of one member that other tests use at the same time. The last one that
    /// lets go ends it.
    pub(crate) fn shared() -> Self {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        static SITES: AtomicU64 = AtomicU64::new(0);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Cluster::start(1));
            *shared = Arc::downgrade(&cluster);
            cluster
        });
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("/site-{number}/");
        Self { cluster, prefix }
    }

    /// All of a cluster: for a test that counts its requests, or does something to it.
    pub(crate) fn of(cluster: Cluster) -> Self {
        let prefix = cluster.access().prefix;
        let cluster = Arc::new(cluster);
        Self { cluster, prefix }
    }

    /// A network that gives of `range`.
    pub(crate) fn network(&self, range: &str) -> Network {
        self.without_range().ipam(json!({"range": range}))
    }

    /// A network that has no range.
    pub(crate) fn without_range(&self) -> Network {
        Network::new(&self.cluster, &self.prefix)
    }

    /// How to reach it.
    pub(crate) fn access(&self) -> Access {
        Access {
            prefix: self.prefix.clone(),
            ..self.cluster.access()
        }
    }

    /// The store.
    pub(crate) fn store(&self) -> EtcdStore {
        EtcdStore::new(&self.access(), &Chance::new(1))
    }

    /// Its keys.
    pub(crate) fn keys(&self) -> Keys {
        Keys::new(&self.prefix)
    }

    /// All that is in it, as soon as etcd tells: its leader may just be changing.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let keys = self.keys();
        // Each on a store of its own: its connections live no longer than their runtime.
        let listing = poll("etcd tells", || match run(list(&self.store(), &keys)) {
            Ok(listing) => Some(listing),
            Err(Unavailable::Later(_) | Unavailable::NotNow(_)) => None,
            Err(error) => panic!("{error}"),
        });
        listing.entries
    }

    /// The entry under one key.
    pub(crate) fn entry(&self, key: &Key) -> Option<Entry> {
        let key = self.keys().encode(key);
        self.entries().into_iter().find(|entry| entry.key == key)
    }

    /// The ticket that an entry is, if it can be read as one.
    pub(crate) fn ticket(&self, entry: &Entry) -> Option<(TicketId, Ticket)> {
        match self.keys().decode(&entry.key) {
            Ok(Key::Ticket(seat)) => record::decode_ticket(&seat, &entry.value).ok(),
            Ok(_) | Err(_) => None,
        }
    }

    /// All that is in it, judged.
    pub(crate) fn audit(&self) -> Audit {
        audit(&self.keys(), &self.entries())
    }

    /// That it is at rest, with so many claims of one address each.
    #[track_caller]
    pub(crate) fn assert_at_rest(&self, claims: usize) {
        let audit = self.audit();
        assert_eq!(audit.findings, [], "nothing is wrong");
        let counted = (audit.claims, audit.addresses, audit.set_bits);
        assert_eq!(counted, (claims, claims, claims), "claims, addresses, bits");
        assert_eq!((audit.locks, audit.tickets), (0, 0), "locks, tickets");
    }
}

/// The range that a config with this CIDR and nothing else gives.
pub(crate) fn range(cidr: &str) -> Range {
    Range::new(RangeSpec::of(cidr.parse().expect("a CIDR"))).expect("a range")
}
