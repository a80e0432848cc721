//! Values in etcd that this version cannot read: a named error, and nothing overwritten.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use whereabouts_audit::invariants::Finding;
use whereabouts_core::address::{BlockKey, Interval, Pool};
use whereabouts_core::allocator::Demand;
use whereabouts_core::claim::{Ask, Choice, Claim, Held, Owner, RangeId, Want};
use whereabouts_store::keys::{Key, QueuedVerb};
use whereabouts_store::record::{self, Ticket};
use whereabouts_store::{Entry, Write};

use crate::plugin::{
    Foreigner, Network, Pod, Site, attachment, await_in_line, lock_key, newer_ticket, put, range,
    ticket_key,
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
    let slot = BlockKey::of(&Pool::default(), address);
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
    // Its owner may be waiting: then it looks by itself, and finds the lock free.
    assert_eq!(site.entry(&newer), Some(before), "{value:?}");
    assert_eq!(site.entry(&lock_key(CIDR)), None, "the lock is free");
    // Whose it is a newer version tells, too; of what is no ticket nobody knows.
    network.del(&pod).assert_silent();
    let left = usize::from(value != newer_ticket(&pod));
    assert_eq!(site.audit().tickets, left, "{value:?}");
}

#[test]
fn a_ticket_that_cannot_be_read_is_passed_over_and_never_touched() {
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

/// The value of a lock is for people. Only its existence counts.
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

/// Nobody can have 10.0.0.0, so that its mark says nothing: it must not keep the others from everybody.
#[test]
fn a_mark_at_an_address_that_ends_in_zero_keeps_nobody_from_its_block() {
    let added = added();
    let address = "10.0.0.1".parse::<IpAddr>().expect("an address").into();
    let key = Key::Open(BlockKey::of(&Pool::default(), address));
    let name = added.site.keys().encode(&key);
    let mut bitmap = record::decode_block(&added.entry(&name).value).expect("a block");
    bitmap.set(0);
    added.set(&name, &record::encode_block(&bitmap));
    let Added {
        site,
        network,
        pods: [one, two],
        previous,
    } = &added;
    network.status().assert_silent();
    network.check(one, previous).assert_silent();
    let new = Pod::new("new");
    assert_eq!(network.add(&new).address(), "10.0.0.3/24");
    let asking = Pod::new("asking").argument("IP=10.0.0.0");
    network.add(&asking).assert_error(7, &["10.0.0.0"]);
    for pod in [one, two, &new] {
        network.del(pod).assert_silent();
    }
    site.assert_at_rest(0);
}

/// As of an attachment that no ADD of this version has given an address to.
fn impossible(site: &Site, container: &str, cidr: &str, address: &str) {
    let held = held(cidr, address);
    let claim = Claim {
        held: vec![held],
        usable: Vec::new(),
        owner: Owner {
            node: Some("node-1".to_owned()),
            ..Owner::default()
        },
        created: Duration::ZERO,
    };
    let key = Key::Claim(attachment("net", &Pod::new(container)));
    put_at(site, &key, &record::encode_claim(&claim));
}

fn held(cidr: &str, address: &str) -> Held {
    Held {
        range: RangeId::of(&range(cidr)),
        address: address.parse::<IpAddr>().expect("an address").into(),
    }
}

#[test]
fn a_claim_for_an_address_that_nobody_can_have_is_not_answered_and_can_be_deleted() {
    for (cidr, address) in [
        ("10.0.0.0/16", "10.0.0.0"),
        ("10.0.0.0/16", "10.0.7.0"),
        ("10.0.0.0/16", "10.0.255.255"),
        ("10.0.0.4/30", "10.0.0.4"),
        ("10.0.0.4/30", "10.0.0.7"),
        ("fd00::/64", "fd00::"),
    ] {
        let site = Site::shared();
        let network = site.network(cidr);
        impossible(&site, "c", cidr, address);
        let findings = site.audit().findings;
        let is_named = |finding: &Finding| matches!(finding, Finding::Impossible { .. });
        assert!(findings.iter().any(is_named), "{address}: {findings:?}");
        network.add(&Pod::new("c")).assert_error(103, &[address]);
        network.add(&Pod::new("other")).result();
        network.del(&Pod::new("c")).assert_silent();
        site.assert_at_rest(1);
    }
}

/// A ticket of a program that asks for what nobody can have.
#[test]
fn a_ticket_for_an_address_that_nobody_can_have_is_not_served() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let gate = Foreigner::hold(&site, CIDR);
    let range = RangeId::of(&range(CIDR));
    let interval = |first: &str, last: &str| {
        let end = |text: &str| held(CIDR, text).address;
        let usable = Interval::new(end(first), end(last)).expect("in order");
        (vec![usable], Choice::Lowest)
    };
    let exactly = |text: &str| (Vec::new(), Choice::Exactly(held(CIDR, text).address));
    let choices = [
        exactly("10.0.0.0"),
        exactly("10.0.0.255"),
        interval("10.0.0.255", "10.0.0.255"),
        interval("10.0.0.1", "10.0.0.255"),
    ];
    for (number, (usable, choice)) in (1..).zip(&choices) {
        let pod = Pod::new(&format!("asks{number}"));
        let ask = Ask {
            attachment: attachment("net", &pod),
            wants: vec![Want {
                range: range.clone(),
                usable: usable.clone(),
                choice: *choice,
            }],
            owner: Owner::default(),
            may_take_over: false,
        };
        let ticket = Ticket::Asks {
            sender: 1,
            demand: Demand::Take(ask),
            trace: None,
        };
        let value = record::encode_ticket(&attachment("net", &pod), &ticket);
        put_at(&site, &ticket_key(CIDR, QueuedVerb::Add, &pod), &value);
    }
    let mut add = network.call("ADD", &Pod::new("waits")).start();
    await_in_line(&site, choices.len() + 1, &mut add);
    gate.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.1/24");
    let audit = site.audit();
    let counted = (audit.claims, audit.set_bits, audit.tickets);
    assert_eq!(counted, (1, 1, choices.len()), "{:?}", audit.findings);
}
