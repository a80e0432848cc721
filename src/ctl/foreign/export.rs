//! The way back: claims as the IPPools and reservations of the Kubernetes version.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Unusable, names};
use whereabouts_core::address::{Address, Name};
use whereabouts_core::claim::{Attachment, Claim, Held, UNKNOWN_INTERFACE};

/// The API of both kinds.
const API: &str = "whereabouts.cni.cncf.io/v1alpha1";

/// The IPPools and reservations that stand for `claims`, in `namespace`, as a list; and the claims for
/// which none can stand. A list without them would let their addresses be given again.
pub(crate) fn export<'a>(
    claims: impl IntoIterator<Item = (&'a Attachment, &'a Claim)>,
    namespace: &str,
) -> (Value, Vec<Unusable>) {
    let mut pools: BTreeMap<String, (String, Map<String, Value>)> = BTreeMap::new();
    let mut reservations: BTreeMap<String, Value> = BTreeMap::new();
    let mut unusable = Vec::new();
    for (attachment, claim) in claims {
        for held in &claim.held {
            let added = Entry::of(attachment, claim, held)
                .and_then(|entry| entry.add(&mut pools, &mut reservations));
            if let Err(reason) = added {
                let origin = format!("{} of {attachment}", held.address);
                unusable.push(Unusable { origin, reason });
            }
        }
    }
    let object = |kind: &str, name: String, spec: Value| {
        json!({
            "apiVersion": API,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        })
    };
    let pools = pools.into_iter().map(|(name, (range, allocations))| {
        let spec = json!({"range": range, "allocations": allocations});
        object("IPPool", name, spec)
    });
    let reservations = reservations
        .into_iter()
        .map(|(name, spec)| object("OverlappingRangeIPReservation", name, spec));
    let items: Vec<Value> = pools.chain(reservations).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    (list, unusable)
}

/// An address as the Kubernetes version remembers it.
struct Entry {
    ip_pool: String,
    range: String,
    offset: u128,
    allocation: Value,
    /// The name and the content of its reservation, where ranges share their addresses.
    reservation: Option<(String, Value)>,
}

impl Entry {
    fn of(attachment: &Attachment, claim: &Claim, held: &Held) -> Result<Self, String> {
        let (pool, cidr) = (&held.range.pool, held.range.cidr);
        let name = pool.name.as_deref();
        if let Some(name) = name.filter(|name| !is_object_name(name)) {
            return Err(format!(
                "no object can be named after the network_name {name:?}"
            ));
        }
        let offset = held.address.number() - Address::from(cidr.network()).number();
        // The Kubernetes version passes over what its integers cannot hold.
        if i64::try_from(offset).is_err() {
            return Err(format!("it is too far from the beginning of {cidr}"));
        }
        let owner = &claim.owner;
        let (Some(namespace), Some(pod)) = (&owner.pod_namespace, &owner.pod_name) else {
            return Err("its claim names no pod".to_owned());
        };
        let mut spec = json!({"podref": format!("{namespace}/{pod}")});
        if attachment.interface != UNKNOWN_INTERFACE {
            spec["ifname"] = attachment.interface.as_str().into();
        }
        let mut allocation = spec.clone();
        allocation["id"] = attachment.container.as_str().into();
        let is_shared = pool.only.is_none();
        let reservation = is_shared.then(|| (names::reservation(name, held.address), spec));
        Ok(Self {
            ip_pool: names::ip_pool(name, cidr),
            range: cidr.to_string(),
            offset,
            allocation,
            reservation,
        })
    }

    fn add(
        self,
        pools: &mut BTreeMap<String, (String, Map<String, Value>)>,
        reservations: &mut BTreeMap<String, Value>,
    ) -> Result<(), String> {
        let (range, allocations) = pools
            .entry(self.ip_pool)
            .or_insert_with(|| (self.range.clone(), Map::new()));
        let offset = self.offset.to_string();
        if *range != self.range || allocations.contains_key(&offset) {
            return Err("another claim has its place in the same IPPool".to_owned());
        }
        allocations.insert(offset, self.allocation);
        reservations.extend(self.reservation);
        Ok(())
    }
}

/// Whether `text` can begin the name of an object (RFC 1123, in lower case).
fn is_object_name(text: &str) -> bool {
    Name::new(text).is_ok() && !text.contains(|c: char| c == '_' || c.is_ascii_uppercase())
}
