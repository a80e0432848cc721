//! Changes in etcd, and the view after each.

use super::*;

use std::time::Duration;

use whereabouts_core::address::{BlockKey, Name, Range, RangeSpec};
use whereabouts_core::claim::{Attachment, BootId, Held, Owner, RangeId};
use whereabouts_core::network::DefinitionName;
use whereabouts_store::keys::{QueuedVerb, Seat, Spot};

fn address(number: u32) -> Address {
    std::net::IpAddr::from(number.to_be_bytes()).into()
}

fn range() -> RangeId {
    RangeId {
        pool: Pool::default(),
        cidr: "10.0.0.0/8".parse().expect("a CIDR"),
    }
}

fn change(key: &Key, revision: Revision, value: Option<Vec<u8>>) -> Change {
    let key = Keys::new("/x/").encode(key);
    let now = value.map(|value| Entry {
        key: key.clone(),
        value,
        created: 1,
        modified: revision,
        lease: 0,
    });
    Change {
        key,
        revision,
        before: None,
        now,
    }
}

fn seat() -> Seat {
    Seat {
        queue: range(),
        spot: Spot::Shared(7),
        verb: QueuedVerb::Add,
    }
}

/// The claim of a container with names as long as Kubernetes makes them.
fn claim(number: u32) -> (Key, Vec<u8>) {
    let key = Key::Claim(Attachment {
        network: Name::new("storage").expect("a name"),
        container: Name::new(&format!("{number:064x}")).expect("a name"),
        interface: "net1".to_owned(),
    });
    let claim = Claim {
        held: vec![Held {
            range: range(),
            address: address((10 << 24) + number),
        }],
        usable: Vec::new(),
        owner: Owner {
            node: Some(format!("node-{}", number % 100)),
            pod_namespace: Some("production".to_owned()),
            pod_name: Some(format!("frontend-7d4b9c6f5d-{number:05}")),
            pod_uid: Some("4a7d8f0e-0f6c-4b1e-9d3c-5f6a7b8c9d0e".to_owned()),
            netns: Some("/var/run/netns/cni-4a7d8f0e-0f6c-4b1e-9d3c-5f6a7b8c".to_owned()),
            boot: Some(BootId::from_number(u128::MAX)),
            is_durable: false,
        },
        created: Duration::from_secs(1_700_000_000),
    };
    (key, record::encode_claim(&claim))
}

fn seen(changes: Vec<Change>) -> Content {
    let mut seen = Content::nothing(&Keys::new("/x/"));
    seen.apply(changes, Instant::now());
    seen
}

#[test]
fn what_comes_and_goes_leaves_nothing_behind() {
    let (key, value) = claim(1);
    let ticket = Key::Ticket(seat());
    let lock = Key::Lock(range());
    let mut seen = seen(vec![
        change(&key, 2, Some(value.clone())),
        change(&key, 3, Some(value)),
        change(&ticket, 3, Some(vec![99])),
        change(&lock, 3, Some(vec![99])),
    ]);
    assert_eq!((seen.claims(), seen.tallies.nodes["node-1"]), (1, 1));
    assert_eq!((seen.lines.queues.len(), seen.lines.locks.len()), (1, 1));
    assert_eq!(seen.unreadable(), 2);
    assert!(seen.bytes() > 0);
    let gone = [&key, &ticket, &lock].map(|key| change(key, 4, None));
    seen.apply(gone.to_vec(), Instant::now());
    assert_eq!(
        (seen.claims(), seen.tallies.nodes.len(), seen.bytes()),
        (0, 0, 0)
    );
    assert_eq!((seen.lines.queues.len(), seen.lines.locks.len()), (0, 0));
    assert_eq!(seen.unreadable(), 0);
    assert_eq!((seen.holders.len(), seen.left_out), (0, 0));
    assert_eq!(seen.occupancy.uses(&[]), []);
}

#[test]
fn the_statement_of_a_network_comes_changes_and_goes() {
    let key = Key::Network(DefinitionName {
        namespace: "tenant".to_owned(),
        name: "blue".to_owned(),
    });
    let stated = |cidr: &str| {
        let range = Range::new(RangeSpec::of(cidr.parse().expect("a CIDR"))).expect("a range");
        Some(record::encode_network(&[StatedRange::of(&range)]))
    };
    let mut seen = seen(vec![change(&key, 2, stated("10.7.0.0/30"))]);
    let sizes = |seen: &Content| {
        let uses = seen.occupancy.uses(&[]);
        let sizes = uses
            .iter()
            .map(|used| (used.range.cidr.to_string(), used.size));
        sizes.collect::<Vec<_>>()
    };
    assert_eq!(sizes(&seen), [("10.7.0.0/30".to_owned(), 2)]);
    for (revision, value, expected) in [
        (
            3,
            stated("10.8.0.0/29"),
            vec![("10.8.0.0/29".to_owned(), 6)],
        ),
        (4, Some(vec![99]), vec![]),
        (
            5,
            stated("10.8.0.0/29"),
            vec![("10.8.0.0/29".to_owned(), 6)],
        ),
        (6, None, vec![]),
    ] {
        let is_unreadable = value == Some(vec![99]);
        seen.apply(vec![change(&key, revision, value)], Instant::now());
        assert_eq!(sizes(&seen), expected, "at {revision}");
        assert_eq!(seen.unreadable(), usize::from(is_unreadable));
    }
    assert!(seen.networks.is_empty());
}

