//! The occupancy of ranges by tables, and by properties of lists that come and go.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use whereabouts_core::address::Name;
use whereabouts_core::claim::{Attachment, Held, Owner};
use whereabouts_core::network::DefinitionName;

fn queue(cidr: &str) -> RangeId {
    RangeId {
        pool: Pool::default(),
        cidr: cidr.parse().expect("a CIDR"),
    }
}

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().expect("an address").into()
}

/// Claims with these ranges and addresses, and the blocks that mark them.
fn occupied(held: &[(&str, &str)]) -> Occupancy {
    let keys = Keys::new("/x/");
    let mut occupancy = Occupancy::default();
    let entry = |key: &Key, value| Entry {
        key: keys.encode(key),
        value,
        created: 1,
        modified: 1,
        lease: 0,
    };
    let mut blocks: BTreeMap<BlockKey, Bitmap> = BTreeMap::new();
    for (number, (cidr, text)) in held.iter().enumerate() {
        let held = Held {
            range: queue(cidr),
            address: address(text),
        };
        blocks
            .entry(held.slot())
            .or_default()
            .set(held.address.bit());
        let claim = Claim {
            held: vec![held],
            usable: Vec::new(),
            owner: Owner::default(),
            created: Duration::ZERO,
        };
        let key = Key::Claim(Attachment {
            network: Name::new("net").expect("a name"),
            container: Name::new(&format!("c{number}")).expect("a name"),
            interface: "eth0".to_owned(),
        });
        occupancy.enter(&keys, &entry(&key, record::encode_claim(&claim)));
    }
    for (slot, bitmap) in blocks {
        let value = record::encode_block(&bitmap);
        occupancy.enter(&keys, &entry(&Key::Open(slot), value));
    }
    occupancy
}

#[test]
fn what_overlaps_is_taken_of_both_and_held_of_one() {
    let occupancy = occupied(&[
        ("10.0.0.0/16", "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.2"),
        ("10.0.0.0/16", "10.0.9.9"),
    ]);
    let uses = occupancy.uses(&[]);
    let counts = |used: &Use| {
        (
            used.range.cidr.to_string(),
            used.held,
            used.taken,
            used.size,
        )
    };
    let expected = [
        ("10.0.0.0/16".to_owned(), 2, 3, 65_534 - 255),
        ("10.0.0.0/24".to_owned(), 1, 2, 254),
    ];
    assert_eq!(uses.iter().map(counts).collect::<Vec<_>>(), expected);
}

#[test]
fn a_configured_range_counts_also_when_nothing_is_held() {
    let configured = |cidr: &str, hole: &str| {
        Range::new(RangeSpec {
            exclusions: vec![Interval::of(hole.parse().expect("a CIDR"))],
            ..RangeSpec::of(cidr.parse().expect("a CIDR"))
        })
        .expect("a range")
    };
    let configured = [
        configured("10.0.0.0/24", "10.0.0.0/25"),
        configured("10.1.0.0/30", "10.1.0.1/32"),
    ];
    let occupancy = occupied(&[("10.0.0.0/24", "10.0.0.1"), ("10.0.0.0/24", "10.0.0.200")]);
    let uses = occupancy.uses(&configured);
    let counts = |used: &Use| (used.held, used.taken, used.size);
    assert_eq!(
        uses.iter().map(counts).collect::<Vec<_>>(),
        [(2, 2, 128), (0, 0, 1)]
    );
}

#[test]
fn a_range_gives_no_address_that_ends_in_zero_is_reserved_or_is_excluded() {
    let range = Range::new(RangeSpec {
        exclusions: vec![Interval::of("10.0.2.128/25".parse().expect("a CIDR"))],
        ..RangeSpec::of("10.0.0.0/16".parse().expect("a CIDR"))
    });
    let uses = occupied(&[]).uses(&[range.expect("a range")]);
    let gives = |text: &str| uses[0].gives(address(text));
    for never in [
        "10.0.0.0",
        "10.0.1.0",
        "10.0.255.255",
        "10.0.2.200",
        "10.1.0.1",
    ] {
        assert!(!gives(never), "{never}");
    }
    for given in ["10.0.0.1", "10.0.0.255", "10.0.1.1", "10.0.2.127"] {
        assert!(gives(given), "{given}");
    }
}

#[test]
fn the_use_of_one_range_is_that_of_the_list() {
    let configured =
        [Range::new(RangeSpec::of("10.1.0.0/30".parse().expect("a CIDR"))).expect("a range")];
    let occupancy = occupied(&[("10.0.0.0/16", "10.0.0.1"), ("10.0.0.0/24", "10.0.0.2")]);
    let uses = occupancy.uses(&configured);
    assert_eq!(uses.len(), 3);
    for used in uses {
        assert_eq!(occupancy.use_of(&configured, &used.range), Some(used));
    }
    assert_eq!(occupancy.use_of(&configured, &queue("10.9.0.0/24")), None);
}

