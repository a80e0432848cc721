//! Pods that ask for networks: a warning if a range is full. A pod is never denied: an address may be free before it starts.

use serde_json::Value;
use whereabouts_core::claim::Want;

use super::review::Request;
use super::surroundings::Surroundings;

/// Where Multus reads which networks a pod asks for.
const ANNOTATION: &str = "k8s.v1.cni.cncf.io/networks";

/// The request of a pod to one network.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    /// The namespace and the name of the network's object.
    pub(super) network: String,
    /// Its addresses.
    pub(super) wants: Vec<Want>,
}

/// All that the pod of `request` asks of networks that are known. Each network is there once.
pub(super) fn wanted(request: &Request, surroundings: &Surroundings) -> Vec<Wanted> {
    let annotations = &request.object["metadata"]["annotations"];
    let Some(asked) = annotations[ANNOTATION].as_str() else {
        return Vec::new();
    };
    let mut keys = selected(asked, &request.namespace);
    keys.sort();
    keys.dedup();
    let known = keys.into_iter().filter_map(|network| {
        let definition = surroundings.definitions.get(&network)?;
        let networks = definition.iter().filter_map(|one| one.network.as_ref());
        let ranges = networks.flat_map(|network| &network.ranges);
        let wants: Vec<Want> = ranges.map(Want::lowest).collect();
        (!wants.is_empty()).then_some(Wanted { network, wants })
    });
    known.collect()
}

/// The networks of an annotation, each as namespace and name: a list of JSON, or `namespace/name@interface` with commas
/// between. One that asks for certain addresses is left out: whether others are free does not matter to it.
fn selected(asked: &str, namespace: &str) -> Vec<String> {
    if asked.trim_start().starts_with('[') {
        let elements: Vec<Value> = serde_json::from_str(asked).unwrap_or_default();
        let keys = elements.iter().filter_map(|element| {
            let asks_for = |key: &str| element[key].as_array().is_some_and(|ips| !ips.is_empty());
            if asks_for("ips") {
                return None;
            }
            let own = element["namespace"].as_str();
            let namespace = own.filter(|own| !own.is_empty()).unwrap_or(namespace);
            Some(format!("{namespace}/{}", element["name"].as_str()?))
        });
        return keys.collect();
    }
    let elements = asked.split(',').map(str::trim);
    let keys = elements
        .filter(|element| !element.is_empty())
        .map(|element| {
            let network = element.split('@').next().unwrap_or(element);
            if network.contains('/') {
                network.to_owned()
            } else {
                format!("{namespace}/{network}")
            }
        });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_annotation_are_read() {
        for (asked, expected) in [
            ("", &[][..]),
            ("net", &["own/net"]),
            ("a/net@eth5, net2 ,,b/x", &["a/net", "own/net2", "b/x"]),
            (
                r#"[{"name": "net"}, {"name": "x", "namespace": "b"}, {"name": "y", "namespace": ""}]"#,
                &["own/net", "b/x", "own/y"],
            ),
            (
                r#"[{"name": "net", "ips": ["10.0.0.1"]}, {"name": "x", "ips": []}]"#,
                &["own/x"],
            ),
            (r#"[{"name": "net"}"#, &[]),
            (r#"[{"namespace": "b"}, 7]"#, &[]),
        ] {
            assert_eq!(selected(asked, "own"), expected, "{asked}");
        }
    }
}
