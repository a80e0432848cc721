//! The Kubernetes version's IPPools: `spec.range`, and `spec.allocations` by offset from the range's
//! network address, each with `id`, `podref` and, of late, `ifname`.

use ipnet::IpNet;
use serde_json::Value;

use super::objects::{Objects, name_of};
use super::{Found, Read, Unusable, address_in, interface, names};
use whereabouts_core::address::{Address, Name};

/// An IPPool.
pub(super) struct IpPool {
    /// The `network_name` in its name. It may be the name of a node, too: a part of the range is
    /// that node's alone then.
    pub(super) network_name: Option<String>,
    /// Its allocations.
    pub(super) read: Read,
}

/// The allocations of the one IPPool in `documents`, whose `network_name` is `pool`. Networks stand in
/// no IPPool, so several of them could only be guessed at.
pub(crate) fn ip_pool(documents: Vec<Value>, pool: Option<&str>) -> Result<Read, String> {
    const MIGRATE: &str = "`whereaboutsctl migrate` takes over all of them, each with its network";
    let objects = Objects::of(documents);
    if let Some(contradiction) = objects.refused.first() {
        return Err(contradiction.to_string());
    }
    if !objects.reservations.is_empty() {
        return Err(format!(
            "there are OverlappingRangeIPReservations, which name no container: {MIGRATE}"
        ));
    }
    let document = match objects.pools.as_slice() {
        [] => return Err("there is no IPPool".to_owned()),
        [one] => one,
        several => {
            let names: Vec<&str> = several.iter().map(name_of).collect();
            return Err(format!(
                "{} may be of different networks: {MIGRATE}",
                names.join(", ")
            ));
        }
    };
    let read = IpPool::of(document).map_err(|unusable| unusable.to_string())?;
    if read.network_name.as_deref() == pool {
        return Ok(read.read);
    }
    let name = name_of(document);
    Err(match (read.network_name, pool) {
        (Some(named), None) => format!(
            "{name} is the pool of the network_name {named}, or of the node {named}: say --pool if it is a network_name, or take all pools over with `whereaboutsctl migrate`"
        ),
        (_, pool) => format!("{name} is not of the pool {}", pool.unwrap_or_default()),
    })
}

impl IpPool {
    /// Reads one.
    pub(super) fn of(document: &Value) -> Result<Self, Unusable> {
        let name = name_of(document);
        let fail = |reason: &str| Unusable::new(name, reason);
        let spec = &document["spec"];
        let range = spec["range"].as_str().unwrap_or_default();
        let range: IpNet = range
            .parse()
            .map_err(|_| fail(&format!("{range:?} is no range")))?;
        let range = range.trunc();
        let network_name = names::before_range(name, range).map_err(|reason| fail(&reason))?;
        let read = match &spec["allocations"] {
            Value::Null => Read::new(),
            Value::Object(allocations) => allocations
                .iter()
                .map(|(offset, allocation)| {
                    let origin = format!("{name} offset {offset}");
                    read_allocation(range, offset, allocation, &origin)
                        .map_err(|reason| Unusable { origin, reason })
                })
                .collect(),
            _ => return Err(fail("its allocations are no object")),
        };
        Ok(Self {
            network_name: network_name.map(str::to_owned),
            read,
        })
    }
}

fn read_allocation(
    range: IpNet,
    offset: &str,
    allocation: &Value,
    origin: &str,
) -> Result<Found, String> {
    let offset: u128 = offset.parse().map_err(|_| "it is no number".to_owned())?;
    let network = Address::from(range.network());
    let number = network.number().checked_add(offset);
    let address = number
        .and_then(|number| Address::new(network.family(), number))
        .ok_or_else(|| format!("it is outside {range}"))?;
    let text = |key: &str| {
        let text = allocation[key].as_str();
        text.filter(|text| !text.is_empty())
    };
    let container = text("id").ok_or_else(|| "it has no id".to_owned())?;
    Ok(Found {
        origin: origin.to_owned(),
        range,
        address: address_in(range, address)?,
        container: Name::new(container).map_err(|error| format!("{container:?} {error}"))?,
        interface: text("ifname").map(interface).transpose()?,
        pod: text("podref").map(pod).transpose()?,
    })
}