#[test]
fn two_configs_of_one_range_give_what_either_gives() {
    let part = |first: &str, last: &str| {
        Range::new(RangeSpec {
            first: Some(address(first)),
            last: Some(address(last)),
            ..RangeSpec::of("10.0.0.0/24".parse().expect("a CIDR"))
        })
        .expect("a range")
    };
    let both = [
        part("10.0.0.1", "10.0.0.20"),
        part("10.0.0.11", "10.0.0.30"),
    ];
    assert_eq!(occupied(&[]).uses(&both)[0].size, 30);
}

/// The range with this CIDR and these gateways.
fn guarded(cidr: &str, gateways: &[&str]) -> Range {
    Range::new(RangeSpec {
        gateways: gateways.iter().map(|text| address(text)).collect(),
        ..RangeSpec::of(cidr.parse().expect("a CIDR"))
    })
    .expect("a range")
}

/// A claim that holds an address of `range`, and states what `known` can give.
fn claim(range: &Range, number: u128, known: Option<&Range>) -> Claim {
    let first = Interval::of(range.cidr()).first();
    let address = Address::new(first.family(), first.number() + number).expect("inside");
    Claim {
        held: vec![Held {
            range: RangeId::of(range),
            address,
        }],
        usable: known
            .into_iter()
            .map(|known| known.intervals().to_vec())
            .collect(),
        owner: Owner::default(),
        created: Duration::ZERO,
    }
}

fn enter(occupancy: &mut Occupancy, claim: &Claim) {
    occupancy.enter_claim(claim);
    for held in &claim.held {
        let mut bitmap = occupancy
            .blocks
            .get(&held.slot())
            .copied()
            .unwrap_or_default();
        bitmap.set(held.address.bit());
        occupancy.enter_block(held.slot(), bitmap);
    }
}

#[test]
fn a_full_range_with_a_gateway_is_full() {
    let range = guarded("10.0.0.0/24", &["10.0.0.254"]);
    let mut occupancy = Occupancy::default();
    for number in 1..=253 {
        enter(&mut occupancy, &claim(&range, number, Some(&range)));
    }
    let used = occupancy.uses(&[]).pop().expect("a range");
    assert_eq!((used.held, used.taken, used.size), (253, 253, 253));
    assert!(!used.gives(address("10.0.0.254")));
    assert_eq!(
        occupancy.outline(&[], &used.range).intervals,
        used.intervals
    );
}

#[test]
fn a_range_gives_what_any_of_its_configurations_gives() {
    let (one, other) = (
        guarded("10.0.0.0/29", &["10.0.0.1", "10.0.0.2"]),
        guarded("10.0.0.0/29", &["10.0.0.2", "10.0.0.6"]),
    );
    let (first, second) = (claim(&one, 3, Some(&one)), claim(&other, 4, Some(&other)));
    let (third, fourth) = (claim(&one, 5, Some(&one)), claim(&one, 2, None));
    let mut occupancy = Occupancy::default();
    let sizes = |occupancy: &Occupancy, configured: &[Range]| {
        let uses = occupancy.uses(configured);
        uses.iter().map(|used| used.size).collect::<Vec<_>>()
    };
    enter(&mut occupancy, &first);
    enter(&mut occupancy, &second);
    enter(&mut occupancy, &third);
    assert_eq!(sizes(&occupancy, &[]), [5]);
    // An address that no configuration gives is one of the range while it is held.
    enter(&mut occupancy, &fourth);
    assert_eq!(sizes(&occupancy, &[]), [6]);
    occupancy.leave_claim(&second);
    assert_eq!(sizes(&occupancy, &[]), [5]);
    // A configuration that is given says more than claims of before.
    assert_eq!(sizes(&occupancy, std::slice::from_ref(&other)), [5]);
    assert_eq!(occupancy.use_by(&other).size, 4);
    occupancy.leave_claim(&first);
    assert_eq!(
        sizes(&occupancy, &[]),
        [5],
        "the third claim still states it"
    );
    occupancy.leave_claim(&third);
    assert_eq!(
        sizes(&occupancy, &[]),
        [6],
        "nothing is known: the whole CIDR"
    );
    occupancy.leave_claim(&fourth);
    assert_eq!(sizes(&occupancy, &[]), []);
}

