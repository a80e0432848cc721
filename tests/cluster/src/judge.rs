//! The judge: what the pods really have, held against what is stored.
//!
//! Every address in every network namespace of every node is read, and every claim. When nothing comes or goes, the two
//! are the same set: each address is claimed once, for that interface in that namespace on that node, and no claim
//! is without its address.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, NODES, wait_until};
use crate::stored::{Claim, claims};

/// One address where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) netns: String,
    pub(crate) interface: String,
    pub(crate) address: String,
}

/// Waits until the pods' addresses and the claims are the same, and returns how many there are. Fails at once if an
/// address is in two places of one network.
pub(crate) fn agree(lab: &Lab, limit: Duration) -> Result<usize, String> {
    let mut count = 0;
    wait_until(limit, || {
        let claims = claims(lab)?;
        let places = places(lab)?;
        let claimed: BTreeSet<Place> = claims.iter().map(|claim| claim.place.clone()).collect();
        unique(&claims)?;
        let unclaimed: Vec<_> = places.difference(&claimed).collect();
        let unused: Vec<_> = claimed.difference(&places).collect();
        count = claims.len();
        if let Some(stranger) = without_pod(lab, &claims)? {
            return Ok(Some(stranger));
        }
        Ok((!unclaimed.is_empty() || !unused.is_empty())
            .then(|| format!("without a claim: {unclaimed:?}; claimed but not there: {unused:?}")))
    })?;
    Ok(count)
}

/// Fails if what is claimed in one network, and the addresses with `prefix` in the network namespaces, are not the same
/// `count` places. For networks whose users are no pods.
pub(crate) fn network_has(
    lab: &Lab,
    network: &str,
    prefix: &str,
    count: usize,
) -> Result<(), String> {
    let claims = claims(lab)?;
    unique(&claims)?;
    let of_network = claims.iter().filter(|claim| claim.network == network);
    let claimed: BTreeSet<Place> = of_network.map(|claim| claim.place.clone()).collect();
    let mut places = places(lab)?;
    places.retain(|place| place.address.starts_with(prefix));
    if claimed == places && places.len() == count {
        return Ok(());
    }
    Err(format!(
        "{network} is to have {count} addresses; claimed: {claimed:?}; there: {places:?}"
    ))
}

/// How many claims a network has.
pub(crate) fn count_of(lab: &Lab, network: &str) -> Result<usize, String> {
    let claims = claims(lab)?;
    Ok(claims
        .iter()
        .filter(|claim| claim.network == network)
        .count())
}

/// No two claims of a pool have one address.
fn unique(claims: &[Claim]) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for claim in claims {
        let key = (&claim.pool, &claim.place.address);
        if let Some(other) = seen.insert(key, &claim.place) {
            return Err(format!("given twice: {other:?} and {:?}", claim.place));
        }
    }
    Ok(())
}

/// A claim whose pod does not exist, if there is one.
fn without_pod(lab: &Lab, claims: &[Claim]) -> Result<Option<String>, String> {
    let pods = lab.get(&["pods", "--all-namespaces"])?;
    let uids: BTreeSet<String> = pods["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pod| text(&pod["metadata"]["uid"]))
        .collect();
    let stranger = claims.iter().find(|claim| !uids.contains(&claim.uid));
    Ok(stranger.map(|claim| format!("no pod has the UID of {:?}", claim.place)))
}

/// Every address of every pod, but those of loopback and of the link.
fn places(lab: &Lab) -> Result<BTreeSet<Place>, String> {
    let mut places = BTreeSet::new();
    for node in NODES {
        let listed = lab.on_node(node, &["ip", "-json", "netns", "list"])?;
        let namespaces: Value = match listed.trim() {
            "" => Value::Array(Vec::new()),
            text => serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))?,
        };
        for namespace in namespaces.as_array().into_iter().flatten() {
            let netns = text(&namespace["name"]);
            // A namespace that goes at this moment has no address any more.
            let Ok(links) = lab.on_node(node, &["ip", "-n", &netns, "-json", "address", "show"])
            else {
                continue;
            };
            let links: Value = serde_json::from_str(&links).map_err(|error| error.to_string())?;
            for link in links.as_array().into_iter().flatten() {
                for address in link["addr_info"].as_array().into_iter().flatten() {
                    if address["scope"] == "global" {
                        places.insert(Place {
                            node: node.to_owned(),
                            netns: netns.clone(),
                            interface: text(&link["ifname"]),
                            address: text(&address["local"]),
                        });
                    }
                }
            }
        }
    }
    Ok(places)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
