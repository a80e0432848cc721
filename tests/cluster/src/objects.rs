//! Kubernetes objects of the scenarios.

use serde_json::{Value, json};

/// A namespace.
pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A network that Multus adds: macvlan on the nodes' second interface, with this `ipam` section.
pub(crate) fn network(namespace: &str, name: &str, mut ipam: Value) -> Value {
    ipam["type"] = json!("whereabouts");
    let config = json!({
        "cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": "eth1", "mode": "bridge", "ipam": ipam,
    });
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"config": config.to_string()},
    })
}

/// A pod on these networks, beside the primary one.
pub(crate) fn pod(namespace: &str, name: &str, networks: &[&str]) -> Value {
    let mut pod = template(name, networks);
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["namespace"] = json!(namespace);
    pod
}

/// The same network, whose pods may request addresses.
pub(crate) fn network_that_takes_requests(namespace: &str, name: &str, ipam: Value) -> Value {
    let mut network = network(namespace, name, ipam);
    let text = network["spec"]["config"].as_str().unwrap_or_default();
    let mut config: Value = serde_json::from_str(text).unwrap_or_default();
    config["capabilities"] = json!({"ips": true});
    network["spec"]["config"] = json!(config.to_string());
    network
}

/// A pod that requests these addresses of `network`.
pub(crate) fn requesting_pod(namespace: &str, name: &str, network: &str, ips: &[&str]) -> Value {
    let selection = json!([{"name": network, "ips": ips}]);
    pod(namespace, name, &[&selection.to_string()])
}

/// A ReplicaSet or a Deployment of such pods.
pub(crate) fn replicas(
    kind: &str,
    namespace: &str,
    name: &str,
    count: usize,
    networks: &[&str],
) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, networks),
        },
    })
}

/// A StatefulSet of such pods, which start and end at the same time.
pub(crate) fn stateful_set(namespace: &str, name: &str, count: usize, networks: &[&str]) -> Value {
    let mut set = replicas("StatefulSet", namespace, name, count, networks);
    set["spec"]["serviceName"] = json!(name);
    set["spec"]["podManagementPolicy"] = json!("Parallel");
    set
}

fn template(label: &str, networks: &[&str]) -> Value {
    json!({
        "metadata": {
            "labels": {"app": label},
            "annotations": {"k8s.v1.cni.cncf.io/networks": networks.join(",")},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            // A pod of a node that is away stays there: a scenario decides when it ends.
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
            ],
            "containers": [{"name": "pause", "image": "lab.example/pause:1", "imagePullPolicy": "Never"}],
        },
    })
}

/// The type of NetworkAttachmentDefinitions, as the Network Plumbing Working Group specifies it.
pub(crate) fn network_attachment_definitions() -> Value {
    let spec = json!({"type": "object", "properties": {"config": {"type": "string"}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
        "spec": {
            "group": "k8s.cni.cncf.io",
            "scope": "Namespaced",
            "names": {
                "plural": "network-attachment-definitions",
                "singular": "network-attachment-definition",
                "kind": "NetworkAttachmentDefinition",
                "shortNames": ["net-attach-def"],
            },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    })
}

/// A folder of `node` as storage, in the place of a storage class.
pub(crate) fn volume(node: &str, folder: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "etcd"},
        "spec": {
            "capacity": {"storage": "8Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
            ]}]}},
        },
    })
}
