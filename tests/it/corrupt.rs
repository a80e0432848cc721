//! Values in etcd that this version cannot read: a named error, and nothing overwritten.

use std::net::IpAddr;
use std::thread;

use serde_json::{Value, json};
use whereabouts::address::{Pool, Slot};
use whereabouts::store::keys::Key;
use whereabouts::store::{Entry, Write};

use crate::plugin::{Foreigner, Network, Pod, Site, TIMEOUT_S, put};
use crate::support::poll;

const CIDR: &str = "10.0.0.0/24";

/// A value that was damaged, and what is said of it.
fn damaged(value: &[u8]) -> [(Vec<u8>, &'static str); 5] {
    let newer = [&[2], &value[1..]].concat();
    let longer = [value, &[7]].concat();
    [
        (Vec::new(), "it is empty"),
        (value[..value.len() - 1].to_vec(), ""),
        (longer, ""),
        (newer, "format version 2"),
        (b"garbage".to_vec(), "format version 103"),
    ]
}

/// Two attachments that were added, and what the ADD of the first has answered.
struct Added {
    site: Site,
    network: Network,
    pods: [Pod; 2],
    previous: Value,
}

fn added() -> Added {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pods = ["one", "two"].map(Pod::new);
    let previous = network.add(&pods[0]).result();
    network.add(&pods[1]).result();
    Added {
        site,
        network,
        pods,
        previous,
    }
}

impl Added {
    fn entry(&self, key: &[u8]) -> Entry {
        let mut entries = self.site.entries().into_iter();
        let found = entries.find(|entry| entry.key == key);
        found.expect("it is there")
    }

    fn set(&self, key: &[u8], value: &[u8]) {
        let write = Write::Put {
            key: key.to_vec(),
            value: value.to_vec(),
            lease: 0,
        };
        put(&self.site, write);
    }
}

#[test]
fn a_block_that_cannot_be_read_is_code_104_and_nothing_is_overwritten() {
    let added = added();
    let address = "10.0.0.1".parse::<IpAddr>().expect("an address").into();
    let slot = Slot::of(&Pool::default(), address);
    let key = added.site.keys().encode(&Key::Open(slot));
    let name = String::from_utf8(key.clone()).expect("keys are text");
    for (value, reason) in damaged(&added.entry(&key).value) {
        added.set(&key, &value);
        let before = added.site.entries();
        let parts = [name.as_str(), "cannot be used", reason];
        let Added {
            network,
            pods: [one, _],
            previous,
            ..
        } = &added;
        network.add(&Pod::new("new")).assert_error(104, &parts);
        network.del(one).assert_error(104, &parts);
        network.check(one, previous).assert_error(104, &parts);
        network.gc(Some(&[])).assert_error(107, &parts);
        network.status().assert_error(50, &parts);
        assert_eq!(added.site.entries(), before, "{value:?}");
    }
}

#[test]
fn a_claim_that_cannot_be_read_is_code_104_and_nothing_is_overwritten() {
    let added = added();
    let key = format!("{}claim/net/one/eth0", added.site.prefix);
    for (value, reason) in damaged(&added.entry(key.as_bytes()).value) {
        added.set(key.as_bytes(), &value);
        let before = added.site.entries();
        let parts = [key.as_str(), "cannot be used", reason];
        let Added {
            network,
            pods: [one, two],
            previous,
            ..
        } = &added;
        network.add(one).assert_error(104, &parts);
        network.del(one).assert_error(104, &parts);
        network.check(one, previous).assert_error(104, &parts);
        network.gc(Some(&[two])).assert_error(107, &parts);
        assert_eq!(added.site.entries(), before, "{value:?}");
        // Others are not concerned.
        let other = Pod::new("other");
        assert_eq!(network.add(&other).address(), "10.0.0.3/24");
        network.del(&other).assert_silent();
    }
}

#[test]
fn an_address_whose_owners_claim_cannot_be_read_is_still_taken() {
    let added = added();
    let key = format!("{}claim/net/one/eth0", added.site.prefix);
    added.set(key.as_bytes(), b"garbage");
    let before = added.site.entries();
    let asking = Pod::new("asking").argument("IP=10.0.0.1");
    added.network.add(&asking).assert_error(102, &["10.0.0.1"]);
    assert_eq!(added.site.entries(), before);
}

fn check_waited_for(value: &[u8]) {
    let site = Site::shared();
    let network = site.network(CIDR);
    let unreadable = Foreigner::line_up_as("newer", &site, CIDR, value.to_vec());
    let before = unreadable.entry(&site);
    let impatient = network.clone().ipam(json!({"timeout": TIMEOUT_S}));
    impatient.add(&Pod::new("c")).assert_error(11, &[]);
    assert_eq!(unreadable.entry(&site), before, "{value:?}");
    let audit = site.audit();
    assert_eq!((audit.claims, audit.set_bits), (0, 0), "it was not passed");
    unreadable.leave(&site);
    assert_eq!(network.add(&Pod::new("c")).address(), "10.0.0.1/24");
}

#[test]
fn a_ticket_that_cannot_be_read_is_waited_for_and_never_served_or_deleted() {
    thread::scope(|scope| {
        for value in [&b"garbage"[..], &[], &[2, 0], &[1]] {
            scope.spawn(move || check_waited_for(value));
        }
    });
}

/// In line stand: one that never serves, an ADD, and the ticket that the ADD cannot read. Once the
/// first is gone, the ADD holds the lock, serves itself, and hands the lock on.
#[test]
fn a_ticket_that_cannot_be_read_is_handed_the_lock_when_it_is_the_next_in_line() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let gate = Foreigner::line_up(&site, CIDR);
    let mut add = network.call("ADD", &Pod::new("c")).start();
    poll("the ADD stands in the queue", || {
        assert!(add.is_running(), "it must not end before");
        (site.audit().tickets == 2).then_some(())
    });
    let unreadable = Foreigner::line_up_as("newer", &site, CIDR, vec![2, 0]);
    let before = unreadable.entry(&site).expect("it is there");
    gate.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.1/24");
    let after = unreadable.entry(&site).expect("it was not deleted");
    assert!(
        after.modified > before.modified,
        "it was touched: {after:?}"
    );
    let untouched = Entry {
        modified: before.modified,
        ..after
    };
    assert_eq!(untouched, before);
    let audit = site.audit();
    assert_eq!((audit.claims, audit.set_bits, audit.tickets), (1, 1, 1));
    unreadable.leave(&site);
    site.assert_at_rest(1);
}
