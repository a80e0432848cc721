//! The statement of a network: which addresses the ranges of a NetworkAttachmentDefinition can give, by its configuration.
//!
//! ```text
//! object --configs--> configurations --the plugin's own reader--> ranges --> value of the key network/<namespace>/<name>
//! ```
//!
//! Any tenant may write an object. So a statement is of bounded size, and an object that cannot be read is a reason in words.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use whereabouts_cni::request::{Datastore, LogLevel};
use whereabouts_core::limits;
use whereabouts_core::network::{DefinitionName, StatedRange};
use whereabouts_store::record;

use crate::configs::{self, Finding, FlatFileFolders, FoundConfig};

/// Characters of a reason.
const REASON_CHARACTERS: usize = 4 * limits::SHOWN_CHARACTERS;

/// The value of a network's key, or why the network has none.
pub(crate) type Statement = Result<Arc<[u8]>, Arc<str>>;

/// The datastore that the ranges are asked of.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// etcd, below this prefix.
    Etcd(String),
    /// Objects of the API server.
    Kubernetes,
}

impl Place {
    /// Whether a network whose configuration names `datastore` may be one of this place. The endpoints of one etcd have
    /// several names, so they are not compared.
    fn may_be(&self, datastore: &Datastore) -> bool {
        match (self, datastore) {
            (Self::Etcd(prefix), Datastore::Etcd(access)) => access.prefix == *prefix,
            (Self::Kubernetes, Datastore::Kubernetes(_)) => true,
            (_, Datastore::Etcd(_) | Datastore::Local(_) | Datastore::Kubernetes(_)) => false,
        }
    }
}

/// Why a network has no statement although it could have one.
pub(crate) const NO_ROOM: &str = "the statements of all networks take all bytes that they may";

/// The words on a network without a statement.
pub(crate) fn not_shown(name: &DefinitionName, reason: &str) -> String {
    format!("the ranges of network {name} are not shown before a pod uses them: {reason}")
}

/// The name of an object, if it has one.
pub(crate) fn name(object: &Value) -> Option<DefinitionName> {
    let part = |key: &str| Some(object["metadata"][key].as_str()?.to_owned());
    Some(DefinitionName {
        namespace: part("namespace")?,
        name: part("name")?,
    })
}

/// The statement of `object`; nothing if it has no range of `place`.
pub(crate) fn statement(place: &Place, object: Value) -> Option<Statement> {
    let found = configs::of_object(&FlatFileFolders, object);
    let mut stated = BTreeSet::new();
    for part in found {
        let ranges = match part.finding {
            Finding::Nothing(_) => continue,
            Finding::Wrong(why) | Finding::Unread(why) => Err(why),
            Finding::Config(config) => ranges(place, *config),
        };
        match ranges {
            Ok(ranges) => stated.extend(ranges),
            Err(why) => {
                let why: String = why.chars().take(REASON_CHARACTERS).collect();
                return Some(Err(why.into()));
            }
        }
    }
    if stated.is_empty() {
        return None;
    }
    let stated: Vec<StatedRange> = stated.into_iter().collect();
    let value = record::encode_network(&stated);
    Some(match value.len() {
        ..=limits::NETWORK_BYTES => Ok(value.into()),
        bytes => Err(format!(
            "its ranges take {bytes} bytes in the store, of at most {}",
            limits::NETWORK_BYTES
        )
        .into()),
    })
}

