//! Search: by address, by prefix, by field, or by a part of a name. The claims come lowest address first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use serde_json::{Value, json};
use whereabouts_core::address::{Address, Interval, Pool};
use whereabouts_core::limits;

use crate::output::shown::Shown;
use crate::serve::content::{AddressInPool, Query};
use crate::serve::watched::Watched;

/// The searched text, and the place after which to go on.
#[derive(Deserialize)]
pub(in crate::serve) struct Searched {
    search: String,
    after: Option<String>,
}

/// The meaning of a searched text.
#[derive(Debug, PartialEq, Eq)]
enum Meaning<'a> {
    /// Addresses of this prefix.
    Prefix(IpNet),
    /// Claims with exactly this name in one field.
    Field(Field, &'a str),
    /// Claims with this text in a name.
    Text(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Node,
    Network,
    Namespace,
}

/// The claims that the text means. Others get their turn while the search goes through many.
pub(in crate::serve) async fn search(
    watched: &Watched,
    searched: &Searched,
) -> Result<Value, &'static str> {
    let text = searched.search.trim();
    if text.is_empty() || text.len() > limits::PAGE_SEARCH_BYTES {
        return Err("what is searched for is empty or too long");
    }
    let meaning = Meaning::of(text);
    let query = meaning.query();
    let mut after = searched.after.as_deref().map(parse_place).transpose()?;
    let mut claims: Vec<Value> = Vec::new();
    loop {
        let slice = {
            let seen = &watched.state().seen;
            seen.search(after.as_ref(), limits::PAGE_SEARCH_SLICE, &query)
        };
        let fitting = slice.found.into_iter();
        for (place, shown) in fitting.filter(|(_, shown)| meaning.fits(shown)) {
            if claims.len() == limits::PAGE_CLAIMS {
                let next = after.as_ref().map(place_text);
                return Ok(json!({"claims": claims, "next": next}));
            }
            claims.push(shown.value());
            after = Some(place);
        }
        match slice.last {
            Some(place) => after = Some(place),
            None => return Ok(json!({"claims": claims, "next": null})),
        }
        tokio::task::yield_now().await;
    }
}

impl<'a> Meaning<'a> {
    fn of(text: &'a str) -> Self {
        if let Some(prefix) = prefix(text) {
            return Self::Prefix(prefix);
        }
        match text.split_once(':') {
            Some(("node", name)) => Self::Field(Field::Node, name),
            Some(("network", name)) => Self::Field(Field::Network, name),
            Some(("namespace", name)) => Self::Field(Field::Namespace, name),
            _ => Self::Text(text),
        }
    }

    fn query(&self) -> Query<'a> {
        let (within, parts) = match *self {
            Self::Prefix(prefix) => (Some(Interval::of(prefix)), Vec::new()),
            Self::Field(_, name) => (None, vec![name.as_bytes()]),
            Self::Text(text) => (None, text.split('/').map(str::as_bytes).collect()),
        };
        Query { within, parts }
    }

    fn fits(&self, shown: &Shown) -> bool {
        let owner = &shown.claim.value.owner;
        let attachment = &shown.attachment;
        let node = owner.node.as_deref().unwrap_or_default();
        match self {
            Self::Prefix(_) => true,
            Self::Field(Field::Node, name) => node == *name,
            Self::Field(Field::Network, name) => attachment.network.as_str() == *name,
            Self::Field(Field::Namespace, name) => {
                owner.pod_namespace.as_deref().unwrap_or_default() == *name
            }
            Self::Text(text) => {
                shown.pod().contains(text)
                    || node.contains(text)
                    || attachment.container.as_str().contains(text)
                    || attachment.network.as_str().contains(text)
            }
        }
    }
}

/// An address, a CIDR, or the begin of an address: `10.56.217`, `10.`, `fd00:66:`.
fn prefix(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.into());
    }
    if let Ok(cidr) = text.parse::<IpNet>() {
        return Some(cidr.trunc());
    }
    ipv4_begin(text).or_else(|| ipv6_begin(text))
}

