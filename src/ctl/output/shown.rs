//! A claim as it is shown.

use serde_json::{Value, json};
use whereabouts_core::address::Pool;
use whereabouts_core::allocator::Stored;
use whereabouts_core::claim::{Attachment, Claim, Held, UNKNOWN_INTERFACE};
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::{Entry, record};

use crate::output::{age, moment};

/// A claim and whose it is.
#[derive(Clone)]
pub(crate) struct Shown {
    /// The attachment.
    pub(crate) attachment: Attachment,
    /// The claim.
    pub(crate) claim: Stored<Claim>,
}

/// The columns of [`Shown::row`].
pub(crate) const COLUMNS: &[&str] = &[
    "ADDRESS",
    "RANGE",
    "NETWORK",
    "CONTAINER",
    "IFNAME",
    "POD",
    "NODE",
    "AGE",
    "REVISION",
];

impl Shown {
    /// The claim that `entry` is; an error that names its key when it cannot be read.
    pub(crate) fn of(keys: &Keys, entry: &Entry) -> Result<Self, String> {
        let key = || String::from_utf8_lossy(&entry.key).into_owned();
        let attachment = match keys.decode(&entry.key) {
            Ok(Key::Claim(attachment)) => attachment,
            Ok(_) => return Err(format!("{} is not a claim", key())),
            Err(error) => return Err(error.to_string()),
        };
        let value = record::decode_claim(&entry.value)
            .map_err(|error| format!("the value of {} cannot be used: {error}", key()))?;
        let claim = Stored {
            value,
            created: entry.created,
            modified: entry.modified,
        };
        Ok(Self { attachment, claim })
    }

    /// Its namespace and pod.
    pub(crate) fn pod(&self) -> String {
        let owner = &self.claim.value.owner;
        match (&owner.pod_namespace, &owner.pod_name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (None, Some(name)) => name.clone(),
            (_, None) => "-".to_owned(),
        }
    }

    /// It in one row.
    pub(crate) fn row(&self) -> Vec<String> {
        let Attachment {
            network,
            container,
            interface,
        } = &self.attachment;
        let claim = &self.claim.value;
        let join = |texts: Vec<String>| match texts.as_slice() {
            [] => "-".to_owned(),
            texts => texts.join(","),
        };
        let interface = match interface.as_str() {
            UNKNOWN_INTERFACE => "-",
            interface => interface,
        };
        vec![
            join(
                claim
                    .held
                    .iter()
                    .map(|held| held.address.to_string())
                    .collect(),
            ),
            join(
                claim
                    .held
                    .iter()
                    .map(|held| held.range.cidr.to_string())
                    .collect(),
            ),
            network.to_string(),
            short(container.as_str()),
            interface.to_owned(),
            self.pod(),
            claim.owner.node.clone().unwrap_or_else(|| "-".to_owned()),
            age(claim.created),
            self.claim.modified.to_string(),
        ]
    }

    /// All of it.
    pub(crate) fn value(&self) -> Value {
        let Attachment {
            network,
            container,
            interface,
        } = &self.attachment;
        let Claim {
            held,
            usable: _,
            owner,
            created,
        } = &self.claim.value;
        json!({
            "network": network.as_str(),
            "container": container.as_str(),
            "interface": (interface != UNKNOWN_INTERFACE).then_some(interface),
            "addresses": addresses(held),
            "node": owner.node,
            "pod": {
                "namespace": owner.pod_namespace,
                "name": owner.pod_name,
                "uid": owner.pod_uid,
            },
            "netns": owner.netns,
            "boot": owner.boot.map(|boot| boot.to_string()),
            "created": moment(*created),
            "revision": self.claim.modified,
        })
    }
}

/// Held addresses, each with its range and its pool.
pub(crate) fn addresses(held: &[Held]) -> Vec<Value> {
    let value = |held: &Held| {
        json!({
            "address": held.address.to_string(),
            "range": held.range.cidr.to_string(),
            "pool": pool(&held.range.pool),
        })
    };
    held.iter().map(value).collect()
}

/// A pool for programs: its name, and whether it is one range's own.
pub(crate) fn pool(pool: &Pool) -> Value {
    json!({"name": pool.name, "own": pool.only.is_some()})
}

/// A container id as people read it: its beginning is enough to tell it from others.
pub(crate) fn short(container: &str) -> String {
    container.chars().take(13).collect()
}