/// The ranges of a configuration. One that ADD refuses gives nothing.
fn ranges(place: &Place, config: FoundConfig) -> Result<Vec<StatedRange>, String> {
    let linted = config.linted.map_err(|error| error.details())?;
    let mut remarks = linted.remarks.into_iter();
    let is_error = |level: LogLevel| matches!(level, LogLevel::Panic | LogLevel::Error);
    if let Some(error) = remarks.find(|remark| is_error(remark.level)) {
        return Err(error.text);
    }
    // Where the datastore is, the nodes' flat file may say, which need not be here.
    if linted
        .datastore
        .is_ok_and(|datastore| !place.may_be(&datastore))
    {
        return Ok(Vec::new());
    }
    Ok(linted.ranges.iter().map(StatedRange::of).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(config: &str) -> Value {
        json!({"kind": "NetworkAttachmentDefinition", "metadata": {"namespace": "tenant", "name": "blue"},
            "spec": {"config": config}})
    }

    fn of(ipam: &Value) -> Option<Result<Vec<StatedRange>, String>> {
        let config = json!({"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "ipam": ipam});
        stated(
            &Place::Etcd("/whereabouts/v1/".to_owned()),
            &config.to_string(),
        )
    }

    fn stated(place: &Place, config: &str) -> Option<Result<Vec<StatedRange>, String>> {
        let statement = statement(place, object(config))?;
        Some(match statement {
            Ok(value) => Ok(record::decode_network(&value).expect("its own value")),
            Err(reason) => Err(reason.to_string()),
        })
    }

    fn texts(found: Option<Result<Vec<StatedRange>, String>>) -> Vec<String> {
        let stated = found.expect("it is ours").expect("it can be read");
        let text = |one: &StatedRange| {
            let usable: Vec<String> = one.usable.iter().map(ToString::to_string).collect();
            format!(
                "{} {}: {}",
                one.range.cidr,
                one.range.pool,
                usable.join(" ")
            )
        };
        stated.iter().map(text).collect()
    }

    #[test]
    fn a_network_states_what_its_ranges_can_give() {
        let one = json!({"type": "whereabouts", "range": "10.0.0.0/29", "exclude": ["10.0.0.2/32"], "gateway": "10.0.0.6"});
        assert_eq!(
            texts(of(&one)),
            ["10.0.0.0/29 (shared): 10.0.0.1-10.0.0.1 10.0.0.3-10.0.0.5"]
        );
        let two = json!({"type": "whereabouts", "network_name": "red",
            "ipRanges": [{"range": "fd00::/126"}, {"range": "10.0.0.1-10.0.0.2/24"}]});
        let found = texts(of(&two));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("10.0.0.0/24 red: 10.0.0.1-10.0.0.2"),
            "{found:?}"
        );
    }

    #[test]
    fn all_plugins_of_a_list_count_and_a_range_that_stands_twice_counts_once() {
        let plugin = |range: &str| json!({"type": "macvlan", "ipam": {"type": "whereabouts", "range": range}});
        let list = json!({"cniVersion": "1.0.0", "name": "n",
            "plugins": [plugin("10.0.1.0/30"), plugin("10.0.0.0/30"), plugin("10.0.1.0/30")]});
        let place = Place::Etcd("/whereabouts/v1/".to_owned());
        let found = texts(stated(&place, &list.to_string()));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_network_of_others_or_without_a_range_states_nothing() {
        let place = Place::Kubernetes;
        for config in [
            json!({"name": "n", "type": "macvlan", "ipam": {"type": "dhcp"}}).to_string(),
            json!({"name": "n", "type": "macvlan"}).to_string(),
            String::new(),
        ] {
            assert_eq!(stated(&place, &config), None, "{config}");
        }
        let alone = json!({"type": "whereabouts", "addresses": [{"address": "10.0.0.9/24"}]});
        assert_eq!(of(&alone), None);
    }

    #[test]
    fn a_network_of_another_datastore_states_nothing_here() {
        let at = |keys: Value| {
            let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
            let all = ipam.as_object_mut().expect("an object");
            all.extend(keys.as_object().expect("an object").clone());
            of(&ipam).is_some()
        };
        assert!(at(json!({})));
        assert!(at(json!({"etcd_host": "10.9.9.9:2379"})));
        assert!(!at(
            json!({"etcd_host": "10.9.9.9:2379", "etcd_prefix": "/other/"})
        ));
        assert!(!at(json!({"datastore": "local"})));
    }

    #[test]
    fn a_network_that_add_refuses_is_a_reason() {
        for (config, part) in [("{", "not JSON"), ("7", "no object")] {
            let reason = stated(&Place::Kubernetes, config)
                .expect("told")
                .expect_err("wrong");
            assert!(reason.contains(part), "{reason}");
        }
        for (ipam, part) in [
            (
                json!({"type": "whereabouts", "range": "10.0.0.0/33"}),
                "10.0.0.0/33",
            ),
            (
                json!({"type": "whereabouts", "range": "10.0.0.0/24", "rangeStart": "10.0.0.9"}),
                "rangeStart",
            ),
            (json!({"type": "whereabouts"}), "range"),
            (
                json!({"type": "whereabouts", "range": "10.0.0.0/24", "configuration_path": "/etc/passwd"}),
                "/etc/passwd",
            ),
        ] {
            let reason = of(&ipam).expect("told").expect_err("wrong");
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn a_network_of_many_exclusions_is_refused_in_words() {
        let single = |number: u32| format!("10.{}.{}.9/32", number / 250, 1 + number % 250);
        let with = |count: u32| {
            let exclude: Vec<String> = (0..count).map(single).collect();
            of(&json!({"type": "whereabouts", "range": "10.0.0.0/8", "exclude": exclude}))
        };
        let many = with(900).expect("ours").expect("there is room");
        assert_eq!(many[0].usable.len(), 901);
        let several: Vec<Value> = (0..4_u32)
            .map(|pool| {
                let exclude: Vec<String> = (0..900).map(single).collect();
                json!({"range": format!("{}.0.0.0/8", 10 + pool), "exclude": if pool == 0 { exclude } else { vec![] }})
            })
            .collect();
        assert!(
            of(&json!({"type": "whereabouts", "ipRanges": several}))
                .expect("ours")
                .is_ok()
        );
        let long: Vec<String> = (0..1000)
            .map(|number: u32| format!("fd00:0:{number:x}:77::/128"))
            .collect();
        let refused = of(&json!({"type": "whereabouts", "range": "fd00::/32", "exclude": long}));
        let reason = refused.expect("ours").expect_err("too long");
        assert!(
            reason.contains("bytes in the store, of at most 4096"),
            "{reason}"
        );
        let whole = format!(r#"{{"name": "{}"}}"#, "x".repeat(70_000));
        let reason = stated(&Place::Kubernetes, &whole)
            .expect("told")
            .expect_err("too long");
        assert!(reason.contains("65536 bytes"), "{reason}");
    }

    #[test]
    fn an_object_has_a_namespace_and_a_name() {
        let named = name(&object("")).expect("both");
        assert_eq!(named.to_string(), "tenant/blue");
        assert_eq!(name(&json!({"metadata": {"name": "blue"}})), None);
        assert_eq!(name(&json!(7)), None);
    }
}