/// Two or three numbers, or one and a dot: a number alone is more often part of a name.
fn ipv4_begin(text: &str) -> Option<IpNet> {
    let begin = text.strip_suffix('.').unwrap_or(text);
    let octets: Option<Vec<u8>> = begin.split('.').map(|part| part.parse().ok()).collect();
    let octets = octets.filter(|octets| octets.len() < 4 && (octets.len() > 1 || begin != text))?;
    let mut address = [0; 4];
    address[..octets.len()].copy_from_slice(&octets);
    let length = u8::try_from(8 * octets.len()).ok()?;
    Ipv4Net::new(Ipv4Addr::from(address), length)
        .ok()
        .map(IpNet::V4)
}

/// Groups of an address that end in a colon.
fn ipv6_begin(text: &str) -> Option<IpNet> {
    let groups = text.strip_suffix("::").or_else(|| text.strip_suffix(':'))?;
    let groups: Vec<&str> = groups.split(':').collect();
    let groups: Option<Vec<u16>> = groups
        .iter()
        .map(|group| u16::from_str_radix(group, 16).ok())
        .collect();
    let groups = groups.filter(|groups| groups.len() < 8)?;
    let mut address = [0; 8];
    address[..groups.len()].copy_from_slice(&groups);
    let length = u8::try_from(16 * groups.len()).ok()?;
    Ipv6Net::new(Ipv6Addr::from(address), length)
        .ok()
        .map(IpNet::V6)
}

fn place_text((address, pool): &AddressInPool) -> String {
    let own = pool.only.map(|cidr| cidr.to_string()).unwrap_or_default();
    let named = if pool.name.is_some() { "=" } else { "" };
    let name = pool.name.as_deref().unwrap_or_default();
    format!("{address},{own},{named}{name}")
}

fn parse_place(text: &str) -> Result<AddressInPool, &'static str> {
    let parsed = || {
        let mut parts = text.splitn(3, ',');
        let address: IpAddr = parts.next()?.parse().ok()?;
        let only = match parts.next()? {
            "" => None,
            cidr => Some(cidr.parse().ok()?),
        };
        let name = parts.next()?.strip_prefix('=').map(str::to_owned);
        Some((Address::from(address), Pool { name, only }))
    };
    parsed().ok_or("this is no place in the list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_an_address_a_prefix_a_field_or_a_part_of_a_name() {
        let prefix = |text: &str| Meaning::Prefix(text.parse().expect("a CIDR"));
        for (text, expected) in [
            ("10.56.217.9", prefix("10.56.217.9/32")),
            ("10.56.217.0/24", prefix("10.56.217.0/24")),
            ("10.56.217.77/24", prefix("10.56.217.0/24")),
            ("10.56.217", prefix("10.56.217.0/24")),
            ("10.56.217.", prefix("10.56.217.0/24")),
            ("10.56", prefix("10.56.0.0/16")),
            ("10.", prefix("10.0.0.0/8")),
            ("fd00::1", prefix("fd00::1/128")),
            ("fd00:66:", prefix("fd00:66::/32")),
            ("fd00:66::", prefix("fd00:66::/128")),
            ("fd00::/64", prefix("fd00::/64")),
            ("10", Meaning::Text("10")),
            ("10.999", Meaning::Text("10.999")),
            ("db-1.2.x", Meaning::Text("db-1.2.x")),
            ("default/db", Meaning::Text("default/db")),
            ("node:node-1", Meaning::Field(Field::Node, "node-1")),
            ("namespace:", Meaning::Field(Field::Namespace, "")),
            ("network:lab", Meaning::Field(Field::Network, "lab")),
        ] {
            assert_eq!(Meaning::of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_place_is_read_as_it_was_told() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().expect("an address"));
        for name in [None, Some(String::new()), Some("a,b=c".to_owned())] {
            for only in [None, Some("10.0.0.0/8".parse().expect("a CIDR"))] {
                let name = name.clone();
                let place = (address("10.0.0.1"), Pool { name, only });
                assert_eq!(parse_place(&place_text(&place)), Ok(place));
            }
        }
        for wrong in ["", "x", "10.0.0.1", "10.0.0.1,", "10.0.0.1,x,"] {
            assert!(parse_place(wrong).is_err(), "{wrong}");
        }
    }
}
