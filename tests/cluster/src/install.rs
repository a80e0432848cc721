//! The installation, as docs/OPERATIONS.md tells it: Multus, etcd with its role, the DaemonSet.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::{Lab, NODES, wait_until};
use crate::objects;

const PRIMARY: &str = include_str!("../../../deploy/samples/primary.conflist");

/// How long the cluster may take for one step of the installation.
const LIMIT: Duration = Duration::from_secs(120);

/// Installs everything, and waits until each node can give addresses.
pub(crate) fn install(lab: &Lab) -> Result<(), String> {
    for node in NODES {
        install_multus(lab, node)?;
    }
    let data = lab.node_folder(NODES[0]).join("etcd-data");
    let written = fs::create_dir(&data).and_then(|()| {
        // etcd runs as a user of its own.
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777))
    });
    written.map_err(|error| format!("{}: {error}", data.display()))?;
    let data = data.to_str().expect("the lab's path is text");
    lab.apply(&[
        objects::network_attachment_definitions(),
        objects::volume(NODES[0], data),
    ])?;
    let overlay = lab.folder().join("deploy/kubernetes/overlays/lab");
    let overlay = overlay.to_str().expect("the lab's path is text");
    lab.kubectl(&["apply", "--kustomize", overlay])?;
    wait_for_pods(lab, "kube-system", LIMIT)?;
    make_role(lab)?;
    wait_until(LIMIT, || {
        let asked = lab.tool(&["claims"]);
        Ok(asked.err())
    })
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
fn install_multus(lab: &Lab, node: &str) -> Result<(), String> {
    let folder = lab.node_folder(node).join("cni-conf");
    let primary: Value = serde_json::from_str(PRIMARY).map_err(|error| error.to_string())?;
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
    let path = |name: &str| lab.folder().join(name).display().to_string();
    let certificate = |name: &str| {
        path(&format!(
            "deploy/kubernetes/overlays/lab/certificates/{name}"
        ))
    };
    let variables = [
        format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", path("bin")),
        "ETCDCTL_ENDPOINTS=https://10.96.0.79:2379".to_owned(),
        format!("ETCDCTL_CACERT={}", certificate("ca.crt")),
        format!("ETCDCTL_CERT={}", certificate("root.crt")),
        format!("ETCDCTL_KEY={}", certificate("root.key")),
    ];
    let script = path("deploy/etcd-role.sh");
    let mut command = vec!["env"];
    command.extend(variables.iter().map(String::as_str));
    command.push(&script);
    lab.on_node(NODES[0], &command).map(drop)
}
