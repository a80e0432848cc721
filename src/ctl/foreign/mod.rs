//! The claims of other allocators, as requests for the same addresses. Pure.
//!
//! Each source is read by a module of its own, to [`Found`] entries; [`asks`] makes requests of
//! them, which are carried out as any ADD is: nothing that is held already is taken twice.

mod ascii;
mod attachment;
mod export;
mod host_local;
mod ip_pool;
mod migration;
mod names;
mod network;
mod objects;
mod pod;
mod reservation;

use std::collections::BTreeMap;

use whereabouts_cni::request;
use whereabouts_core::address::{Address, Interval, Name, Pool, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Owner, UNKNOWN_INTERFACE, Want};
use whereabouts_core::limits;

pub(crate) use ascii::ascii;
pub(crate) use attachment::Stale;
pub(crate) use export::export;
pub(crate) use host_local::host_local;
pub(crate) use ip_pool::ip_pool;
pub(crate) use migration::{Plan, plan};

/// An address that another allocator has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it was found, for a person.
    pub(crate) origin: String,
    /// The range it is of.
    pub(crate) range: ipnet::IpNet,
    /// The address.
    pub(crate) address: Address,
    /// The holder.
    pub(crate) container: Name,
    /// On which interface, if that is known.
    pub(crate) interface: Option<String>,
    /// Of which pod, if that is known: namespace and name.
    pub(crate) pod: Option<(String, String)>,
}

impl Found {
    /// The pod as the Kubernetes version writes it.
    fn podref(&self) -> Option<String> {
        let (namespace, name) = self.pod.as_ref()?;
        Some(format!("{namespace}/{name}"))
    }
}

/// Something that cannot be taken over, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {reason}")]
pub(crate) struct Unusable {
    /// Where it was found.
    pub(crate) origin: String,
    /// Why.
    pub(crate) reason: String,
}

impl Unusable {
    fn new(origin: &str, reason: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// The entries of a source.
pub(crate) type Read = Vec<Result<Found, Unusable>>;

/// The facts that the sources do not tell.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The network that the attachments are of.
    pub(crate) network: Name,
    /// The pool that the addresses are of.
    pub(crate) pool: Option<String>,
    /// The node that they are on, if it is one.
    pub(crate) node: Option<String>,
}

/// One request for each attachment, in their order. Addresses that nobody may have are no requests.
pub(crate) fn asks(found: Vec<Found>, target: &Target) -> (Vec<Ask>, Vec<Unusable>) {
    let mut unusable = Vec::new();
    let mut asks: BTreeMap<Attachment, Ask> = BTreeMap::new();
    for one in found {
        let pool = Pool {
            name: target.pool.clone(),
            only: None,
        };
        let want = match want(&one, pool) {
            Ok(want) => want,
            Err(reason) => {
                unusable.push(Unusable::new(&one.origin, &reason));
                continue;
            }
        };
        let attachment = Attachment {
            network: target.network.clone(),
            container: one.container,
            interface: one
                .interface
                .unwrap_or_else(|| UNKNOWN_INTERFACE.to_owned()),
        };
        let (pod_namespace, pod_name) = one.pod.unzip();
        let ask = asks.entry(attachment.clone()).or_insert_with(|| Ask {
            attachment,
            wants: Vec::new(),
            owner: Owner {
                node: target.node.clone(),
                pod_namespace,
                pod_name,
                ..Owner::default()
            },
            may_take_over: false,
        });
        let is_twice = ask
            .wants
            .iter()
            .any(|other| (&other.range.pool, &other.choice) == (&want.range.pool, &want.choice));
        if is_twice {
            unusable.push(Unusable::new(&one.origin, "the same once more"));
        } else if ask.wants.len() >= limits::WANTS {
            let reason = format!(
                "{} has more than {} addresses",
                ask.attachment,
                limits::WANTS
            );
            unusable.push(Unusable::new(&one.origin, &reason));
        } else {
            ask.wants.push(want);
        }
    }
    (asks.into_values().collect(), unusable)
}

/// The request for an address. One that a config keeps back, as its gateway, may be in use all the same.
fn want(found: &Found, pool: Pool) -> Result<Want, String> {
    let spec = RangeSpec {
        pool,
        ..RangeSpec::of(found.range)
    };
    let range = Range::new(spec).map_err(|error| error.to_string())?;
    let want = Want::exactly(&range, found.address);
    let want = want.map_err(|refusal| format!("{} {refusal}", found.address))?;
    // Where the address comes from, only the CIDR is known.
    Ok(Want {
        usable: Vec::new(),
        ..want
    })
}

/// An interface that a runtime could have named.
fn interface(name: &str) -> Result<String, String> {
    match request::check_interface(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(reason) => Err(format!("the interface {name:?} {reason}")),
    }
}

/// An address that must be one of `range`.
fn address_in(range: ipnet::IpNet, address: Address) -> Result<Address, String> {
    if Interval::of(range).contains(address) {
        Ok(address)
    } else {
        Err(format!("{address} is outside {range}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(container: &str, interface: Option<&str>, address: &str) -> Found {
        Found {
            origin: address.to_owned(),
            range: "10.0.0.0/24".parse().expect("a CIDR"),
            address: address
                .parse::<std::net::IpAddr>()
                .expect("an address")
                .into(),
            container: Name::new(container).expect("a name"),
            interface: interface.map(str::to_owned),
            pod: None,
        }
    }

    proptest::proptest! {
        /// Each entry of a source is read, or told to be unusable.
        #[test]
        fn any_source_is_read_or_unusable(name in "\\PC{0,20}", text in "[0-9a-f:. \\r\\n/x]{0,60}") {
            let ranges = ["10.0.0.0/8", "::/0"].map(|cidr| cidr.parse().expect("a CIDR"));
            host_local(&name, Ok(text.clone()), &ranges);
            host_local("10.0.0.1", Ok(text.clone()), &ranges);
            ascii(&name, text.as_bytes());
            ascii("10.0.0.0/8", text.as_bytes());
            let allocation = serde_json::json!({"id": text.as_str(), "podref": name.as_str()});
            let pool = serde_json::json!({"kind": "IPPool", "metadata": {"name": "ffff---16"}, "spec": {
                "range": "ffff::/16", "allocations": {text.as_str(): allocation},
            }});
            let read = ip_pool(vec![pool], None);
            proptest::prop_assert_eq!(read.map(|read| read.len()), Ok(1));
        }
    }

    #[test]
    fn addresses_of_one_attachment_are_one_request_and_what_nobody_may_have_is_none() {
        let target = Target {
            network: Name::new("net").expect("a name"),
            pool: None,
            node: None,
        };
        let (asks, unusable) = asks(
            vec![
                found("a", Some("eth0"), "10.0.0.1"),
                found("b", None, "10.0.0.2"),
                found("a", Some("eth0"), "10.0.0.3"),
                found("a", Some("eth1"), "10.0.0.4"),
                found("c", None, "10.0.0.0"),
                found("b", None, "10.0.0.2"),
            ],
            &target,
        );
        let shape: Vec<(&str, usize)> = asks
            .iter()
            .map(|ask| (ask.attachment.interface.as_str(), ask.wants.len()))
            .collect();
        assert_eq!(shape, [("eth0", 2), ("eth1", 1), (UNKNOWN_INTERFACE, 1)]);
        let reasons: Vec<String> = unusable.iter().map(ToString::to_string).collect();
        assert_eq!(
            reasons,
            [
                "10.0.0.0: 10.0.0.0 is the network address",
                "10.0.0.2: the same once more"
            ]
        );
    }
}
