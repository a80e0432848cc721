//! The `host-local` plugin's files: in a folder for each network, one file for each address, named
//! after it, with the container's id and, in a second line, its interface.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Found, Read, Unusable};
use crate::address::Name;

/// What a file of this name and content says, of whichever of `ranges` its address is; nothing when
/// its name is no address (`lock`, `last_reserved_ip.0`).
pub fn host_local(name: &str, content: &str, ranges: &[IpNet]) -> Read {
    // IPv6 addresses have '_' for ':' where a file system wants it so.
    let Ok(address) = name.replace('_', ":").parse::<IpAddr>() else {
        return Vec::new();
    };
    let found = read_file(address, content, ranges, name);
    vec![found.map_err(|reason| Unusable::new(name, &reason))]
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
    let interface = lines.next().filter(|interface| !interface.is_empty());
    Ok(Found {
        origin: origin.to_owned(),
        range: range.trunc(),
        address: address.into(),
        container: Name::new(container).map_err(|error| format!("{container:?} {error}"))?,
        interface: interface.map(str::to_owned),
        pod: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_named_after_an_address_holds_container_and_interface() {
        let ranges = ["10.0.0.0/24", "fd00::/64"].map(|cidr| cidr.parse().expect("a CIDR"));
        let read = host_local("10.0.0.7", "abc\r\neth0", &ranges);
        let Ok(found) = &read[0] else {
            panic!("{read:?}")
        };
        assert_eq!(found.address.to_string(), "10.0.0.7");
        assert_eq!(found.container.as_str(), "abc");
        assert_eq!(found.interface.as_deref(), Some("eth0"));
        let read = host_local("fd00::7", "abc", &ranges);
        assert!(
            matches!(&read[0], Ok(found) if found.interface.is_none()),
            "{read:?}"
        );
        for name in ["lock", "last_reserved_ip.0"] {
            assert_eq!(host_local(name, "10.0.0.7", &ranges), []);
        }
        let read = host_local("10.9.0.7", "abc", &ranges);
        assert!(
            matches!(&read[0], Err(error) if error.reason.contains("none of")),
            "{read:?}"
        );
    }
}
