//! `check` and its repairs: each finding is made, found, and put in order, or left to a person.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use whereabouts_core::address::{Bitmap, BlockKey, Pool};
use whereabouts_core::claim::{Claim, Held, Owner, RangeId};
use whereabouts_store::Write;
use whereabouts_store::keys::{Key, QueuedVerb};
use whereabouts_store::record;

use super::{FAILED, FOUND, WELL, assert_said, json_of, on};
use crate::plugin::fill::fill;
use crate::plugin::{Foreigner, Pod, Site, kill_in_line, lock_key, pods, put, range, ticket_key};
use crate::support::etcd::Cluster;

const CIDR: &str = "10.0.0.0/24";

fn slot(address: &str) -> BlockKey {
    let address: IpAddr = address.parse().expect("an address");
    BlockKey::of(&Pool::default(), address.into())
}

fn set(site: &Site, key: &Key, value: Vec<u8>) {
    let key = site.keys().encode(key);
    put(
        site,
        Write::Put {
            key,
            value,
            lease: 0,
        },
    );
}

fn delete(site: &Site, key: &Key) {
    put(site, Write::Delete(site.keys().encode(key)));
}

fn open(bits: &[u8]) -> Vec<u8> {
    let mut bitmap = Bitmap::EMPTY;
    for bit in bits {
        bitmap.set(*bit);
    }
    record::encode_block(&bitmap)
}

/// That `check` finds `finding`, that nothing changes without consent, and that afterwards all is
/// in order.
#[track_caller]
fn check_repaired(site: &Site, finding: &str, claims: usize) {
    assert_said(&on(site, &["check"]).run(), FOUND, &[finding]);
    let before = site.entries();
    let shown = on(site, &["check", "--repair", "--dry-run"]).run();
    assert_said(&shown, FOUND, &[finding, "repair: "]);
    let refused = on(site, &["check", "--repair"]).stdin("n\n").run();
    assert_said(&refused, FOUND, &["Nothing is changed"]);
    assert_eq!(site.entries(), before, "nothing was agreed to");
    let repaired = on(site, &["check", "--repair", "--yes"]).run();
    assert_said(&repaired, WELL, &["done: ", "findings          0"]);
    site.assert_at_rest(claims);
}

/// Three attachments: the bits 1, 2 and 3.
fn three() -> Site {
    let site = Site::shared();
    for pod in pods(3) {
        site.network(CIDR).add(&pod).result();
    }
    site
}

#[test]
fn a_claimed_address_that_is_not_marked_is_marked() {
    let site = three();
    set(&site, &Key::Open(slot("10.0.0.0")), open(&[1, 3]));
    check_repaired(&site, "10.0.0.2 of pool (shared), held by", 3);
    delete(&site, &Key::Open(slot("10.0.0.0")));
    check_repaired(&site, "10.0.0.1 of pool (shared), held by", 3);
    assert_eq!(
        site.network(CIDR).add(&Pod::new("new")).address(),
        "10.0.0.4/24"
    );
}

#[test]
fn a_leaked_bit_is_freed() {
    let site = three();
    set(&site, &Key::Open(slot("10.0.0.0")), open(&[1, 2, 3, 9]));
    check_repaired(
        &site,
        "10.0.0.9 of pool (shared) is marked as taken, but no attachment holds it",
        3,
    );
}

#[test]
fn a_block_with_both_keys_or_under_the_wrong_one_is_made_one() {
    let site = three();
    set(&site, &Key::Full(slot("10.0.0.0")), record::encode_full());
    check_repaired(&site, "is both open and full", 3);
    set(&site, &Key::Full(slot("10.0.0.0")), record::encode_full());
    delete(&site, &Key::Open(slot("10.0.0.0")));
    check_repaired(
        &site,
        "10.0.0.4 of pool (shared) is marked as taken, but no attachment",
        3,
    );
}

