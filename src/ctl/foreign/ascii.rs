//! The first whereabouts plugin's ranges in etcd: a key for each range, `/whereabouts/<range>`, and a
//! line `<address> <container id>` for each address. Its locks have keys below those.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Found, Read, Unusable, address_in};
use whereabouts_core::address::Name;

/// The lines of the key `<prefix><rest>` with this value; nothing when it is no range's.
pub(crate) fn ascii(rest: &str, value: &[u8]) -> Option<Read> {
    let rest = rest.trim_start_matches('/');
    let range: IpNet = rest.parse().ok()?;
    let Ok(text) = std::str::from_utf8(value) else {
        let unusable = Unusable::new(rest, "its value is not text");
        return Some(vec![Err(unusable)]);
    };
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let read = lines.map(|(number, line)| {
        let origin = format!("{rest} line {}", number + 1);
        read_line(range.trunc(), line, &origin).map_err(|reason| Unusable { origin, reason })
    });
    Some(read.collect())
}

fn read_line(range: IpNet, line: &str, origin: &str) -> Result<Found, String> {
    let (address, container) = line
        .split_once(' ')
        .ok_or_else(|| format!("{line:?} is not an address and a container"))?;
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("{address:?} is no address"))?;
    let container = container.trim();
    Ok(Found {
        origin: origin.to_owned(),
        range,
        address: address_in(range, address.into())?,
        container: Name::new(container).map_err(|error| format!("{container:?} {error}"))?,
        interface: None,
        pod: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rest: &str, value: &str, expected: &[Result<(&str, &str), &str>]) {
        let read = ascii(rest, value.as_bytes()).expect("the key of a range");
        assert_eq!(read.len(), expected.len(), "{read:?}");
        for (found, expected) in read.into_iter().zip(expected) {
            match (found, expected) {
                (Ok(found), Ok((address, container))) => {
                    assert_eq!(found.address.to_string(), *address);
                    assert_eq!(found.container.as_str(), *container);
                }
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{error}");
                }
                (found, _) => panic!("{found:?}"),
            }
        }
    }

    #[test]
    fn each_line_of_a_range_is_an_address_and_a_container() {
        check(
            "192.168.2.225/28",
            "192.168.2.225 abc\n192.168.2.226 def\n",
            &[Ok(("192.168.2.225", "abc")), Ok(("192.168.2.226", "def"))],
        );
        check("192.168.2.0/24", "", &[]);
        check(
            "10.0.0.0/24",
            "10.0.1.1 a\nfoo b\n10.0.0.1\n10.0.0.2 a/b",
            &[
                Err("10.0.0.0/24 line 1: 10.0.1.1 is outside"),
                Err("\"foo\" is no address"),
                Err("is not an address and a container"),
                Err("has the character '/'"),
            ],
        );
    }

    #[test]
    fn locks_and_other_keys_are_no_ranges() {
        for key in ["10.0.0.0/24/694d5765b1d9c3f1", "v1/claim/net/c/eth0"] {
            assert_eq!(ascii(key, b"x"), None);
        }
    }
}
