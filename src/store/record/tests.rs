//! Values come back, and what is not a value is a named error.

use std::net::IpAddr;
use whereabouts_core::claim::{BootId, RangeId};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::Revision;
use whereabouts_core::address::{Address, Interval, Name, Pool, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Choice, Held, Home, Owner, Want};
use whereabouts_core::limits;

fn range(cidr: &str, own: bool) -> RangeId {
    let cidr: IpNet = cidr.parse().expect("a CIDR");
    RangeId {
        pool: Pool {
            name: None,
            only: own.then_some(cidr),
        },
        cidr,
    }
}

fn held(cidr: &str, address: &str) -> Held {
    let address = address.parse::<IpAddr>().expect("an address").into();
    Held {
        range: range(cidr, true),
        address,
    }
}

/// What a range of this CIDR with these gateways can give.
fn usable(cidr: &str, gateways: &[&str]) -> Vec<Interval> {
    let address = |text: &&str| text.parse::<IpAddr>().expect("an address").into();
    let spec = RangeSpec {
        gateways: gateways.iter().map(address).collect(),
        ..RangeSpec::of(cidr.parse().expect("a CIDR"))
    };
    Range::new(spec).expect("a range").intervals().to_vec()
}

fn claim() -> Claim {
    Claim {
        held: vec![
            held("10.0.0.0/24", "10.0.0.7"),
            held("fd00::/64", "fd00::7"),
        ],
        usable: vec![usable("10.0.0.0/24", &["10.0.0.254"])],
        owner: Owner {
            node: Some("node-1".to_owned()),
            boot: Some(BootId::from_number(1 << 100)),
            ..Owner::default()
        },
        created: Duration::from_millis(1_700_000_000_123),
    }
}

fn attachment(interface: &str) -> Attachment {
    Attachment {
        network: Name::new("blue").expect("a name"),
        container: Name::new("c1").expect("a name"),
        interface: interface.to_owned(),
    }
}

fn locks() -> [Lock; 2] {
    [("eth0", QueuedVerb::Add), ("net1", QueuedVerb::Del)].map(|(interface, verb)| Lock {
        sender: 0x0123_4567_89ab_cdef,
        attachment: attachment(interface),
        verb,
    })
}

/// The identity of a ticket.
fn waiter() -> TicketId {
    TicketId {
        queue: range("10.0.0.0/24", false),
        attachment: attachment("eth0"),
        verb: QueuedVerb::Add,
    }
}

/// The ticket of [`waiter`].
fn encoded(ticket: &Ticket) -> Vec<u8> {
    encode_ticket(&waiter().attachment, ticket)
}

/// The ticket of a value.
fn decoded(value: &[u8]) -> Result<Ticket, RecordError> {
    decode_ticket(&waiter().seats()[0], value).map(|(_, ticket)| ticket)
}

fn asks(sender: Sender, demand: Demand) -> Ticket {
    Ticket::Asks {
        sender,
        demand,
        trace: None,
    }
}

fn release(held: Vec<Held>, home: Option<Home>, modified: Revision) -> Demand {
    Demand::Release {
        attachment: waiter().attachment,
        held,
        home,
        owner: None,
        modified,
    }
}

fn tickets() -> Vec<Ticket> {
    let interval = |cidr: &str| Interval::of(cidr.parse().expect("a CIDR"));
    vec![
        asks(
            Sender::MAX,
            Demand::Take(Ask {
                attachment: waiter().attachment,
                wants: vec![Want {
                    range: range("10.0.0.0/24", false),
                    usable: vec![interval("10.0.0.0/30"), interval("10.0.0.8/30")],
                    choice: Choice::Lowest,
                }],
                owner: claim().owner,
                may_take_over: false,
            }),
        ),
        Ticket::Asks {
            sender: 1,
            demand: release(claim().held, claim().owner.home(), 77),
            trace: TraceContext::new([1; 16], [2; 8]),
        },
        Ticket::Refused {
            sender: 0,
            node: Some("node-1".to_owned()),
            shortage: Shortage::Exhausted(range("10.0.0.0/24", false)),
        },
        Ticket::Refused {
            sender: Sender::MAX,
            node: None,
            shortage: Shortage::Taken(held("10.0.0.0/24", "10.0.0.7")),
        },
    ]
}

