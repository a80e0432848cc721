//! Ranges: the addresses of a CIDR that a config may give.

use ipnet::IpNet;

use super::{Address, Family, Interval, Pool};
use crate::limits;

/// A range as configured, not yet validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSpec {
    /// The pool of the range.
    pub pool: Pool,
    /// The CIDR; its host bits are dropped.
    pub cidr: IpNet,
    /// The lowest address to give; by default that of the CIDR.
    pub first: Option<Address>,
    /// The highest address to give; by default that of the CIDR.
    pub last: Option<Address>,
    /// Addresses that the range does not give. An exclusion outside the CIDR has no effect.
    pub exclusions: Vec<Interval>,
    /// Gateways, which the range does not give. A gateway outside the CIDR has no effect.
    pub gateways: Vec<Address>,
}

impl RangeSpec {
    /// All of a CIDR, in the shared pool.
    pub fn of(cidr: IpNet) -> Self {
        Self {
            pool: Pool::default(),
            cidr,
            first: None,
            last: None,
            exclusions: Vec::new(),
            gateways: Vec::new(),
        }
    }
}

/// A valid range: a CIDR and at least one interval of it that may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pool: Pool,
    cidr: IpNet,
    gateways: Vec<Address>,
    intervals: Vec<Interval>,
}

/// The reason why a [`RangeSpec`] is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The first address is outside the CIDR.
    #[error("the first address {first} is outside {cidr}")]
    FirstOutside {
        /// The first address.
        first: Address,
        /// The CIDR.
        cidr: IpNet,
    },
    /// The last address is outside the CIDR.
    #[error("the last address {last} is outside {cidr}")]
    LastOutside {
        /// The last address.
        last: Address,
        /// The CIDR.
        cidr: IpNet,
    },
    /// The last address is lower than the first.
    #[error("the last address {last} is before the first, {first}")]
    LastBeforeFirst {
        /// The first address.
        first: Address,
        /// The last address.
        last: Address,
    },
    /// More exclusions than `limits::EXCLUSIONS`.
    #[error("{0} exclusions are more than {max}; join neighbours into one CIDR", max = limits::EXCLUSIONS)]
    TooManyExclusions(usize),
    /// No address remains that may be given.
    #[error("{0} has no address to give: all are reserved, excluded or gateways")]
    Empty(IpNet),
}

/// The reason why an address cannot be requested. An excluded address can be requested, and so can
/// an address outside first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The address is outside the CIDR.
    #[error("is outside the range")]
    Outside,
    /// The address is an IPv4 address that ends in `.0`.
    #[error("ends in .0, which is never given")]
    EndsInZero,
    /// The address is the first one of an IPv4 CIDR.
    #[error("is the network address")]
    Network,
    /// The address is the last one of an IPv4 CIDR.
    #[error("is the broadcast address")]
    Broadcast,
    /// The address is the first one of an IPv6 CIDR (RFC 4291, section 2.6.1).
    #[error("is the subnet-router anycast address")]
    Anycast,
    /// The address is a configured gateway.
    #[error("is the gateway")]
    Gateway,
}

impl Range {
    /// The range that `spec` describes.
    pub fn new(spec: RangeSpec) -> Result<Self, RangeError> {
        let cidr = spec.cidr.trunc();
        let whole = Interval::of(cidr);
        let first = spec.first.unwrap_or(whole.first());
        let last = spec.last.unwrap_or(whole.last());
        if !whole.contains(first) {
            return Err(RangeError::FirstOutside { first, cidr });
        }
        if !whole.contains(last) {
            return Err(RangeError::LastOutside { last, cidr });
        }
        let wanted =
            Interval::new(first, last).ok_or(RangeError::LastBeforeFirst { first, last })?;
        if spec.exclusions.len() > limits::EXCLUSIONS {
            return Err(RangeError::TooManyExclusions(spec.exclusions.len()));
        }
        let mut gateways = spec.gateways;
        gateways.retain(|gateway| whole.contains(*gateway));
        let single = |address| Interval::new(address, address).expect("one address");
        let mut holes = spec.exclusions;
        holes.extend(gateways.iter().copied().map(single));
        holes.extend(reserved(cidr).map(|(address, _)| single(address)));
        holes.sort_unstable();
        let intervals = cut(wanted, &holes);
        if intervals.is_empty() {
            return Err(RangeError::Empty(cidr));
        }
        Ok(Self {
            pool: spec.pool,
            cidr,
            gateways,
            intervals,
        })
    }