#[test]
fn a_block_that_moves_stays_known_in_whatever_order_that_is_told() {
    let slot = BlockKey::of(&Pool::default(), address(10 << 24));
    let (open, full) = (Key::Open(slot.clone()), Key::Full(slot));
    let moved = [
        change(&open, 3, None),
        change(&full, 3, Some(record::encode_full())),
    ];
    let [gone, put] = moved;
    for moved in [vec![gone.clone(), put.clone()], vec![put, gone]] {
        let begun = record::encode_block(&Bitmap::EMPTY);
        let mut seen = seen(vec![change(&open, 2, Some(begun))]);
        seen.apply(moved, Instant::now());
        let whole = Interval::new(address(10 << 24), address((10 << 24) + 255));
        let whole = whole.expect("an interval");
        let pool = Pool::default();
        let counts = seen.occupancy.blocks(&pool, whole);
        let counts: Vec<u32> = counts.map(|(_, bitmap)| bitmap.count()).collect();
        assert_eq!(counts, [255]);
    }
}

#[test]
fn a_ticket_that_is_rewritten_or_listed_again_keeps_its_age_and_a_new_one_has_none() {
    let key = Key::Ticket(seat());
    let begun = Instant::now();
    let later = begun + Duration::from_secs(5);
    let put = |revision| vec![change(&key, revision, Some(vec![99]))];
    let mut first = Content::nothing(&Keys::new("/x/"));
    first.apply(put(1), begun);
    first.apply(put(2), later);
    let since = |seen: &Content| seen.lines.queues[&range()][&seat()].seen;
    assert_eq!(since(&first), begun);
    let mut second = Content::nothing(&Keys::new("/x/"));
    second.apply(put(2), later);
    second.inherit(&first);
    assert_eq!(since(&second), begun);
    first.apply(vec![change(&key, 3, None)], later);
    first.apply(put(4), later);
    assert_eq!(since(&first), later);
}

#[test]
fn a_lock_keeps_its_age_as_long_as_it_is_one_holders() {
    let begun = Instant::now();
    let moment = |second| begun + Duration::from_secs(second);
    let write = |revision, lease| {
        let mut change = change(&Key::Lock(range()), revision, Some(vec![99]));
        if let Some(entry) = &mut change.now {
            entry.lease = lease;
        }
        vec![change]
    };
    let mut seen = Content::nothing(&Keys::new("/x/"));
    let since = |seen: &Content| seen.lines.locks[&range()].seen;
    seen.apply(write(1, 7), moment(0));
    seen.apply(write(2, 7), moment(1));
    assert_eq!(since(&seen), moment(0));
    assert!(!seen.lines.locks[&range()].is_offered());
    seen.apply(write(3, 0), moment(2));
    assert_eq!(since(&seen), moment(2));
    assert!(seen.lines.locks[&range()].is_offered());
    let mut again = Content::nothing(&Keys::new("/x/"));
    again.apply(write(3, 0), moment(3));
    again.inherit(&seen);
    assert_eq!(since(&again), moment(2));
    seen.apply(write(4, 8), moment(4));
    again = Content::nothing(&Keys::new("/x/"));
    again.apply(write(5, 9), moment(5));
    again.inherit(&seen);
    assert_eq!(since(&again), moment(5), "it is another's");
}

#[test]
fn a_search_goes_through_everything_slice_by_slice() {
    let changes = (0..100).map(|number| {
        let (key, value) = claim(number);
        change(&key, 2, Some(value))
    });
    let seen = seen(changes.collect());
    let query = Query {
        within: None,
        parts: vec![b"frontend", b"-00042"],
    };
    let (mut after, mut slices, mut found) = (None, 0, 0);
    loop {
        let slice = seen.search(after.as_ref(), 7, &query);
        (slices, found) = (slices + 1, found + slice.found.len());
        match slice.last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    assert_eq!((slices, found), (15, 1));
}

/// A claim with these addresses, each of the pool with this name.
fn holding(container: &str, held: &[(&str, u32)]) -> (Key, Vec<u8>) {
    let held = held.iter().map(|(pool, number)| Held {
        range: RangeId {
            pool: Pool {
                name: Some((*pool).to_owned()),
                only: None,
            },
            cidr: "10.0.0.0/8".parse().expect("a CIDR"),
        },
        address: address((10 << 24) + number),
    });
    let claim = Claim {
        held: held.collect(),
        usable: Vec::new(),
        owner: Owner::default(),
        created: Duration::ZERO,
    };
    let key = Key::Claim(Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(container).expect("a name"),
        interface: "net1".to_owned(),
    });
    (key, record::encode_claim(&claim))
}

#[test]
fn a_search_finds_each_claim_once_lowest_address_first_over_all_pools() {
    let claims = [
        holding("c", &[("b", 2), ("a", 9)]),
        holding("d", &[("a", 2)]),
        holding("e", &[("b", 1)]),
        holding("f", &[("a", 300)]),
    ];
    let changes = claims
        .iter()
        .map(|(key, value)| change(key, 2, Some(value.clone())));
    let seen = seen(changes.collect());
    let found = |within: Option<(u32, u32)>, look_at: usize| {
        let interval =
            |(first, last)| Interval::new(address((10 << 24) + first), address((10 << 24) + last));
        let query = Query {
            within: within.and_then(interval),
            parts: Vec::new(),
        };
        let (mut after, mut found) = (None, String::new());
        loop {
            let slice = seen.search(after.as_ref(), look_at, &query);
            let names = slice
                .found
                .iter()
                .map(|(_, shown)| shown.attachment.container.as_str());
            found.extend(names);
            match slice.last {
                Some(last) => after = Some(last),
                None => return found,
            }
        }
    };
    for look_at in 1..7 {
        assert_eq!(found(None, look_at), "edcf", "{look_at} at once");
        assert_eq!(found(Some((2, 255)), look_at), "dc");
        assert_eq!(
            found(Some((3, 255)), look_at),
            "c",
            "at the address that fits"
        );
        assert_eq!(found(Some((301, 400)), look_at), "");
    }
}