#[test]
fn values_come_back() {
    assert_eq!(decode_claim(&encode_claim(&claim())), Ok(claim()));
    for lock in locks() {
        assert_eq!(decode_lock(&encode_lock(&lock)), Ok(lock));
    }
    for ticket in tickets() {
        let value = encoded(&ticket);
        assert_eq!(decode_whose_ticket(&value), Ok(waiter().attachment));
        let read = decode_ticket(&waiter().seats()[0], &value);
        assert_eq!(read, Ok((waiter(), ticket)));
    }
    let mut bitmap = Bitmap::EMPTY;
    bitmap.set(200);
    assert_eq!(decode_block(&encode_block(&bitmap)), Ok(bitmap));
}

#[test]
fn a_truncated_longer_newer_or_empty_value_is_a_named_error() {
    let value = encode_claim(&claim());
    for length in 1..value.len() {
        assert!(matches!(
            decode_claim(&value[..length]),
            Err(RecordError::Garbage(_))
        ));
    }
    let longer = [value.as_slice(), &[0]].concat();
    assert!(matches!(
        decode_claim(&longer),
        Err(RecordError::Garbage(_))
    ));
    let newer = [&[2], &value[1..]].concat();
    assert_eq!(decode_claim(&newer), Err(RecordError::Version(2)));
    assert_eq!(decode_claim(&[]), Err(RecordError::Empty));
    assert_eq!(
        decode_block(&[1; 34]),
        Err(garbage(&"a bitmap has 32 bytes, this one has 33"))
    );
}

#[test]
fn a_lock_that_is_cut_or_longer_or_whose_holder_has_no_cni_name_is_garbage() {
    let [lock, _] = locks();
    let value = encode_lock(&lock);
    let longer = [value.as_slice(), &[0]].concat();
    let cut = (1..value.len()).map(|length| &value[..length]);
    for value in cut.chain([longer.as_slice()]) {
        assert!(matches!(decode_lock(value), Err(RecordError::Garbage(_))));
    }
    let nameless =
        postcard::to_extend(&(7_u64, "", "c1", "eth0", 0_u8), vec![FORMAT]).expect("room");
    assert!(matches!(
        decode_lock(&nameless),
        Err(RecordError::Garbage(_))
    ));
}

#[test]
fn a_ticket_ends_with_its_trace_and_is_as_before_without_one() {
    let [plain, traced, refused, _] = <[Ticket; 4]>::try_from(tickets()).expect("four tickets");
    let (plain, traced) = (encoded(&plain), encoded(&traced));
    assert!(traced.ends_with(&[[1; 16].as_slice(), &[2; 8]].concat()));
    let context = TraceContext::new([3; 16], [4; 8]).expect("both are ids");
    let added = [plain.as_slice(), &context.to_bytes()].concat();
    let ticket = decoded(&added).expect("a take with a trace");
    assert_eq!(ticket.trace(), Some(context));
    assert_eq!(encoded(&ticket), added);

    let check = |value: &[u8], more: &[u8], expected: &str| {
        let value = [value, more].concat();
        assert_eq!(decoded(&value), Err(garbage(&expected)));
    };
    check(&plain, &[0; 24], "its trace has no id");
    check(&plain, &[1; 23], "it has 23 bytes too many");
    check(&traced, &[1], "it has 25 bytes too many");
    check(&encoded(&refused), &[1; 24], "it has 24 bytes too many");
}

#[test]
fn whose_a_ticket_is_can_be_read_in_every_version_and_must_fit_its_seat() {
    let mut value = encoded(&tickets()[0]);
    let other = TicketId {
        attachment: attachment("net1"),
        ..waiter()
    };
    let elsewhere = decode_ticket(&other.seats()[0], &value);
    assert_eq!(elsewhere, Err(garbage(&"it is at a seat of others")));
    value[0] = FORMAT + 1;
    value.truncate(value.len() - 1);
    assert_eq!(decode_whose_ticket(&value), Ok(waiter().attachment));
    assert_eq!(decoded(&value), Err(RecordError::Version(FORMAT + 1)));
    assert_eq!(decode_whose_ticket(&[]), Err(RecordError::Empty));
    let [nameless, without] = [("", "c1", "eth0"), ("blue", "c1", "")]
        .map(|names| postcard::to_extend(&names, vec![FORMAT]).expect("room"));
    for value in [&nameless[..], &without, &nameless[..3], &[FORMAT]] {
        let whose = decode_whose_ticket(value);
        assert!(matches!(whose, Err(RecordError::Garbage(_))), "{whose:?}");
    }
}

