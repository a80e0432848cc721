//! The notation of addresses, CIDRs and ranges.
//!
//! An octet or a hextet may begin with zeroes. They are read as decimal or hexadecimal, as by the
//! ancestor: `00192.00168.1.5`.

use std::net::IpAddr;

use ipnet::IpNet;

use whereabouts_core::address::{Address, Family, Interval};

/// The reason why a text does not fit its notation. Its text continues "`<value>`".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotationError {
    #[error("is not an address")]
    Address,
    #[error("is an IPv4 address in the form of IPv6: write it as IPv4")]
    Mapped,
    #[error("has no prefix length, such as in 10.0.0.0/24")]
    NoLength,
    #[error("has no prefix length from 0 to {0} after its /")]
    Length(u8),
    #[error("has its last address before its first, or in another family")]
    Backwards,
}

/// An address, with a prefix length if the text has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) address: Address,
    pub(super) length: Option<u8>,
}

/// A range: a CIDR, and the first and the last address if the text is `first-last/length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RangeText {
    pub(super) cidr: IpNet,
    pub(super) ends: Option<(Address, Address)>,
}

/// `10.0.0.5`
pub(super) fn address(text: &str) -> Result<Address, NotationError> {
    let plain = without_leading_zeroes(text);
    let ip: IpAddr = plain.parse().map_err(|_| NotationError::Address)?;
    // Other plugins and the kernel take it for IPv4. As IPv6 it would be another address.
    match ip {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Err(NotationError::Mapped),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(ip.into()),
    }
}

/// `10.0.0.5/24` or `10.0.0.5`.
pub(super) fn host(text: &str) -> Result<Host, NotationError> {
    let Some((front, length)) = text.split_once('/') else {
        let address = address(text)?;
        return Ok(Host {
            address,
            length: None,
        });
    };
    let address = address(front)?;
    let most = match address.family() {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    match length.parse::<u8>() {
        Ok(length) if digits && length <= most => Ok(Host {
            address,
            length: Some(length),
        }),
        Ok(_) | Err(_) => Err(NotationError::Length(most)),
    }
}

/// `10.0.0.5/24`. Host bits are kept.
pub(super) fn cidr(text: &str) -> Result<IpNet, NotationError> {
    let Host { address, length } = host(text)?;
    let length = length.ok_or(NotationError::NoLength)?;
    Ok(IpNet::new(address.into(), length).expect("the length was checked against the family"))
}

/// `10.0.0.0/24` or `10.0.0.5-10.0.0.9/24`
pub(super) fn range(text: &str) -> Result<RangeText, NotationError> {
    let Some((first, rest)) = text.split_once('-') else {
        let cidr = cidr(text)?;
        return Ok(RangeText { cidr, ends: None });
    };
    let (first, cidr) = (address(first)?, cidr(rest)?);
    let ends = Some((first, cidr.addr().into()));
    Ok(RangeText { cidr, ends })
}

/// `10.0.0.8/29`, `10.0.0.8` or `10.0.0.8-10.0.0.15`
pub(super) fn exclusion(text: &str) -> Result<Interval, NotationError> {
    if let Some((first, last)) = text.split_once('-') {
        return Interval::new(address(first)?, address(last)?).ok_or(NotationError::Backwards);
    }
    let Host { address, length } = host(text)?;
    match length {
        None => Ok(Interval::new(address, address).expect("one address")),
        Some(_) => Ok(Interval::of(cidr(text)?)),
    }
}

/// `text` without the zeroes at the beginning of each octet or hextet.
fn without_leading_zeroes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    let mut in_digits = false;
    while let Some(c) = rest.next() {
        let more_digits = rest.peek().is_some_and(char::is_ascii_hexdigit);
        if c == '0' && !in_digits && more_digits {
            continue;
        }
        in_digits = c.is_ascii_hexdigit();
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeroes_are_decimal_in_octets_and_hexadecimal_in_hextets() {
        let cases = [
            ("00192.00168.1.5", "192.168.1.5"),
            ("010.000.0.08", "10.0.0.8"),
            ("0.0.0.0", "0.0.0.0"),
            ("00000fd00::000001", "fd00::1"),
            ("::", "::"),
            ("0000::0000", "::"),
            ("::fffe:010.0.0.1", "::fffe:a00:1"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                address(text).map(|a| a.to_string()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "0",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.1.1",
            " 10.0.0.1",
            "fd00:::1",
            "é",
        ] {
            assert_eq!(address(text), Err(NotationError::Address), "{text}");
        }
        assert_eq!(address("10.0.0.0x1"), Err(NotationError::Address));
        assert_eq!(address("fe80::1%eth0"), Err(NotationError::Address));
        for text in ["::ffff:10.0.0.1", "0:0:0:0:0:ffff:a00:1"] {
            assert_eq!(address(text), Err(NotationError::Mapped), "{text}");
        }
    }

    #[test]
    fn a_range_without_length_or_with_length_33_or_129_is_an_error() {
        let cases = [
            ("10.0.0.0", NotationError::NoLength),
            ("10.0.0.1-10.0.0.9", NotationError::NoLength),
            ("10.0.0.0/33", NotationError::Length(32)),
            ("10.0.0.0/", NotationError::Length(32)),
            ("10.0.0.0/+8", NotationError::Length(32)),
            ("10.0.0.0/-8", NotationError::Address),
            ("10.0.0.0/8/8", NotationError::Length(32)),
            ("10.0.0.0/255.0.0.0", NotationError::Length(32)),
            ("fd00::/129", NotationError::Length(128)),
            ("fd00::/999", NotationError::Length(128)),
            ("-10.0.0.9/24", NotationError::Address),
            ("10.0.0.1-/24", NotationError::Address),
        ];
        for (text, expected) in cases {
            assert_eq!(range(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_range_is_a_cidr_with_or_without_ends() {
        let cases = [
            ("192.168.2.225/28", "192.168.2.225/28", None),
            ("0.0.0.0/0", "0.0.0.0/0", None),
            (
                "fd00::5-fd00::9/64",
                "fd00::9/64",
                Some(("fd00::5", "fd00::9")),
            ),
            (
                "010.0.0.05-10.0.0.09/24",
                "10.0.0.9/24",
                Some(("10.0.0.5", "10.0.0.9")),
            ),
        ];
        for (text, expected, ends) in cases {
            let found = range(text).expect(text);
            assert_eq!(found.cidr.to_string(), expected);
            let shown = found
                .ends
                .map(|(first, last)| (first.to_string(), last.to_string()));
            assert_eq!(
                shown,
                ends.map(|(first, last)| (first.to_owned(), last.to_owned()))
            );
        }
    }

    #[test]
    fn an_exclusion_is_a_cidr_an_address_or_first_to_last() {
        let cases = [
            ("10.0.0.9/29", Ok("10.0.0.8-10.0.0.15")),
            ("10.0.0.9", Ok("10.0.0.9-10.0.0.9")),
            ("10.0.0.9-10.0.0.11", Ok("10.0.0.9-10.0.0.11")),
            ("10.0.0.9-10.0.0.8", Err(NotationError::Backwards)),
            ("10.0.0.9-fd00::1", Err(NotationError::Backwards)),
            ("10.0.0.9-10.0.0.11/24", Err(NotationError::Address)),
            ("all", Err(NotationError::Address)),
        ];
        for (text, expected) in cases {
            let found = exclusion(text).map(|interval| interval.to_string());
            assert_eq!(found.as_deref().map_err(|error| *error), expected, "{text}");
        }
    }
}