#[test]
fn a_full_block_that_stands_open_is_moved_and_its_successor_made() {
    let site = Site::of(Cluster::start(1));
    fill(&site, &range("10.0.0.0/16"), 255);
    let full = Key::Full(slot("10.0.0.0"));
    delete(&site, &full);
    delete(&site, &Key::Open(slot("10.0.1.0")));
    let bits: Vec<u8> = (1..=255).collect();
    set(&site, &Key::Open(slot("10.0.0.0")), open(&bits));
    check_repaired(&site, "is open and has no free bit", 255);
    delete(&site, &Key::Open(slot("10.0.1.0")));
    check_repaired(&site, "is taken, but the next block does not exist", 255);
    // And all of its bits, in more than one transaction.
    delete(&site, &full);
    check_repaired(&site, "is not marked as taken", 255);
}

/// An offered lock and a left ticket are in nobody's way, whether their processes live or not.
#[test]
fn a_lock_that_is_offered_and_a_ticket_that_is_left_are_counted_and_no_findings() {
    let site = three();
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &site.network(CIDR), "ADD", &Pod::new("dead"));
    holder.leave(&site);
    let checked = json_of(&site, &["check"]);
    assert_eq!(checked["findings"], json!([]));
    assert_eq!(
        (&checked["locks"], &checked["tickets"]),
        (&json!(1), &json!(1))
    );
    let before = site.entries();
    let repaired = on(&site, &["check", "--repair", "--yes"]).run();
    assert_said(
        &repaired,
        WELL,
        &["locks             1", "tickets           1"],
    );
    assert_eq!(site.entries(), before);
}

#[test]
fn a_lock_or_a_ticket_that_cannot_be_read_is_found_and_left_to_a_person() {
    let site = three();
    let pod = Pod::new("newer");
    set(&site, &lock_key(CIDR), vec![2]);
    set(&site, &ticket_key(CIDR, QueuedVerb::Del, &pod), vec![1]);
    let before = site.entries();
    let found = on(&site, &["check", "--repair", "--yes"]).run();
    assert_said(&found, FOUND, &["lock/@/", "queue/@/", "cannot be read"]);
    assert_eq!(site.entries(), before);
}

#[test]
fn nothing_is_freed_while_a_claim_cannot_be_read() {
    let site = three();
    let claim = format!("{}claim/net/c1/eth0", site.prefix).into_bytes();
    put(
        &site,
        Write::Put {
            key: claim,
            value: vec![2, 1, 2, 3],
            lease: 0,
        },
    );
    let before = site.entries();
    let repaired = on(&site, &["check", "--repair", "--yes"]).run();
    assert_said(
        &repaired,
        FOUND,
        &["claim/net/c1/eth0 cannot be read", "10.0.0.2"],
    );
    assert_eq!(site.entries(), before);
    // A claimed address without a mark is marked all the same.
    set(&site, &Key::Open(slot("10.0.0.0")), open(&[1, 2]));
    let repaired = on(&site, &["check", "--repair", "--yes"]).run();
    assert_said(
        &repaired,
        FOUND,
        &["1 more addresses marked as taken, 0 freed"],
    );
    assert_eq!(site.entries().len(), before.len());
    let findings = json_of_found(&site);
    assert_eq!(findings, 2, "the claim, and the bit that it holds");
}

#[test]
fn a_block_that_cannot_be_read_is_left_as_it_is() {
    let site = three();
    set(&site, &Key::Open(slot("10.0.0.0")), vec![2, 0]);
    let before = site.entries();
    let left = on(&site, &["check", "--repair", "--yes"]).run();
    assert_said(&left, FOUND, &["cannot be read", "is not marked as taken"]);
    assert!(!left.stderr.contains("done"), "{left:?}");
    assert_eq!(site.entries(), before);
}

fn json_of_found(site: &Site) -> usize {
    let found = on(site, &["check", "-o", "json"]).run();
    assert_eq!(found.exit_code, FOUND);
    found.json()["findings"].as_array().expect("a list").len()
}