#[test]
fn a_holding_of_no_address_of_too_many_or_of_one_twice_is_garbage() {
    let check = |held: Vec<Held>, expected: &str| {
        let expected = garbage(&expected);
        let claim = encode_claim(&Claim {
            held: held.clone(),
            ..claim()
        });
        assert_eq!(decode_claim(&claim), Err(expected.clone()));
        let ticket = encoded(&asks(1, release(held, None, 7)));
        assert_eq!(decoded(&ticket), Err(expected));
    };
    check(Vec::new(), "it is about 0 addresses");
    let many = 1..=limits::WANTS + 1;
    let many = many.map(|last| held("10.0.0.0/24", &format!("10.0.0.{last}")));
    check(many.collect(), "it is about 9 addresses");
    let one = held("10.0.0.0/24", "10.0.0.7");
    check(vec![one.clone(), one], "it holds an address twice");
}

#[test]
fn a_release_of_a_claim_that_was_never_written_is_garbage() {
    for modified in [0, -77, Revision::MIN] {
        let ticket = encoded(&asks(1, release(claim().held, None, modified)));
        let expected = garbage(&format!("its claim has revision {modified}"));
        assert_eq!(decoded(&ticket), Err(expected));
    }
}

#[test]
fn a_pool_whose_name_is_empty_is_garbage() {
    let mut nameless = claim();
    nameless.held[0].range.pool.name = Some(String::new());
    let expected = Err(garbage(&"the name of its pool is empty"));
    assert_eq!(decode_claim(&encode_claim(&nameless)), expected);
}

#[test]
fn a_claim_takes_few_bytes() {
    let mut small = claim();
    small.held.truncate(1);
    small.held[0].range = range("10.0.0.0/24", false);
    assert!(
        encode_claim(&small).len() <= 61,
        "{}",
        encode_claim(&small).len()
    );
}

/// The bytes of a claim that states `usable` of the one range with this CIDR.
fn bytes_of(cidr: &str, usable: Vec<Vec<Interval>>) -> usize {
    let network = cidr.parse::<IpNet>().expect("a CIDR").network();
    let address = Address::from(network).successor().expect("not the last");
    let held = Held {
        range: range(cidr, false),
        address,
    };
    let claim = Claim {
        held: vec![held],
        usable,
        ..claim()
    };
    let value = encode_claim(&claim);
    assert_eq!(decode_claim(&value), Ok(claim));
    value.len()
}

#[test]
fn usable_intervals_take_few_bytes() {
    for (cidr, gateways, bytes) in [
        ("10.0.0.0/24", &[][..], 3),
        ("10.0.0.0/24", &["10.0.0.254"], 3),
        ("10.0.0.0/24", &["10.0.0.1"], 3),
        ("10.0.0.0/24", &["10.0.0.100"], 5),
        ("10.0.0.0/8", &[], 3),
        ("fd00::/64", &[], 3),
        ("fd00::/64", &["fd00::1"], 3),
        ("fd00::/64", &["fd00::ffff:ffff:ffff:ffff"], 3),
        ("::/0", &[], 3),
    ] {
        let known = bytes_of(cidr, vec![usable(cidr, gateways)]);
        let unknown = bytes_of(cidr, Vec::new());
        assert_eq!(known - unknown, bytes, "{cidr} {gateways:?}");
    }
    // An empty list, which says nothing either.
    assert_eq!(
        bytes_of("fd00::/64", vec![Vec::new()]),
        bytes_of("fd00::/64", Vec::new()) + 1
    );
}

