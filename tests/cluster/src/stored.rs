//! What is stored: the claims of either datastore.
//!
//! Of the datastore `kubernetes` this is a reading of its own, by kubectl. It shares no code with the tool.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::judge::Place;
use crate::lab::{Datastore, Lab};

/// One address of a claim.
pub(crate) struct Claim {
    pub(crate) network: String,
    pub(crate) pool: String,
    pub(crate) uid: String,
    pub(crate) place: Place,
}

/// All claims, one for each address.
pub(crate) fn claims(lab: &Lab) -> Result<Vec<Claim>, String> {
    match lab.datastore() {
        Datastore::Etcd => of_the_tool(&lab.tool(&["claims"])?),
        Datastore::Kubernetes => {
            // In this order: a bit that is read has a claim that was read, or one that came later.
            let claims = lab.get(&["addressclaims"])?;
            let blocks = lab.get(&["addressblocks"])?;
            of_objects(&claims, &blocks)
        }
    }
}

fn of_the_tool(listed: &Value) -> Result<Vec<Claim>, String> {
    let mut claims = Vec::new();
    for claim in listed
        .as_array()
        .ok_or(format!("no list of claims: {listed}"))?
    {
        for held in claim["addresses"].as_array().into_iter().flatten() {
            claims.push(Claim {
                network: text(&claim["network"]),
                pool: pool_of(held),
                uid: text(&claim["pod"]["uid"]),
                place: Place {
                    node: text(&claim["node"]),
                    netns: name_of(&text(&claim["netns"])),
                    interface: text(&claim["interface"]),
                    address: text(&held["address"]),
                },
            });
        }
    }
    Ok(claims)
}

/// The pool of an address: a named one, or the own one of a range.
fn pool_of(held: &Value) -> String {
    if held["pool"]["own"] == true {
        return format!("{} {}", held["pool"]["name"], held["range"]);
    }
    held["pool"]["name"].to_string()
}

/// A bit counts for a claim of its UID, in the claim's current block. A want without a bit is a claim of no address, which
/// no interface has. A claim at rest is no attachment's: it is what a durable owner keeps.
fn of_objects(claims: &Value, blocks: &Value) -> Result<Vec<Claim>, String> {
    let bits = bits(blocks)?;
    let mut found = Vec::new();
    let is_attached = |claim: &&Value| claim["spec"]["restingSinceMs"].is_null();
    for claim in items(claims)?.iter().filter(is_attached) {
        let (spec, uid) = (&claim["spec"], text(&claim["metadata"]["uid"]));
        let wants = spec["wants"].as_array();
        let wants = wants.ok_or_else(|| format!("a claim without wants: {claim}"))?;
        for (index, want) in (0..).zip(wants) {
            let key = (text(&want["current"]), uid.clone(), index);
            found.push(Claim {
                network: text(&spec["network"]),
                pool: want["pool"].to_string(),
                uid: text(&spec["owner"]["podUid"]),
                place: Place {
                    node: text(&spec["owner"]["node"]),
                    netns: name_of(&text(&spec["owner"]["netns"])),
                    interface: text(&spec["interface"]),
                    address: bits.get(&key).cloned().unwrap_or_default(),
                },
            });
        }
    }
    Ok(found)
}

/// The address of each bit, by its block, the UID of its claim, and the index of the want.
fn bits(blocks: &Value) -> Result<BTreeMap<(String, String, u64), String>, String> {
    let mut bits = BTreeMap::new();
    for block in items(blocks)? {
        let (name, spec) = (text(&block["metadata"]["name"]), &block["spec"]);
        for (bit, taken) in spec["taken"].as_object().into_iter().flatten() {
            let taken = text(taken);
            let mut parts = taken.split('/').skip(1);
            let uid = parts.next().unwrap_or_default().to_owned();
            let want = parts.next().map_or(Some(0), |want| want.parse().ok());
            let want = want.ok_or_else(|| format!("no want: {taken} of block {block}"))?;
            let key = (name.clone(), uid, want);
            let address = address(&text(&spec["base"]), bit)
                .ok_or_else(|| format!("no address: {bit} of block {block}"))?;
            if let Some(other) = bits.insert(key, address) {
                return Err(format!(
                    "two bits of one want: {other} and {taken} of {block}"
                ));
            }
        }
    }
    Ok(bits)
}

fn address(base: &str, bit: &str) -> Option<String> {
    let bit: u8 = bit.parse().ok()?;
    let address = match base.parse().ok()? {
        IpAddr::V4(base) => IpAddr::from((base.to_bits() + u32::from(bit)).to_be_bytes()),
        IpAddr::V6(base) => IpAddr::from((base.to_bits() + u128::from(bit)).to_be_bytes()),
    };
    Some(address.to_string())
}

fn items(list: &Value) -> Result<&Vec<Value>, String> {
    let items = list["items"].as_array();
    items.ok_or_else(|| format!("no list: {list}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `cni-1` of `/var/run/netns/cni-1`.
fn name_of(netns: &str) -> String {
    netns.rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn addresses(claims: &Value, blocks: &Value) -> Vec<String> {
        let found = of_objects(claims, blocks).expect("objects");
        found.into_iter().map(|claim| claim.place.address).collect()
    }

    #[test]
    fn a_bit_counts_by_uid_want_and_current_block() {
        let claims = json!({"items": [{
            "metadata": {"uid": "u"},
            "spec": {"network": "net", "interface": "net1", "wants": [
                {"current": "one", "pool": {}}, {"current": "six", "pool": {}}, {"current": "one", "pool": {}},
            ]},
        }]});
        let blocks = json!({"items": [
            {"metadata": {"name": "one"}, "spec": {"base": "10.0.0.0", "taken": {
                "7": "c/u", "8": "d/other", "9": "c/u/1",
            }}},
            {"metadata": {"name": "six"}, "spec": {"base": "fd00::", "taken": {"255": "c/u/1"}}},
        ]});
        assert_eq!(addresses(&claims, &blocks), ["10.0.0.7", "fd00::ff", ""]);
        let mut resting = claims;
        resting["items"][0]["spec"]["restingSinceMs"] = json!(1);
        assert_eq!(addresses(&resting, &blocks), Vec::<String>::new());
    }
}
