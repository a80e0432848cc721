//! Addresses as numbers: families, addresses, intervals.
//!
//! All arithmetic is on `u128` and checked at the ends of a family. So `255.255.255.255` and
//! `ffff:…:ffff` have no successor. This module knows nothing of etcd, of configs or of time.

mod block;
mod pool;
mod range;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

pub use block::{BLOCK_SIZE, Bitmap, BlockId, BlockKey, Window};
pub use pool::{Name, NameError, Pool};
pub use range::size;
pub use range::{Range, RangeError, RangeSpec, Refusal, refusal};

/// The version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// 32 bits.
    V4,
    /// 128 bits.
    V6,
}

impl Family {
    /// The highest address of the family, as a number.
    pub(crate) fn highest(self) -> u128 {
        match self {
            Self::V4 => u128::from(u32::MAX),
            Self::V6 => u128::MAX,
        }
    }

    /// `4` or `6`, for keys and results.
    pub fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }
}

/// One address. The order is by family, then by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    family: Family,
    number: u128,
}

impl Address {
    /// The address with this number, or `None` when the family has no such address.
    pub fn new(family: Family, number: u128) -> Option<Self> {
        (number <= family.highest()).then_some(Self { family, number })
    }

    /// The family.
    pub fn family(self) -> Family {
        self.family
    }

    /// The address as a number.
    pub fn number(self) -> u128 {
        self.number
    }

    /// The next higher address of the family, if there is one.
    pub fn successor(self) -> Option<Self> {
        Self::new(self.family, self.number.checked_add(1)?)
    }

    /// The next lower address of the family, if there is one.
    pub fn predecessor(self) -> Option<Self> {
        Self::new(self.family, self.number.checked_sub(1)?)
    }

    /// Whether this is an IPv4 address that ends in `.0`. No range gives such an address.
    pub fn ends_in_zero(self) -> bool {
        self.family == Family::V4 && self.number.is_multiple_of(256)
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self {
                family: Family::V4,
                number: u128::from(ip.to_bits()),
            },
            IpAddr::V6(ip) => Self {
                family: Family::V6,
                number: ip.to_bits(),
            },
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        match address.family {
            Family::V4 => {
                let bits = u32::try_from(address.number).expect("an IPv4 address has 32 bits");
                Self::V4(Ipv4Addr::from_bits(bits))
            }
            Family::V6 => Self::V6(Ipv6Addr::from_bits(address.number)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

/// All addresses from `first` to `last`, both included. An interval has one family and is never
/// empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    first: Address,
    last: Address,
}

impl Interval {
    /// The interval, or `None` when `last` lies before `first` or in the other family.
    pub fn new(first: Address, last: Address) -> Option<Self> {
        (first.family == last.family && first.number <= last.number).then_some(Self { first, last })
    }

    /// All addresses of a CIDR, network and broadcast address included.
    pub fn of(cidr: IpNet) -> Self {
        Self {
            first: cidr.network().into(),
            last: cidr.broadcast().into(),
        }
    }

    /// The lowest address.
    pub fn first(self) -> Address {
        self.first
    }

    /// The highest address.
    pub fn last(self) -> Address {
        self.last
    }

    /// Whether `address` is in the interval.
    pub fn contains(self, address: Address) -> bool {
        self.first <= address && address <= self.last
    }

    /// Whether both intervals have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first.family == other.first.family
            && self.first <= other.last
            && other.first <= self.last
    }

    /// The addresses that are in both intervals.
    pub fn common(self, other: Self) -> Option<Self> {
        let first = self.first.max(other.first);
        Self::new(first, self.last.min(other.last)).filter(|_| self.overlaps(other))
    }

    /// The parts of the interval below and above `hole`. If the two do not overlap, the whole
    /// interval is the part below.
    pub fn without(self, hole: Self) -> (Option<Self>, Option<Self>) {
        if !self.overlaps(hole) {
            return (Some(self), None);
        }
        let below = hole
            .first
            .predecessor()
            .and_then(|last| Self::new(self.first, last));
        let above = hole
            .last
            .successor()
            .and_then(|first| Self::new(first, self.last));
        (below, above)
    }

    /// The number of addresses. `u128::MAX` also stands for the 2^128 addresses of all of IPv6.
    pub fn count(self) -> u128 {
        (self.last.number - self.first.number).saturating_add(1)
    }

    /// The block of the first address and the block of the last address.
    pub fn blocks(self) -> (BlockId, BlockId) {
        (BlockId::of(self.first), BlockId::of(self.last))
    }
}

impl FromStr for Interval {
    type Err = String;

    /// The inverse of its text, `first-last`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = |text: &str| text.parse::<IpAddr>().map(Address::from).ok();
        let ends = text.split_once('-');
        let ends = ends.and_then(|(first, last)| address(first).zip(address(last)));
        let interval = ends.and_then(|(first, last)| Self::new(first, last));
        interval.ok_or_else(|| format!("{text:?} is not an interval of addresses"))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn the_ends_of_a_family_have_no_neighbour() {
        assert_eq!(address("255.255.255.255").successor(), None);
        assert_eq!(
            address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").successor(),
            None
        );
        assert_eq!(address("0.0.0.0").predecessor(), None);
        assert_eq!(address("::").predecessor(), None);
        assert_eq!(Address::new(Family::V4, 1 << 32), None);
    }

    #[test]
    fn all_of_ipv6_is_one_interval() {
        let all = Interval::of("::/0".parse().expect("a CIDR"));
        assert_eq!(all.count(), u128::MAX);
        assert_eq!(all.without(all), (None, None));
        let hole = Interval::new(address("::1"), address("::1")).expect("an interval");
        let (below, above) = all.without(hole);
        assert_eq!(below.expect("below").to_string(), "::-::");
        assert_eq!(above.expect("above").first().to_string(), "::2");
    }

    #[test]
    fn without_agrees_with_a_list_of_numbers() {
        let interval = |first: u128, last: u128| {
            let end = |n| Address::new(Family::V4, n).expect("small");
            Interval::new(end(first), end(last))
        };
        for (a, b, c, d) in quadruples(6) {
            let (Some(whole), Some(hole)) = (interval(a, b), interval(c, d)) else {
                continue;
            };
            let (below, above) = whole.without(hole);
            let left: Vec<u128> = [below, above]
                .into_iter()
                .flatten()
                .flat_map(|part| part.first().number()..=part.last().number())
                .collect();
            let expected: Vec<u128> = (a..=b).filter(|n| !(c..=d).contains(n)).collect();
            assert_eq!(left, expected, "{whole} without {hole}");
        }
    }

    fn quadruples(below: u128) -> impl Iterator<Item = (u128, u128, u128, u128)> {
        let numbers = move || 0..below;
        numbers().flat_map(move |a| {
            numbers().flat_map(move |b| {
                numbers().flat_map(move |c| numbers().map(move |d| (a, b, c, d)))
            })
        })
    }
}