#[test]
fn usable_intervals_that_make_no_sense_are_garbage() {
    let with = |usable: &[&[u128]]| {
        let mut twin = ClaimTwin::of(&claim());
        twin.usable = usable
            .iter()
            .map(|one| twin::UsableTwin(one.to_vec()))
            .collect();
        decode_claim(&encode(&twin)).map(|claim| claim.usable)
    };
    assert_eq!(with(&[&[1, 1]]), Ok(vec![usable("10.0.0.0/24", &[])]));
    for (wrong, reason) in [
        (&[&[1, 1, 1][..]][..], "an interval has no end"),
        (&[&[256, 0]], "its intervals leave their range"),
        (&[&[1, 256]], "its intervals leave their range"),
        (&[&[1, u128::MAX]], "its intervals leave their range"),
        (&[&[u128::MAX, 1]], "its intervals leave their range"),
        (&[&[1, 255, 1, 1]], "its intervals leave their range"),
        (&[&[1, 254, 0, 0]], "its intervals leave their range"),
        (&[&[200, 100]], "an interval ends too early"),
        (
            &[&[], &[], &[]],
            "it knows ranges that it has no address of",
        ),
    ] {
        assert_eq!(with(wrong), Err(garbage(&reason)), "{wrong:?}");
    }
}

proptest! {
    /// Any disjoint intervals of any CIDR, also neighbours, and also the first and the last address of the family.
    #[test]
    fn usable_intervals_come_back(
        bits: u128, low: u32, v6: bool, length in 0..=128_u8, ends in proptest::collection::btree_set(any::<u128>(), 1..20),
    ) {
        let ip = if v6 { IpAddr::from(bits.to_be_bytes()) } else { IpAddr::from(low.to_be_bytes()) };
        let length = if v6 { length } else { length % 33 };
        let cidr = IpNet::new(ip, length).expect("it fits").trunc();
        let whole = Interval::of(cidr);
        let span = whole.last().number() - whole.first().number();
        let at = |end: u128| {
            let offset = span.checked_add(1).map_or(end, |count| end % count);
            Address::new(whole.first().family(), whole.first().number() + offset).expect("inside")
        };
        let ends: std::collections::BTreeSet<Address> = ends.into_iter().map(at).collect();
        let ends: Vec<Address> = ends.into_iter().collect();
        let pairs = ends.chunks(2).map(|pair| Interval::new(pair[0], pair[pair.len() - 1]));
        let usable: Vec<Interval> = pairs.map(|interval| interval.expect("in order")).collect();
        let range = RangeId { pool: Pool::default(), cidr };
        let claim = Claim {
            held: vec![Held { range, address: ends[0] }],
            usable: vec![usable],
            ..claim()
        };
        prop_assert_eq!(decode_claim(&encode_claim(&claim)), Ok(claim));
    }

    #[test]
    fn any_bytes_decode_or_fail_and_never_panic(
        mut value in proptest::collection::vec(any::<u8>(), 0..200), versioned: bool,
    ) {
        if versioned && !value.is_empty() {
            value[0] = FORMAT;
        }
        if let Ok(bitmap) = decode_block(&value) {
            prop_assert_eq!(&encode_block(&bitmap), &value);
        }
        let _ = decode_claim(&value);
        let _ = decode_lock(&value);
        let _ = decoded(&value);
        let _ = decode_whose_ticket(&value);
    }

    #[test]
    fn a_flipped_byte_decodes_or_fails_and_never_panics(at: usize, to: u8, which in 0..4_usize) {
        let mut value = encoded(&tickets()[which]);
        let at = at % value.len();
        value[at] = to;
        let _ = decoded(&value);
    }

    #[test]
    fn a_flipped_byte_of_a_lock_is_another_lock_or_none(at: usize, to: u8, which in 0..2_usize) {
        let mut value = encode_lock(&locks()[which]);
        let at = at % value.len();
        value[at] = to;
        if let Ok(lock) = decode_lock(&value) {
            prop_assert_eq!(decode_lock(&encode_lock(&lock)), Ok(lock));
        }
    }
}