#[test]
fn a_range_that_only_networks_state_is_known_and_not_used() {
    let (one, other) = (
        guarded("10.0.0.0/29", &["10.0.0.1", "10.0.0.2"]),
        guarded("10.0.0.0/29", &["10.0.0.2", "10.0.0.6"]),
    );
    let (first, second) = ([StatedRange::of(&one)], [StatedRange::of(&other)]);
    let mut occupancy = Occupancy::default();
    let counts = |occupancy: &Occupancy| {
        let uses = occupancy.uses(&[]);
        let counts = uses.iter().map(|used| (used.held, used.taken, used.size));
        counts.collect::<Vec<_>>()
    };
    occupancy.enter_network(&first);
    assert_eq!(counts(&occupancy), [(0, 0, 4)]);
    occupancy.enter_network(&second);
    assert_eq!(counts(&occupancy), [(0, 0, 5)]);
    assert_eq!(occupancy.known().count(), 1);
    assert_eq!(occupancy.ranges().count(), 0, "nothing is held");
    let used = occupancy.use_of(&[], &RangeId::of(&one)).expect("known");
    assert!(used.gives(address("10.0.0.6")) && !used.gives(address("10.0.0.2")));
    // A claim that states nothing leaves the statement of the networks as it is.
    let claim = claim(&one, 3, None);
    enter(&mut occupancy, &claim);
    assert_eq!(counts(&occupancy), [(1, 1, 5)]);
    occupancy.leave_network(&first);
    assert_eq!(counts(&occupancy), [(1, 1, 4)]);
    // A configuration that is given counts alone.
    assert_eq!(occupancy.uses(std::slice::from_ref(&one))[0].size, 4);
    occupancy.leave_network(&second);
    assert_eq!(
        counts(&occupancy),
        [(1, 1, 6)],
        "nothing states it: the whole CIDR"
    );
    occupancy.leave_claim(&claim);
    assert_eq!(counts(&occupancy), []);
}

#[test]
fn a_statement_that_cannot_be_read_is_told_and_not_counted() {
    let keys = Keys::new("/x/");
    let key = keys.encode(&Key::Network(DefinitionName {
        namespace: "tenant".to_owned(),
        name: "blue".to_owned(),
    }));
    let entry = |value| Entry {
        key: key.clone(),
        value,
        created: 1,
        modified: 1,
        lease: 0,
    };
    let mut occupancy = Occupancy::default();
    occupancy.enter(&keys, &entry(vec![9]));
    assert_eq!(occupancy.uses(&[]), []);
    let told = occupancy.unreadable[0].to_string();
    assert!(
        told.contains("network/tenant/blue") && told.contains("format version 9"),
        "{told}"
    );
    let range = guarded("fd00::/64", &[]);
    let value = record::encode_network(&[StatedRange::of(&range)]);
    occupancy.enter(&keys, &entry(value));
    assert_eq!(occupancy.uses(&[])[0].size, range.size());
}

proptest! {
    /// Entries that came and went do not count.
    #[test]
    fn a_network_that_left_leaves_nothing(
        moves in proptest::collection::vec((0..4_usize, 0..4_usize, any::<bool>()), 0..40),
    ) {
        let ranges = [&[][..], &["10.0.0.1"], &["10.0.0.6"], &["10.0.0.3", "10.0.0.4"]];
        let ranges = ranges.map(|gateways| guarded("10.0.0.0/29", gateways));
        let mut occupancy = Occupancy::default();
        let mut there: BTreeMap<usize, Vec<StatedRange>> = BTreeMap::new();
        for (place, known, twice) in moves {
            if let Some(stated) = there.remove(&place) {
                occupancy.leave_network(&stated);
            } else {
                let of = StatedRange::of(&ranges[known]);
                let stated = if twice { vec![of.clone(), of] } else { vec![of] };
                occupancy.enter_network(&stated);
                there.insert(place, stated);
            }
            let mut fresh = Occupancy::default();
            for stated in there.values() {
                fresh.enter_network(stated);
            }
            prop_assert_eq!(occupancy.uses(&[]), fresh.uses(&[]));
        }
        for stated in there.values() {
            occupancy.leave_network(stated);
        }
        prop_assert!(occupancy.held.is_empty());
    }

    /// Whatever came and went, only what is there counts.
    #[test]
    fn a_claim_that_left_leaves_nothing(
        moves in proptest::collection::vec((0..4_usize, 1..7_u128, 0..4_usize), 0..40),
    ) {
        let ranges = [&[][..], &["10.0.0.1"], &["10.0.0.6"], &["10.0.0.3", "10.0.0.4"]];
        let ranges = ranges.map(|gateways| guarded("10.0.0.0/29", gateways));
        let mut occupancy = Occupancy::default();
        let mut there: BTreeMap<usize, Claim> = BTreeMap::new();
        for (place, number, known) in moves {
            if let Some(claim) = there.remove(&place) {
                occupancy.leave_claim(&claim);
            } else {
                let known = (known > 0).then(|| &ranges[known]);
                let claim = claim(&ranges[0], number, known);
                occupancy.enter_claim(&claim);
                there.insert(place, claim);
            }
            let mut fresh = Occupancy::default();
            for claim in there.values() {
                fresh.enter_claim(claim);
            }
            prop_assert_eq!(occupancy.uses(&[]), fresh.uses(&[]));
        }
        for claim in there.values() {
            occupancy.leave_claim(claim);
        }
        prop_assert!(occupancy.held.is_empty());
    }
}