#[test]
fn an_address_that_two_hold_is_left_to_a_person() {
    let site = three();
    // The claim, and its key by its node.
    for entry in site.entries() {
        let key = String::from_utf8(entry.key).expect("a key is text");
        if key.ends_with("/c1/eth0") {
            let twin = Write::Put {
                key: key.replace("/c1/", "/twin/").into_bytes(),
                value: entry.value,
                lease: 0,
            };
            put(&site, twin);
        }
    }
    let before = site.entries();
    let left = on(&site, &["check", "--repair", "--yes"]).run();
    assert_said(
        &left,
        FOUND,
        &["10.0.0.2 of pool (shared) is held by", "twin"],
    );
    assert_eq!(site.entries(), before);
    let released = on(&site, &["release", "twin", "--yes"]).run();
    assert_said(&released, WELL, &["released 10.0.0.2"]);
    check_repaired(&site, "10.0.0.2 of pool (shared), held by", 3);
    assert_eq!(json_of(&site, &["check"])["claims"], 3);
}

fn set_claim(site: &Site, container: &str, value: &[u8]) -> String {
    let key = format!("{}claim/net/{container}/eth0", site.prefix);
    put(
        site,
        Write::Put {
            key: key.clone().into_bytes(),
            value: value.to_vec(),
            lease: 0,
        },
    );
    key
}

#[test]
fn a_damaged_block_is_shown_with_its_claims_and_rebuilt_from_them() {
    for damaged in [vec![], vec![1], vec![1, 7, 7], vec![1; 40]] {
        let site = three();
        set(&site, &Key::Open(slot("10.0.0.0")), damaged.clone());
        let shown = format!(
            "instead of the value \"{}\": 3 addresses marked",
            damaged.escape_ascii()
        );
        check_repaired(&site, &shown_or_unreadable(&site, &shown), 3);
        let next = site.network(CIDR).add(&Pod::new("new"));
        assert_eq!(next.address(), "10.0.0.4/24");
    }
    let site = three();
    set(&site, &Key::Full(slot("10.0.0.0")), vec![1, 1]);
    check_repaired(&site, "full/@/4/0a000000 cannot be read", 3);
}

/// That a dry run shows `repair`; and the finding that it is about.
#[track_caller]
fn shown_or_unreadable(site: &Site, repair: &str) -> String {
    let shown = on(site, &["check", "--repair", "--dry-run"]).run();
    assert_said(&shown, FOUND, &[repair]);
    "open/@/4/0a000000 cannot be read".to_owned()
}

/// It may be a living pod's, and of any pool.
#[test]
fn a_damaged_block_is_not_rebuilt_while_a_claim_cannot_be_read() {
    for (key, value) in [
        ("claim/net/c1/eth0", &b"\x01"[..]),
        ("claim/net/c1/eth0", b"\x02\x00"),
        ("claim/net/other/eth0", b""),
        ("claim/net/c9/eth0/more", b"\x01"),
        ("claim/net/c9/\x1b[2J", b"\x01"),
    ] {
        let site = three();
        set(&site, &Key::Open(slot("10.0.0.0")), vec![1]);
        let key = format!("{}{key}", site.prefix).into_bytes();
        put(
            &site,
            Write::Put {
                key,
                value: value.to_vec(),
                lease: 0,
            },
        );
        let before = site.entries();
        let left = on(&site, &["check", "--repair", "--yes"]).run();
        assert_said(&left, FOUND, &["cannot be read"]);
        assert!(!left.stderr.contains("done"), "{left:?}");
        assert_eq!(site.entries(), before);
    }
}

#[test]
fn no_bit_is_freed_while_a_key_among_the_claims_cannot_be_read() {
    let site = three();
    set(&site, &Key::Open(slot("10.0.0.0")), open(&[1, 2, 3, 9]));
    let key = format!("{}claim/net/c9/eth0/more", site.prefix).into_bytes();
    let value = vec![1];
    put(
        &site,
        Write::Put {
            key,
            value,
            lease: 0,
        },
    );
    let before = site.entries();
    let left = on(&site, &["check", "--repair", "--yes"]).run();
    assert_said(&left, FOUND, &["10.0.0.9", "cannot be read"]);
    assert_eq!(site.entries(), before);
}