/// A holder serves many tickets in one batch, which has to fit into a request.
#[test]
fn a_ticket_with_a_name_that_no_request_has_is_refused() {
    let long = "x".repeat(limits::NAME_BYTES);
    let longer = format!("{long}x");
    let take = |owner: Owner, pool: &str| {
        let mut range = range("10.0.0.0/24", false);
        range.pool.name = Some(pool.to_owned());
        let choice = Choice::Exactly(held("10.0.0.0/24", "10.0.0.7").address);
        let ask = Ask {
            attachment: waiter().attachment,
            wants: vec![Want {
                range,
                usable: Vec::new(),
                choice,
            }],
            owner,
            may_take_over: false,
        };
        encoded(&asks(1, Demand::Take(ask)))
    };
    let named = |name: &str, path: &str| Owner {
        node: Some(name.to_owned()),
        pod_namespace: Some(name.to_owned()),
        pod_name: Some(name.to_owned()),
        pod_uid: Some(name.to_owned()),
        netns: Some(path.to_owned()),
        boot: None,
        is_durable: false,
    };
    let path = "x".repeat(limits::PATH_BYTES);
    assert!(decoded(&take(named(&long, &path), &long)).is_ok());
    for value in [
        take(named(&longer, &path), &long),
        take(named(&long, &format!("{path}x")), &long),
        take(named(&long, &path), &longer),
    ] {
        let refused = decoded(&value).expect_err("it is too long");
        assert!(refused.to_string().contains("more than"), "{refused}");
    }
}

fn durable() -> Claim {
    let mut claim = claim();
    claim.owner.pod_namespace = Some("ns".to_owned());
    claim.owner.pod_name = Some("web-0".to_owned());
    claim.owner.is_durable = true;
    claim
}

#[test]
fn a_durable_claim_is_an_ordinary_one_and_a_byte() {
    let mut ordinary = durable();
    ordinary.owner.is_durable = false;
    let value = encode_claim(&durable());
    assert_eq!(value, [encode_claim(&ordinary), vec![1]].concat());
    assert_eq!(decode_claim(&value), Ok(durable()));
    for wrong in [vec![2], vec![1, 1], vec![0]] {
        let wrong = [encode_claim(&ordinary), wrong].concat();
        assert!(matches!(decode_claim(&wrong), Err(RecordError::Garbage(_))));
    }
    for nameless in [None, Some(String::new())] {
        let mut claim = durable();
        claim.owner.pod_name = nameless;
        let refused = decode_claim(&encode_claim(&claim));
        assert_eq!(refused, Err(garbage(&"it is durable, and names no pod")));
    }
}

#[test]
fn the_state_of_a_durable_owner_comes_back() {
    let states = [
        OwnerState::Attached(Name::new("c1").expect("a name")),
        OwnerState::Resting {
            held: durable().held,
            since: Duration::from_millis(1_700_000_000_123),
        },
    ];
    for state in states {
        let value = encode_owner(&state);
        assert_eq!(decode_owner(&value), Ok(state));
        let longer = [value.as_slice(), &[0]].concat();
        let cut = (1..value.len()).map(|length| &value[..length]);
        for value in cut.chain([longer.as_slice()]) {
            assert!(matches!(decode_owner(value), Err(RecordError::Garbage(_))));
        }
    }
    let nothing = OwnerState::Resting {
        held: Vec::new(),
        since: Duration::ZERO,
    };
    let expected = garbage(&"it is about 0 addresses");
    assert_eq!(decode_owner(&encode_owner(&nothing)), Err(expected));
    let nameless = postcard::to_extend(&(0_u8, ""), vec![FORMAT]).expect("room");
    assert!(matches!(
        decode_owner(&nameless),
        Err(RecordError::Garbage(_))
    ));
}

#[test]
fn a_ticket_of_a_durable_pod_is_of_a_kind_of_its_own() {
    let [
        Ticket::Asks {
            demand: Demand::Take(mut ask),
            ..
        },
        ..,
    ] = <[Ticket; 4]>::try_from(tickets()).expect("four tickets")
    else {
        panic!("the first one takes")
    };
    let ordinary = encoded(&asks(1, Demand::Take(ask.clone())));
    ask.owner = durable().owner;
    let ticket = asks(1, Demand::Take(ask.clone()));
    let value = encoded(&ticket);
    assert_eq!(decoded(&value), Ok(ticket));
    assert_ne!(value[..16], ordinary[..16]);
    ask.owner.pod_name = None;
    let nameless = decoded(&encoded(&asks(1, Demand::Take(ask))));
    assert_eq!(nameless, Err(garbage(&"it is durable, and names no pod")));
}
