//! Values in etcd that this version cannot read: a named error, and nothing overwritten.

use std::net::IpAddr;
use std::thread;

use serde_json::Value;
use whereabouts::address::{Pool, Slot};
use whereabouts::store::keys::{Key, QueuedVerb};
use whereabouts::store::{Entry, Write};

use crate::plugin::{
    Foreigner, Network, Pod, Site, await_in_line, lock_key, newer_ticket, put, ticket_key,
};

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

fn put_at(site: &Site, key: &Key, value: &[u8]) {
    let write = Write::Put {
        key: site.keys().encode(key),
        value: value.to_vec(),
        lease: 0,
    };
    put(site, write);
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

/// First in the queue stands a ticket that cannot be read, and two ADDs behind it.
fn check_passed_over(value: &[u8]) {
    let site = Site::shared();
    let network = site.network(CIDR);
    let gate = Foreigner::hold(&site, CIDR);
    let pod = Pod::new("newer");
    let newer = ticket_key(CIDR, QueuedVerb::Add, &pod);
    put_at(&site, &newer, value);
    let before = site.entry(&newer).expect("it was put");
    let mut adds = ["one", "two"].map(|name| network.call("ADD", &Pod::new(name)).start());
    for add in &mut adds {
        await_in_line(&site, 3, add);
    }
    gate.leave(&site);
    let mut addresses = adds.map(|add| add.finish().address());
    addresses.sort();
    assert_eq!(addresses, ["10.0.0.1/24", "10.0.0.2/24"]);
    // Its owner may be waiting, and can read it.
    let after = site.entry(&newer).expect("it was not deleted");
    assert!(after.modified > before.modified, "it was not woken");
    let untouched = Entry {
        modified: before.modified,
        ..after
    };
    assert_eq!(untouched, before, "{value:?}");
    // And may be gone for ever, so that nobody waits for it.
    assert_eq!(site.entry(&lock_key(CIDR)), None, "the lock is free");
    // Whose it is a newer version tells, too; of what is no ticket nobody knows.
    network.del(&pod).assert_silent();
    let left = usize::from(value != newer_ticket(&pod));
    assert_eq!(site.audit().tickets, left, "{value:?}");
}

#[test]
fn a_ticket_that_cannot_be_read_is_passed_over_never_deleted_and_woken_at_the_end() {
    thread::scope(|scope| {
        let newer = newer_ticket(&Pod::new("newer"));
        for value in [b"garbage".to_vec(), Vec::new(), vec![2, 0], vec![1], newer] {
            scope.spawn(move || check_passed_over(&value));
        }
    });
}

#[test]
fn a_ticket_that_cannot_be_read_is_in_nobodys_way_while_the_lock_is_free() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pod = Pod::new("newer");
    let newer = ticket_key(CIDR, QueuedVerb::Add, &pod);
    put_at(&site, &newer, &newer_ticket(&pod));
    let before = site.entry(&newer);
    assert_eq!(network.add(&Pod::new("c")).address(), "10.0.0.1/24");
    network.del(&Pod::new("c")).assert_silent();
    network.gc(Some(&[])).assert_silent();
    assert_eq!(site.entry(&newer), before, "not even touched");
    network.del(&Pod::new("newer")).assert_silent();
    site.assert_at_rest(0);
}

/// What a lock says is for people: that it is there is what counts.
#[test]
fn a_lock_whose_value_cannot_be_read_is_a_lock() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let gate = Foreigner::hold(&site, CIDR);
    let held = site.entry(&lock_key(CIDR)).expect("it is held");
    let rewritten = Write::Rewrite {
        key: held.key.clone(),
        value: vec![2, 0],
    };
    put(&site, rewritten);
    let mut add = network.call("ADD", &Pod::new("c")).start();
    await_in_line(&site, 1, &mut add);
    assert_eq!(site.audit().claims, 0, "it has not passed the lock");
    gate.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.1/24");
    site.assert_at_rest(1);
}