    /// The pool of the range.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The canonical CIDR.
    pub fn cidr(&self) -> IpNet {
        self.cidr
    }

    /// The intervals that may be given: disjoint, in order, at least one. No interval begins or
    /// ends with an address in `.0`.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// The number of addresses that may be given.
    pub fn size(&self) -> u128 {
        size(&self.intervals)
    }

    /// Whether `address` may be requested from this range. It may be excluded or outside first to
    /// last. It must not be reserved or a gateway.
    pub fn check_request(&self, address: Address) -> Result<(), Refusal> {
        if let Some(refusal) = refusal(self.cidr, address) {
            return Err(refusal);
        }
        if self.gateways.contains(&address) {
            Err(Refusal::Gateway)
        } else {
            Ok(())
        }
    }
}

/// The reason why no config can give `address` of `cidr`.
pub fn refusal(cidr: IpNet, address: Address) -> Option<Refusal> {
    if !Interval::of(cidr).contains(address) {
        return Some(Refusal::Outside);
    }
    let reserved = reserved(cidr).find(|(taken, _)| *taken == address);
    let zero = address.ends_in_zero().then_some(Refusal::EndsInZero);
    reserved.map(|(_, refusal)| refusal).or(zero)
}

/// The number of addresses in disjoint `intervals`, without those that end in `.0`.
pub fn size(intervals: &[Interval]) -> u128 {
    let zeros = |interval: &Interval| match interval.first().family() {
        Family::V4 => {
            let (first, last) = (interval.first().number(), interval.last().number());
            (last >> 8) - (first.saturating_sub(1) >> 8) + u128::from(first == 0)
        }
        Family::V6 => 0,
    };
    intervals
        .iter()
        .map(|interval| interval.count() - zeros(interval))
        .fold(0, u128::saturating_add)
}

/// The reserved addresses of a CIDR. An IPv4 prefix up to /30 reserves its network and its
/// broadcast address (RFC 919 and 3021). An IPv6 prefix up to /126 reserves its subnet-router
/// anycast address (RFC 4291 and 6164).
fn reserved(cidr: IpNet) -> impl Iterator<Item = (Address, Refusal)> {
    let (network, broadcast) = match cidr {
        IpNet::V4(_) if cidr.prefix_len() <= 30 => {
            (Some(Refusal::Network), Some(Refusal::Broadcast))
        }
        IpNet::V6(_) if cidr.prefix_len() <= 126 => (Some(Refusal::Anycast), None),
        IpNet::V4(_) | IpNet::V6(_) => (None, None),
    };
    let network = network.map(|refusal| (cidr.network().into(), refusal));
    let broadcast = broadcast.map(|refusal| (cidr.broadcast().into(), refusal));
    network.into_iter().chain(broadcast)
}

/// The parts of `wanted` outside the sorted `holes`. No part begins or ends with an address in
/// `.0`.
fn cut(wanted: Interval, holes: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut rest = Some(wanted);
    for hole in holes {
        let Some(current) = rest else { break };
        if !current.overlaps(*hole) {
            continue;
        }
        let (below, above) = current.without(*hole);
        left.extend(below.and_then(trim_zeros));
        rest = above;
    }
    left.extend(rest.and_then(trim_zeros));
    left
}

