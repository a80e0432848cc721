//! The networks of an API server as a reader's view: the statements that the controller would write into etcd.

use serde_json::Value;
use whereabouts_apiserver::Objects;
use whereabouts_core::failure::ApiServerFailure;
use whereabouts_core::limits;
use whereabouts_core::network::DefinitionName;
use whereabouts_store::Revision;
use whereabouts_store::keys::{Key, Keys};

use super::Entries;
use crate::networks::{NO_ROOM, Place, Statement, name, not_shown, statement};

/// The statements of all networks.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatedNetworks {
    /// A key for each network that states something.
    pub(crate) entries: Entries,
    /// The words on networks without a statement that should have one.
    pub(crate) unusable: Vec<String>,
}

impl StatedNetworks {
    /// Those of the API server that `objects` reaches. One without networks has none.
    pub(super) async fn of(objects: &Objects, keys: &Keys) -> Result<Self, ApiServerFailure> {
        let found = objects.definitions(network).await?;
        Ok(Self::bounded(keys, found))
    }

    /// As many statements as the controller would write, in the order of their names.
    fn bounded(keys: &Keys, mut found: Vec<Network>) -> Self {
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let (mut entries, mut unusable, mut bytes) = (Vec::new(), Vec::new(), 0);
        for Network {
            name,
            statement,
            revision,
        } in found
        {
            match statement {
                Ok(value) => {
                    bytes += name.namespace.len() + name.name.len() + value.len();
                    if bytes > limits::NETWORKS_BYTES {
                        unusable.push(not_shown(&name, NO_ROOM));
                        continue;
                    }
                    let key = keys.encode(&Key::Network(name));
                    entries.push((key, (value.to_vec(), revision)));
                }
                Err(reason) => unusable.push(not_shown(&name, &reason)),
            }
        }
        Self {
            entries: entries.into_iter().collect(),
            unusable,
        }
    }
}

struct Network {
    name: DefinitionName,
    statement: Statement,
    revision: Revision,
}

/// The statement of an object. The items of a list need no kind of their own.
fn network(mut object: Value) -> Option<Network> {
    let fields = object.as_object_mut()?;
    fields.insert("kind".to_owned(), "NetworkAttachmentDefinition".into());
    let version = object["metadata"]["resourceVersion"].as_str();
    let revision = version.and_then(|version| version.parse().ok());
    Some(Network {
        name: name(&object)?,
        revision: revision.unwrap_or_default(),
        statement: statement(&Place::Kubernetes, object)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use whereabouts_store::record;

    use super::*;

    fn object(name: &str, ipam: &Value) -> Value {
        let config = json!({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "ipam": ipam});
        json!({"metadata": {"namespace": "tenant", "name": name, "resourceVersion": "17"},
            "spec": {"config": config.to_string()}})
    }

    #[test]
    fn networks_have_the_keys_and_values_of_etcd() {
        let ours = json!({"type": "whereabouts", "range": "10.7.0.0/30"});
        let wrong = json!({"type": "whereabouts", "range": "x"});
        let foreign = json!({"type": "dhcp"});
        let objects = [
            object("a", &ours),
            object("b", &wrong),
            object("c", &foreign),
            json!([]),
        ];
        let keys = Keys::new("/x/");
        let found = objects.into_iter().filter_map(network).collect();
        let stated = StatedNetworks::bounded(&keys, found);
        let mut entries = Vec::new();
        stated.entries.each(|entry| entries.push(entry));
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].key, b"/x/network/tenant/a");
        assert_eq!(entries[0].modified, 17);
        let ranges = record::decode_network(&entries[0].value).expect("a statement");
        assert_eq!(ranges[0].range.cidr.to_string(), "10.7.0.0/30");
        assert_eq!(stated.unusable.len(), 1);
        assert!(stated.unusable[0].contains("network tenant/b are not shown"));
    }

    #[test]
    fn all_statements_have_one_bound() {
        let value: Arc<[u8]> = vec![0; limits::NETWORK_BYTES].into();
        let most = limits::NETWORKS_BYTES / (limits::NETWORK_BYTES + 10);
        let network = |number: usize| Network {
            name: DefinitionName {
                namespace: "tenant".to_owned(),
                name: format!("{number:04}"),
            },
            statement: Ok(value.clone()),
            revision: 1,
        };
        let found = (0..most + 3).map(network).collect();
        let stated = StatedNetworks::bounded(&Keys::new("/x/"), found);
        assert_eq!(stated.unusable.len(), 3);
    }
}
