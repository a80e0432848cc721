//! The Kubernetes version's IPPools: `spec.range`, and `spec.allocations` by offset from the range's
//! network address, each with `id`, `podref` and, of late, `ifname`.

use ipnet::IpNet;
use serde_json::Value;

use super::{Found, Read, Unusable, address_in};
use crate::address::{Address, Name};

/// What a document says: an IPPool, or a list of them. Other kinds are passed over.
pub fn ip_pools(document: &Value) -> Read {
    match document["kind"].as_str() {
        Some("IPPool") => pool(document),
        Some(_) | None => match document["items"].as_array() {
            Some(items) => items.iter().flat_map(ip_pools).collect(),
            None => Vec::new(),
        },
    }
}

fn pool(document: &Value) -> Read {
    let name = document["metadata"]["name"].as_str().unwrap_or("IPPool");
    let spec = &document["spec"];
    let range = spec["range"].as_str().unwrap_or_default();
    let Ok(range) = range.parse::<IpNet>() else {
        return vec![Err(Unusable::new(name, &format!("{range:?} is no range")))];
    };
    let Some(allocations) = spec["allocations"].as_object() else {
        return Vec::new();
    };
    let read = allocations.iter().map(|(offset, allocation)| {
        let origin = format!("{name} offset {offset}");
        read_allocation(range.trunc(), offset, allocation, &origin)
            .map_err(|reason| Unusable { origin, reason })
    });
    read.collect()
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
    let pod = text("podref").and_then(|pod| pod.split_once('/'));
    Ok(Found {
        origin: origin.to_owned(),
        range,
        address: address_in(range, address)?,
        container: Name::new(container).map_err(|error| format!("{container:?} {error}"))?,
        interface: text("ifname").map(str::to_owned),
        pod: pod.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn allocations_are_offsets_from_the_network_address() {
        let list = json!({"kind": "List", "items": [
            {"kind": "IPPool", "metadata": {"name": "10.0.0.0-24"}, "spec": {
                "range": "10.0.0.0/24",
                "allocations": {
                    "5": {"id": "abc", "podref": "space/pod", "ifname": "net1"},
                    "256": {"id": "def"},
                    "x": {"id": "def"},
                },
            }},
            {"kind": "Pod", "spec": {}},
        ]});
        let read = ip_pools(&list);
        let Ok(found) = &read[1] else {
            panic!("{read:?}")
        };
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
                "10.0.0.0-24 offset x: it is no number"
            ]
        );
    }
}
