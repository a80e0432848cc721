//! The statements of networks: they come back, and what is none is a named error.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use whereabouts_core::address::{Interval, Pool, Range, RangeSpec};
use whereabouts_core::claim::RangeId;

use super::*;

/// The statement of a range of this CIDR without these addresses.
fn stated(cidr: &str, pool: Option<&str>, without: &[&str]) -> StatedRange {
    let address = |text: &&str| text.parse::<IpAddr>().expect("an address").into();
    let cidr: IpNet = cidr.parse().expect("a CIDR");
    let spec = RangeSpec {
        pool: Pool {
            name: pool.map(str::to_owned),
            only: None,
        },
        gateways: without.iter().map(address).collect(),
        ..RangeSpec::of(cidr)
    };
    StatedRange::of(&Range::new(spec).expect("a range"))
}

fn both() -> Vec<StatedRange> {
    vec![
        stated("10.0.0.0/24", None, &["10.0.0.1", "10.0.0.77"]),
        stated("fd00::/64", Some("blue"), &[]),
    ]
}

#[test]
fn statements_come_back() {
    let value = encode_network(&both());
    assert_eq!(decode_network(&value), Ok(both()));
    assert!(value.len() < 60, "{} bytes", value.len());
    let longer = [value.as_slice(), &[0]].concat();
    let cut = (1..value.len()).map(|length| &value[..length]);
    for value in cut.chain([longer.as_slice()]) {
        assert!(matches!(
            decode_network(value),
            Err(RecordError::Garbage(_))
        ));
    }
}

#[test]
fn what_states_nothing_or_too_much_is_refused() {
    let none = StatedRange {
        usable: Vec::new(),
        ..stated("10.0.0.0/24", None, &[])
    };
    for (stated, reason) in [
        (vec![], "it states no range"),
        (vec![none], "a range has no address"),
    ] {
        let refused = decode_network(&encode_network(&stated));
        assert_eq!(refused, Err(garbage(&reason)));
    }
    let many: Vec<StatedRange> = (0..100).flat_map(|_| both()).collect();
    let much = encode_network(&many);
    let refused = decode_network(&much).expect_err("it is too long");
    assert!(refused.to_string().contains("of at most 4096"), "{refused}");
    let newer = [&[FORMAT + 1], &encode_network(&both())[1..]].concat();
    assert_eq!(
        decode_network(&newer),
        Err(RecordError::Version(FORMAT + 1))
    );
}

#[test]
fn an_interval_outside_of_its_range_is_refused() {
    let outside = StatedRange {
        range: RangeId {
            pool: Pool::default(),
            cidr: "10.0.0.0/24".parse().expect("a CIDR"),
        },
        usable: vec![Interval::of("10.0.1.0/24".parse().expect("a CIDR"))],
    };
    let refused = decode_network(&encode_network(&[outside]));
    assert_eq!(refused, Err(garbage(&"its intervals leave their range")));
}

proptest! {
    #[test]
    fn any_bytes_are_statements_or_none(mut value in proptest::collection::vec(any::<u8>(), 1..200)) {
        value[0] = FORMAT;
        if let Ok(stated) = decode_network(&value) {
            prop_assert_eq!(decode_network(&encode_network(&stated)), Ok(stated));
        }
    }

    #[test]
    fn a_flipped_byte_makes_other_statements_or_none(at: usize, to: u8) {
        let mut value = encode_network(&both());
        let at = at % value.len();
        value[at] = to;
        if let Ok(stated) = decode_network(&value) {
            prop_assert_eq!(decode_network(&encode_network(&stated)), Ok(stated));
        }
    }
}