/// `interval` without an IPv4 address that ends in `.0` at either end.
fn trim_zeros(interval: Interval) -> Option<Interval> {
    let step = |address: Address, next: fn(Address) -> Option<Address>| {
        if address.ends_in_zero() {
            next(address)
        } else {
            Some(address)
        }
    };
    let first = step(interval.first(), Address::successor)?;
    let last = step(interval.last(), Address::predecessor)?;
    Interval::new(first, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("an address").into()
    }

    fn spec(cidr: &str) -> RangeSpec {
        RangeSpec::of(cidr.parse().expect("a CIDR"))
    }

    fn intervals(spec: RangeSpec) -> String {
        let range = Range::new(spec).expect("a range");
        range
            .intervals()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn host_bits_are_dropped_and_reserved_addresses_are_not_given() {
        let cases = [
            ("192.168.2.225/28", "192.168.2.225-192.168.2.238"),
            ("10.0.0.0/24", "10.0.0.1-10.0.0.254"),
            ("10.0.0.0/30", "10.0.0.1-10.0.0.2"),
            ("10.0.0.2/31", "10.0.0.2-10.0.0.3"),
            ("10.0.0.0/31", "10.0.0.1-10.0.0.1"),
            ("10.0.0.1/32", "10.0.0.1-10.0.0.1"),
            ("255.255.255.255/32", "255.255.255.255-255.255.255.255"),
            ("0.0.0.0/0", "0.0.0.1-255.255.255.254"),
            ("fd00::/126", "fd00::1-fd00::3"),
            ("fd00::/127", "fd00::-fd00::1"),
            ("fd00::5/128", "fd00::5-fd00::5"),
            ("::/0", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ];
        for (cidr, expected) in cases {
            assert_eq!(intervals(spec(cidr)), expected, "{cidr}");
        }
    }

    #[test]
    fn nothing_left_is_an_error() {
        let empty = Range::new(spec("10.0.0.0/32"));
        assert_eq!(
            empty,
            Err(RangeError::Empty("10.0.0.0/32".parse().expect("a CIDR")))
        );
        let mut covered = spec("10.0.0.0/24");
        covered
            .exclusions
            .push(Interval::of("10.0.0.0/16".parse().expect("a CIDR")));
        assert!(matches!(Range::new(covered), Err(RangeError::Empty(_))));
    }

    #[test]
    fn exclusions_and_gateways_split() {
        let mut split = spec("10.0.0.0/24");
        split
            .exclusions
            .push(Interval::of("10.0.0.8/29".parse().expect("a CIDR")));
        split.gateways.push(address("10.0.0.100"));
        split.gateways.push(address("10.9.9.9"));
        let expected = "10.0.0.1-10.0.0.7 10.0.0.16-10.0.0.99 10.0.0.101-10.0.0.254";
        assert_eq!(intervals(split), expected);
    }

    #[test]
    fn ends_that_make_no_sense_are_errors() {
        let with_ends = |first: &str, last: &str| {
            let (first, last) = (Some(address(first)), Some(address(last)));
            Range::new(RangeSpec {
                first,
                last,
                ..spec("10.0.0.0/24")
            })
        };
        assert!(matches!(
            with_ends("10.0.1.1", "10.0.0.9"),
            Err(RangeError::FirstOutside { .. })
        ));
        assert!(matches!(
            with_ends("10.0.0.1", "10.0.1.9"),
            Err(RangeError::LastOutside { .. })
        ));
        assert!(matches!(
            with_ends("10.0.0.9", "10.0.0.8"),
            Err(RangeError::LastBeforeFirst { .. })
        ));
        assert!(matches!(
            with_ends("fd00::1", "fd00::2"),
            Err(RangeError::FirstOutside { .. })
        ));
    }

    #[test]
    fn an_exclusion_outside_the_cidr_excludes_nothing() {
        let mut outside = spec("10.0.0.0/24");
        for cidr in ["fd00::/64", "10.0.1.0/24", "9.0.0.0/8"] {
            let exclusion = Interval::of(cidr.parse().expect("a CIDR"));
            outside.exclusions.push(exclusion);
        }
        assert_eq!(Range::new(outside), Range::new(spec("10.0.0.0/24")));
    }

    #[test]
    fn requests_may_be_excluded_but_never_reserved() {
        let mut range = spec("10.0.0.0/16");
        range
            .exclusions
            .push(Interval::of("10.0.3.0/24".parse().expect("a CIDR")));
        range.gateways.push(address("10.0.0.1"));
        let range = Range::new(range).expect("a range");
        let cases = [
            ("10.0.3.4", Ok(())),
            ("10.1.0.1", Err(Refusal::Outside)),
            ("10.0.0.0", Err(Refusal::Network)),
            ("10.0.255.255", Err(Refusal::Broadcast)),
            ("10.0.7.0", Err(Refusal::EndsInZero)),
            ("10.0.0.1", Err(Refusal::Gateway)),
        ];
        for (text, expected) in cases {
            assert_eq!(range.check_request(address(text)), expected, "{text}");
        }
        let v6 = Range::new(spec("fd00::/64")).expect("a range");
        assert_eq!(v6.check_request(address("fd00::")), Err(Refusal::Anycast));
        assert_eq!(
            v6.check_request(address("fd00::ffff:ffff:ffff:ffff")),
            Ok(())
        );
    }

    proptest! {
        /// The case covers every /20 and smaller CIDR with any ends, holes and gateways. A list of
        /// addresses is the reference.
        #[test]
        fn intervals_are_what_a_scan_finds(
            base in 0_u32..=u32::MAX,
            length in 20_u8..=32,
            ends: (u16, u16),
            holes in proptest::collection::vec((0_u32..5000, 0_u32..600), 0..6),
            gateway in 0_u32..5000,
        ) {
            let cidr: IpNet = format!("{}/{length}", std::net::Ipv4Addr::from_bits(base))
                .parse::<IpNet>().expect("a CIDR").trunc();
            let whole = Interval::of(cidr);
            let low = u32::try_from(whole.first().number()).expect("IPv4");
            let count = u32::try_from(whole.count()).expect("small");
            let at = |offset: u32| {
                Address::from(IpAddr::from(std::net::Ipv4Addr::from_bits(low + offset)))
            };
            let (a, b) = (u32::from(ends.0) % count, u32::from(ends.1) % count);
            let (first, last) = (at(a.min(b)), at(a.max(b)));
            let exclusions: Vec<Interval> = holes
                .iter()
                .map(|(from, long)| (from % count, *long))
                .map(|(from, long)| Interval::new(at(from), at((from + long).min(count - 1))))
                .map(|interval| interval.expect("first is below last"))
                .collect();
            let gateway = at(gateway % count);
            let result = Range::new(RangeSpec {
                pool: Pool::default(),
                cidr,
                first: Some(first),
                last: Some(last),
                exclusions: exclusions.clone(),
                gateways: vec![gateway],
            });
            let given: Vec<Address> = (0..count).map(at)
                .filter(|x| first <= *x && *x <= last && !x.ends_in_zero() && *x != gateway)
                .filter(|x| length > 30 || (*x != whole.first() && *x != whole.last()))
                .filter(|x| !exclusions.iter().any(|hole| hole.contains(*x)))
                .collect();
            match result {
                Err(RangeError::Empty(_)) => prop_assert!(given.is_empty()),
                Err(other) => prop_assert!(false, "{other}"),
                Ok(range) => {
                    let listed: Vec<Address> = (0..count).map(at)
                        .filter(|x| range.intervals().iter().any(|i| i.contains(*x)))
                        .filter(|x| !x.ends_in_zero())
                        .collect();
                    prop_assert_eq!(range.size(), given.len() as u128);
                    prop_assert_eq!(listed, given);
                    prop_assert!(range.intervals().is_sorted());
                    for interval in range.intervals() {
                        prop_assert!(!interval.first().ends_in_zero());
                        prop_assert!(!interval.last().ends_in_zero());
                    }
                }
            }
        }
    }
}
