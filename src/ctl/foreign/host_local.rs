//! The `host-local` plugin's files: in a folder for each network, one file for each address, named
//! after it, with the container's id and, in a second line, its interface.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Found, Read, Unusable, interface};
use whereabouts_core::address::Name;

/// The address of a file with this name and content, which is of one of `ranges`; nothing when host-local
/// has no such file.
pub(crate) fn host_local(
    name: &str,
    content: Result<String, String>,
    ranges: &[IpNet],
) -> Option<Read> {
    if name == "lock" || name.starts_with("last_reserved_ip.") {
        return Some(Read::new());
    }
    // IPv6 addresses have '_' for ':' where a file system wants it so.
    let address: IpAddr = name.replace('_', ":").parse().ok()?;
    let found = content.and_then(|content| read_file(address, &content, ranges, name));
    Some(vec![found.map_err(|reason| Unusable::new(name, &reason))])
}

fn read_file(
    address: IpAddr,
    content: &str,
    ranges: &[IpNet],
    origin: &str,
) -> Result<Found, String> {
    let range = ranges.iter().find(|range| range.contains(&address));
    let range = range.ok_or_else(|| "it is in none of the given ranges".to_owned())?;
    let mut lines = content.lines().map(str::trim);
    let container = lines.next().unwrap_or_default();
    let named = lines.next().filter(|interface| !interface.is_empty());
    Ok(Found {
        origin: origin.to_owned(),
        range: range.trunc(),
        address: address.into(),
        container: Name::new(container).map_err(|error| format!("{container:?} {error}"))?,
        interface: named.map(interface).transpose()?,
        pod: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`: address, container and interface, or a part of the error.
    fn check(name: &str, content: Result<&str, &str>, expected: Option<Result<&str, &str>>) {
        let ranges = ["10.0.0.0/24", "fd00::/64"].map(|cidr| cidr.parse().expect("a CIDR"));
        let content = content.map(str::to_owned).map_err(str::to_owned);
        let read = host_local(name, content, &ranges);
        let read = read.map(|read| read.into_iter().next().expect("a file has an address"));
        match (read, expected) {
            (None, None) => {}
            (Some(Ok(found)), Some(Ok(expected))) => {
                let Found {
                    address,
                    container,
                    interface,
                    ..
                } = found;
                let interface = interface.as_deref().unwrap_or("-");
                assert_eq!(format!("{address} {container} {interface}"), expected);
            }
            (Some(Err(error)), Some(Err(part))) => {
                assert!(error.to_string().contains(part), "{error}");
            }
            (read, _) => panic!("{read:?}"),
        }
    }

    #[test]
    fn a_file_named_after_an_address_holds_container_and_interface() {
        check("10.0.0.7", Ok("abc\r\neth0"), Some(Ok("10.0.0.7 abc eth0")));
        check("fd00__7", Ok("abc"), Some(Ok("fd00::7 abc -")));
        check("10.9.0.7", Ok("abc"), Some(Err("none of")));
        check("10.0.0.7", Ok(""), Some(Err("is empty")));
        check(
            "10.0.0.7",
            Ok("abc\na/b"),
            Some(Err("interface \"a/b\" has")),
        );
        check("10.0.0.7", Err("no"), Some(Err("10.0.0.7: no")));
        check("notes", Ok("10.0.0.7"), None);
        check("notes", Err("no"), None);
    }

    #[test]
    fn a_folder_without_addresses_is_known_by_its_lock() {
        for name in ["lock", "last_reserved_ip.0"] {
            assert_eq!(
                host_local(name, Err("no".to_owned()), &[]),
                Some(Vec::new())
            );
        }
    }
}