/// The namespace and the name of a pod.
fn pod(podref: &str) -> Result<(String, String), String> {
    let parts = podref.split_once('/');
    let is_name = |text: &str| Name::new(text).is_ok();
    match parts.filter(|(namespace, name)| is_name(namespace) && is_name(name)) {
        Some((namespace, name)) => Ok((namespace.to_owned(), name.to_owned())),
        None => Err(format!("{podref:?} is no namespace and pod")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pool(name: &str, allocations: &Value) -> Value {
        json!({"kind": "IPPool", "metadata": {"name": name}, "spec": {
            "range": "10.0.0.0/24", "allocations": allocations,
        }})
    }

    fn check(documents: &[Value], pool: Option<&str>, expected: Result<usize, &str>) {
        match (ip_pool(documents.to_vec(), pool), expected) {
            (Ok(read), Ok(count)) => assert_eq!(read.len(), count),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (read, _) => panic!("{read:?}"),
        }
    }

    #[test]
    fn allocations_are_offsets_from_the_network_address() {
        let allocations = json!({
            "5": {"id": "abc", "podref": "space/pod", "ifname": "net1"},
            "256": {"id": "def"},
            "6": {"id": "def", "ifname": "a/b"},
            "7": {"id": "def", "podref": "pod"},
            "x": {"id": "def"},
        });
        let documents = vec![json!({"kind": "List", "items": [
            pool("10.0.0.0-24", &allocations),
            {"kind": "Pod", "spec": {}},
        ]})];
        let read = ip_pool(documents, None).expect("one IPPool");
        let found = read.iter().find_map(|one| one.as_ref().ok());
        let found = found.expect("one of them can be used");
        assert_eq!(found.address.to_string(), "10.0.0.5");
        assert_eq!(found.container.as_str(), "abc");
        assert_eq!(found.interface.as_deref(), Some("net1"));
        assert_eq!(found.pod, Some(("space".to_owned(), "pod".to_owned())));
        let errors: Vec<String> = read
            .iter()
            .filter_map(|one| one.as_ref().err().map(ToString::to_string))
            .collect();
        assert_eq!(
            errors,
            [
                "10.0.0.0-24 offset 256: 10.0.1.0 is outside 10.0.0.0/24",
                "10.0.0.0-24 offset 6: the interface \"a/b\" has a '/', a ':' or white space",
                "10.0.0.0-24 offset 7: \"pod\" is no namespace and pod",
                "10.0.0.0-24 offset x: it is no number",
            ]
        );
    }

    #[test]
    fn what_would_be_guessed_is_refused() {
        let allocations = json!({"5": {"id": "abc"}});
        let shared = pool("10.0.0.0-24", &allocations);
        let named = pool("team-10.0.0.0-24", &allocations);
        let reservation = json!({"kind": "OverlappingRangeIPReservation",
            "metadata": {"name": "10.0.0.5"}, "spec": {"podref": "a/b"}});
        check(std::slice::from_ref(&shared), None, Ok(1));
        check(std::slice::from_ref(&named), Some("team"), Ok(1));
        check(std::slice::from_ref(&named), None, Err("network_name team"));
        check(std::slice::from_ref(&named), Some("other"), Err("other"));
        check(std::slice::from_ref(&shared), Some("team"), Err("team"));
        check(&[shared.clone(), named], None, Err("migrate"));
        check(&[shared, reservation], None, Err("Reservations"));
        check(&[json!({"kind": "Pod"})], None, Err("there is no IPPool"));
        check(
            &[pool("10.0.0.0-28", &allocations)],
            None,
            Err("10.0.0.0-24"),
        );
    }
}
