//! The objects in documents of Kubernetes, by kind. Lists are taken apart.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Unusable;

/// Objects, each once, in their order.
#[derive(Default)]
pub(super) struct Objects {
    /// IPPools.
    pub(super) pools: Vec<Value>,
    /// OverlappingRangeIPReservations.
    pub(super) reservations: Vec<Value>,
    /// NetworkAttachmentDefinitions, and network configurations as they stand on nodes.
    pub(super) networks: Vec<Value>,
    /// Pods.
    pub(super) pods: Vec<Value>,
    /// Objects of which there are two that differ.
    pub(super) refused: Vec<Unusable>,
}

impl Objects {
    /// Takes `documents` apart. Objects of other kinds are passed over.
    pub(super) fn of(documents: Vec<Value>) -> Self {
        let mut objects = Self::default();
        let mut seen = BTreeMap::new();
        for document in documents {
            objects.take(document, None, &mut seen);
        }
        objects
    }

    fn take(
        &mut self,
        mut document: Value,
        kind_of_list: Option<&str>,
        seen: &mut BTreeMap<(String, String), usize>,
    ) {
        let own = document["kind"].as_str().map(str::to_owned);
        let kind = own.as_deref().or(kind_of_list).unwrap_or_default();
        if let Some(kind_of_items) = kind.strip_suffix("List") {
            let rest = document["metadata"]["continue"].as_str();
            if rest.is_some_and(|token| !token.is_empty()) {
                let reason = "it is the first part of a list: metadata.continue leads to the rest";
                self.refused.push(Unusable::new(kind, reason));
            }
            match document.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => {
                    for item in items {
                        self.take(item, Some(kind_of_items), seen);
                    }
                }
                None | Some(Value::Null) => {}
                Some(_) => self
                    .refused
                    .push(Unusable::new(kind, "its items are no list")),
            }
            return;
        }
        let objects = match kind {
            "IPPool" if is_foreign(&document) => return,
            "IPPool" => &mut self.pools,
            "OverlappingRangeIPReservation" => &mut self.reservations,
            "NetworkAttachmentDefinition" => &mut self.networks,
            "Pod" => &mut self.pods,
            "" if document["plugins"].is_array() || document["ipam"].is_object() => {
                self.networks.push(document);
                return;
            }
            _ => return,
        };
        let name = full_name(&document);
        let key = (kind.to_owned(), name.clone());
        match seen.get(&key).map(|place| &objects[*place]) {
            None => {
                seen.insert(key, objects.len());
                objects.push(document);
            }
            Some(first) if *first == document => {}
            Some(_) => {
                let reason = format!("two of kind {kind} have this name, and differ");
                self.refused.push(Unusable::new(&name, &reason));
            }
        }
    }
}

/// Whether an IPPool is another product's: Calico has that kind, too.
fn is_foreign(document: &Value) -> bool {
    let version = document["apiVersion"].as_str();
    version.is_some_and(|version| !version.starts_with("whereabouts."))
}

/// The name of an object.
pub(super) fn name_of(document: &Value) -> &str {
    document["metadata"]["name"].as_str().unwrap_or("?")
}

/// The namespace and the name of an object.
pub(super) fn full_name(document: &Value) -> String {
    let namespace = document["metadata"]["namespace"].as_str();
    format!("{}/{}", namespace.unwrap_or("default"), name_of(document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_taken_apart_and_an_object_counts_once() {
        let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "a"}});
        let mut whole = pod("x");
        whole["kind"] = "Pod".into();
        let mut changed = whole.clone();
        changed["spec"] = json!({"nodeName": "n"});
        let pool = json!({"kind": "IPPool", "metadata": {"name": "p"}});
        let objects = Objects::of(vec![
            json!({"kind": "PodList", "items": [pod("y"), pod("z")]}),
            json!({"kind": "List", "items": [whole, pool, {"kind": "Node"}, {}]}),
            whole.clone(),
            changed,
            json!({"name": "net", "ipam": {}}),
            json!([]),
            json!(5),
        ]);
        let counts = (objects.pods.len(), objects.pools.len());
        assert_eq!((counts, objects.networks.len()), ((3, 1), 1));
        let refused: Vec<String> = objects.refused.iter().map(ToString::to_string).collect();
        assert_eq!(refused, ["a/x: two of kind Pod have this name, and differ"]);
    }
}
