//! How the Kubernetes version names its objects: IPPools after their ranges, reservations after their
//! addresses, both behind the `network_name`, if there is one.

use ipnet::IpNet;

use whereabouts_core::address::Address;

/// The name of the IPPool of a range.
pub(super) fn ip_pool(network_name: Option<&str>, range: IpNet) -> String {
    behind(network_name, &plain(&range.to_string()))
}

/// The name of the reservation of an address.
pub(super) fn reservation(network_name: Option<&str>, address: Address) -> String {
    behind(network_name, &plain(&address.to_string()))
}

/// Whether a reservation with this name is of `address`, whatever its `network_name`.
pub(super) fn is_reservation_of(name: &str, address: Address) -> bool {
    let before = name.strip_suffix(&plain(&address.to_string()));
    before.is_some_and(|before| before.is_empty() || before.ends_with('-'))
}

/// Which text stands before the range in the name of an IPPool: a `network_name`, or nothing. An IPPool
/// that is not named after its range is an error.
pub(super) fn before_range(name: &str, range: IpNet) -> Result<Option<&str>, String> {
    let own = plain(&range.to_string());
    match name.strip_suffix(&own) {
        Some("") => Ok(None),
        Some(before) if before.len() > 1 && before.ends_with('-') => {
            Ok(Some(&before[..before.len() - 1]))
        }
        Some(_) | None => Err(format!("its name does not end in {own}, after its range")),
    }
}

/// A text as a part of the name of an object, which has neither `:` nor `/`, and ends in a digit.
fn plain(text: &str) -> String {
    let end = if text.ends_with(':') { "0" } else { "" };
    format!("{}{end}", text.replace([':', '/'], "-"))
}

fn behind(network_name: Option<&str>, plain: &str) -> String {
    match network_name {
        None => plain.to_owned(),
        Some(network_name) => format!("{network_name}-{plain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn check(network_name: Option<&str>, range: &str, expected: &str) {
        let range: IpNet = range.parse().expect("a CIDR");
        assert_eq!(ip_pool(network_name, range), expected);
        assert_eq!(before_range(expected, range), Ok(network_name));
    }

    #[test]
    fn an_ip_pool_is_named_after_its_network_name_and_its_range() {
        check(None, "10.60.0.0/24", "10.60.0.0-24");
        check(None, "fd62::/64", "fd62---64");
        check(Some("team-a"), "10.61.0.0/28", "team-a-10.61.0.0-28");
        check(Some("a"), "fd00:0:0:1::/64", "a-fd00-0-0-1---64");
    }

    #[test]
    fn a_name_without_its_range_is_an_error() {
        let range = "10.61.0.0/28".parse().expect("a CIDR");
        for name in ["10.61.0.0-24", "-10.61.0.0-28", "x10.61.0.0-28", ""] {
            assert!(before_range(name, range).is_err(), "{name}");
        }
    }

    #[test]
    fn a_reservation_is_named_after_its_network_name_and_its_address() {
        let cases = [
            (None, "10.60.0.1", "10.60.0.1"),
            (None, "fd62::3", "fd62--3"),
            (None, "fd62::", "fd62--0"),
            (Some("team-a"), "10.61.0.1", "team-a-10.61.0.1"),
        ];
        let one = "10.0.0.1".parse::<IpAddr>().expect("an address").into();
        for other in ["10.0.0.11", "110.0.0.1", "a-10.0.0.2", ""] {
            assert!(!is_reservation_of(other, one), "{other}");
        }
        for (network_name, address, expected) in cases {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(reservation(network_name, address.into()), expected);
            assert!(is_reservation_of(expected, address.into()), "{expected}");
        }
    }
}