#[test]
fn a_block_of_another_version_is_rebuilt_only_when_it_is_named() {
    let site = three();
    set(&site, &Key::Open(slot("10.0.0.0")), vec![2, 0]);
    let key = format!("{}open/@/4/0a000000", site.prefix);
    let wrong = on(
        &site,
        &["check", "--repair", "--yes", "--damaged", "open/x"],
    )
    .run();
    assert_said(&wrong, FAILED, &["open/x is not among the keys"]);
    let named = ["check", "--repair", "--damaged", &key];
    let before = site.entries();
    let refused = on(&site, &named).stdin("n\n").run();
    assert_said(&refused, FOUND, &["rebuild block", "Nothing is changed"]);
    assert_eq!(site.entries(), before);
    let done = on(&site, &named).stdin("y\n").run();
    assert_said(
        &done,
        WELL,
        &["done: rebuild block", "3 addresses marked as taken"],
    );
    site.assert_at_rest(3);
}

#[test]
fn a_damaged_claim_is_removed_only_when_it_is_named_and_what_it_held_is_freed() {
    let site = three();
    let key = set_claim(&site, "c1", b"\x1b[2J\xff");
    let before = site.entries();
    let left = on(&site, &["check", "--repair", "--yes"]).run();
    assert_said(&left, FOUND, &["claim/net/c1/eth0 cannot be read"]);
    let named = ["check", "--repair", "--damaged", &key];
    let refused = on(&site, &named).stdin("n\n").run();
    assert_said(
        &refused,
        FOUND,
        &["remove claim ", r"\x1b[2J\xff", "become free"],
    );
    assert_eq!(site.entries(), before);
    let done = on(&site, &named).stdin("y\n").run();
    assert_said(&done, WELL, &["done: remove claim", "1 freed"]);
    site.assert_at_rest(2);
    let readable = format!("{}claim/net/c0/eth0", site.prefix);
    let refused = on(
        &site,
        &["check", "--repair", "--yes", "--damaged", &readable],
    )
    .run();
    assert_said(
        &refused,
        FAILED,
        &["is not among the keys that cannot be read"],
    );
}

/// One that can be read is released, not removed.
#[test]
fn a_claim_for_an_address_that_nobody_can_have_is_named_and_not_marked() {
    for (cidr, address, reason) in [
        ("10.0.0.0/16", "10.0.0.0", "is the network address"),
        (
            "10.0.0.0/16",
            "10.0.3.0",
            "ends in .0, which is never given",
        ),
        ("10.0.0.4/30", "10.0.0.7", "is the broadcast address"),
        (
            "fd00::/64",
            "fd00::",
            "is the subnet-router anycast address",
        ),
    ] {
        let site = three();
        let held = Held {
            range: RangeId::of(&range(cidr)),
            address: address.parse::<IpAddr>().expect("an address").into(),
        };
        let claim = Claim {
            held: vec![held],
            usable: Vec::new(),
            owner: Owner::default(),
            created: Duration::ZERO,
        };
        set_claim(&site, "odd", &record::encode_claim(&claim));
        let odd = format!(
            "{address} of range {cidr} of pool (shared), held by eth0 of container odd in network net, {reason}"
        );
        let found = on(&site, &["check"]).run();
        assert_said(&found, FOUND, &[&odd]);
        let repaired = on(&site, &["check", "--repair", "--yes"]).run();
        assert_said(&repaired, FOUND, &[&odd, "findings          1"]);
        assert_eq!(
            site.network(CIDR).add(&Pod::new("new")).address(),
            "10.0.0.4/24"
        );
        let released = on(&site, &["release", "odd", "--yes"]).run();
        assert_said(&released, WELL, &["released"]);
        site.assert_at_rest(4);
    }
}
