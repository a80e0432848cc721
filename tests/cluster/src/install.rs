//! The installation, as docs/OPERATIONS.md and docs/KUBERNETES.md tell it: Multus, an etcd with its role or none, the DaemonSet.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::{Datastore, Lab, NODES, wait_until};
use crate::objects;
use crate::sabotage::Sabotage;

const PRIMARY: &str = include_str!("../../../deploy/samples/primary.conflist");

/// The certificates of the overlay with etcd, below the lab's folder.
pub(crate) const CERTIFICATES: &str = "deploy/kubernetes/overlays/lab/certificates";

/// The DaemonSet of the manifests.
pub(crate) const DAEMON_SET: &str = "daemonset/whereabouts-node";

/// How long the cluster may take for one step of the installation.
const LIMIT: Duration = Duration::from_secs(120);

/// Installs everything, and waits until each node can give addresses.
pub(crate) fn install(lab: &Lab, sabotage: Option<&Sabotage>) -> Result<(), String> {
    let mut primary: Value = serde_json::from_str(PRIMARY).map_err(|error| error.to_string())?;
    if sabotage.is_some_and(Sabotage::routes_twice) {
        primary["plugins"][0]["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    }
    for node in NODES {
        install_multus(lab, node, &primary)?;
    }
    lab.apply(&[objects::network_attachment_definitions()])?;
    match lab.datastore() {
        Datastore::Etcd => install_with_etcd(lab),
        Datastore::Kubernetes => install_alone(lab),
    }
}

fn install_with_etcd(lab: &Lab) -> Result<(), String> {
    let data = lab.node_folder(NODES[0]).join("etcd-data");
    let written = fs::create_dir(&data).and_then(|()| {
        // etcd runs as a user of its own.
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777))
    });
    written.map_err(|error| format!("{}: {error}", data.display()))?;
    let data = data.to_str().expect("the lab's path is text");
    lab.apply(&[objects::volume(NODES[0], data)])?;
    apply_overlay(lab)?;
    wait_for_pods(lab, "kube-system", LIMIT)?;
    make_role(lab)?;
    wait_until(LIMIT, || {
        let asked = lab.tool(&["claims"]);
        Ok(asked.err())
    })
}

/// One `kubectl apply`, and no preparation. The nodes have their access once the token is there.
fn install_alone(lab: &Lab) -> Result<(), String> {
    apply_overlay(lab)?;
    wait_for_pods(lab, "kube-system", LIMIT)?;
    wait_until(LIMIT, || {
        let token = "/etc/cni/net.d/whereabouts.d/whereabouts.token";
        let mut missing = NODES
            .iter()
            .map(|node| lab.on_node(node, &["test", "-s", token]));
        Ok(missing.find_map(Result::err))
    })
}

/// Applies the manifests as they are now.
pub(crate) fn apply_overlay(lab: &Lab) -> Result<(), String> {
    let overlay = lab.path(lab.datastore().overlay());
    lab.kubectl(&["apply", "--kustomize", &overlay]).map(drop)
}

/// Runs kubectl in the namespace of the installation.
pub(crate) fn kubectl(lab: &Lab, arguments: &[&str]) -> Result<String, String> {
    lab.kubectl(&[&["--namespace=kube-system"], arguments].concat())
}

/// Waits until the DaemonSet has its present form on every node.
pub(crate) fn wait_for_rollout(lab: &Lab) -> Result<(), String> {
    kubectl(lab, &["rollout", "status", DAEMON_SET, "--timeout=180s"]).map(drop)
}

/// Waits until every pod of a namespace is ready.
pub(crate) fn wait_for_pods(lab: &Lab, namespace: &str, limit: Duration) -> Result<(), String> {
    wait_until(limit, || {
        let pods = lab.get(&["pods", "--namespace", namespace])?;
        let pods = pods["items"].as_array().expect("a list has items");
        let unready: Vec<String> = pods
            .iter()
            .filter(|pod| !is_ready(pod))
            .map(|pod| format!("{} is {}", pod["metadata"]["name"], pod["status"]))
            .collect();
        Ok(if pods.is_empty() {
            Some("there is no pod".to_owned())
        } else {
            unready.into_iter().next()
        })
    })
}

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let is_ready =
        |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    conditions.is_some_and(|conditions| conditions.iter().any(is_ready))
}

/// Thin Multus, with whereabouts' sample of a primary network as the cluster's network.
fn install_multus(lab: &Lab, node: &str, primary: &Value) -> Result<(), String> {
    let folder = lab.node_folder(node).join("cni-conf");
    let config = json!({
        "cniVersion": "1.0.0",
        "name": "multus",
        "type": "multus",
        "kubeconfig": "/etc/cni/net.d/multus.kubeconfig",
        "delegates": [primary],
    });
    let write = || {
        fs::copy(
            lab.folder().join("kubeconfig"),
            folder.join("multus.kubeconfig"),
        )?;
        fs::write(folder.join("00-multus.conf"), config.to_string())
    };
    write().map_err(|error| format!("{}: {error}", folder.display()))
}

/// Runs deploy/etcd-role.sh on a node, where the address of etcd's service is known.
fn make_role(lab: &Lab) -> Result<(), String> {
    let certificate = |name: &str| lab.path(&format!("{CERTIFICATES}/{name}"));
    let variables = [
        format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", lab.path("bin")),
        "ETCDCTL_ENDPOINTS=https://10.96.0.79:2379".to_owned(),
        format!("ETCDCTL_CACERT={}", certificate("ca.crt")),
        format!("ETCDCTL_CERT={}", certificate("root.crt")),
        format!("ETCDCTL_KEY={}", certificate("root.key")),
    ];
    let script = lab.path("deploy/etcd-role.sh");
    let mut command = vec!["env"];
    command.extend(variables.iter().map(String::as_str));
    command.push(&script);
    lab.on_node(NODES[0], &command).map(drop)
}
