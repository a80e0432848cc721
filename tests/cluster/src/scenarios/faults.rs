//! Nodes, runtimes and pods that end without a farewell.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{LIMIT, Site, addresses, expect, while_pods_come_and_go};
use crate::judge;
use crate::lab::{Lab, NODES, wait_until};
use crate::objects::{replicas, stateful_set};

/// How long after a change of a set some of its pods have ended or started, and others have not.
const AMID: Duration = Duration::from_secs(3);

/// How long the controller may need for claims whose DEL was never repeated. Multus forgets a pod with the first DEL that fails. If it
/// does not reach the API server then, it tells the runtime that the second one has succeeded.
const BY_CONTROLLER: Duration = Duration::from_mins(6);

/// How long a node, or the API server, stays away.
const AWAY: Duration = Duration::from_secs(20);

/// A dozen pods are deleted with force while others take their place.
pub(super) fn forced_deletions(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "forced-deletions")?;
    site.network("net", json!({"range": "10.49.0.0/27"}))?;
    lab.apply(&[replicas("ReplicaSet", site.namespace, "set", 12, &["net"])])?;
    site.settles_at(12)?;
    for _ in 0..2 {
        site.kubectl(&["delete", "pods", "--all", "--force", "--grace-period=0"])?;
        site.settles_at(12)?;
    }
    site.close()
}

/// kubelet, containerd and the DaemonSet end while pods come and go.
pub(super) fn restarts(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "restarts")?;
    site.network("net", json!({"range": "10.50.0.0/27"}))?;
    let scaled = |count| {
        lab.apply(&[replicas(
            "Deployment",
            site.namespace,
            "set",
            count,
            &["net"],
        )])
    };
    scaled(10)?;
    site.settles_at(10)?;
    for node in NODES {
        scaled(20)?;
        lab.on_node(node, &["sh", "-c", "kill -KILL $(cat /run/kubelet.pid)"])?;
        site.settles_at(20)?;
        scaled(10)?;
        site.settles_at(10)?;
    }
    scaled(20)?;
    let listed = lab.get(&["daemonsets", "--namespace=kube-system"])?;
    let name = listed["items"][0]["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    let set = format!("daemonset/{name}");
    lab.kubectl(&["--namespace=kube-system", "rollout", "restart", &set])?;
    lab.kubectl(&[
        "--namespace=kube-system",
        "rollout",
        "status",
        &set,
        "--timeout=120s",
    ])?;
    site.settles_at(20)?;
    site.close()
}

/// Every sandbox of a full range dies. The pods live on in new ones, with addresses of the same range.
pub(super) fn new_sandboxes(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "new-sandboxes")?;
    site.network("net", json!({"range": "10.51.0.0/29"}))?;
    lab.apply(&[stateful_set(site.namespace, "set", 6, &["net"])])?;
    site.settles_at(6)?;
    let uids = uids(&site)?;
    for node in NODES {
        let script = "for id in $(crictl --runtime-endpoint unix:///run/containerd/containerd.sock pods --quiet --namespace new-sandboxes); do
            ctr --namespace k8s.io task kill --signal KILL $id; done";
        lab.on_node(
            node,
            &[
                "sh",
                "-c",
                &format!(
                    "PATH={}:$PATH; {script}",
                    lab.folder().join("bin").display()
                ),
            ],
        )?;
    }
    thread::sleep(AWAY);
    site.settles_at(6)?;
    expect("UIDs of the pods", self::uids(&site)?, uids)?;
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses("10.51.0.", 1, 6),
    )?;
    site.close()
}

/// A node loses power while its pods start, and returns. The range is exactly full.
pub(super) fn power_failure(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "power-failure")?;
    site.network("net", json!({"range": "10.52.0.0/28"}))?;
    lab.apply(&[replicas("ReplicaSet", site.namespace, "set", 14, &["net"])])?;
    thread::sleep(Duration::from_secs(2));
    lab.strike("crash", NODES[1])?;
    thread::sleep(AWAY);
    lab.strike("boot", NODES[1])?;
    site.settles_at(14)?;
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses("10.52.0.", 1, 14),
    )?;
    site.close()
}

/// A node is cut off while its pods live on. None of its addresses is freed.
pub(super) fn cut_off(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "cut-off")?;
    site.network("net", json!({"range": "10.53.0.0/28"}))?;
    lab.apply(&[replicas("ReplicaSet", site.namespace, "set", 14, &["net"])])?;
    site.settles_at(14)?;
    let before = judge::agree(lab, LIMIT)?;
    lab.strike("cut", NODES[1])?;
    wait_until(LIMIT, || {
        let node = lab.get(&["node", NODES[1]])?;
        let conditions = node["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = conditions
            .iter()
            .any(|one| one["type"] == "Ready" && one["status"] == "True");
        Ok(ready.then(|| "the node is still ready".to_owned()))
    })?;
    expect(
        "claims while a node is cut off",
        judge::agree(lab, LIMIT)?,
        before,
    )?;
    lab.strike("mend", NODES[1])?;
    site.settles_at(14)?;
    expect("claims after it", judge::agree(lab, LIMIT)?, before)?;
    site.close()
}

/// The only API server is killed while pods start, and while they end. It is away for a while.
pub(super) fn server_killed(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "server-killed")?;
    site.network("net", json!({"range": "10.65.0.0/28"}))?;
    for count in [14, 2, 14] {
        lab.apply(&[replicas(
            "ReplicaSet",
            site.namespace,
            "set",
            count,
            &["net"],
        )])?;
        thread::sleep(AMID);
        lab.server("kill_server")?;
        thread::sleep(AWAY);
        lab.server("start_server")?;
        site.has_ready(count)?;
        judge::agree(lab, BY_CONTROLLER)?;
    }
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses("10.65.0.", 1, 14),
    )?;
    site.close()
}

/// The only etcd is killed twice while pods come and go, and starts again on its data.
pub(super) fn etcd_killed(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "etcd-killed")?;
    site.network("net", json!({"range": "10.54.0.0/28"}))?;
    while_pods_come_and_go(&site, || {
        for _ in 0..2 {
            lab.script(NODES[0], "kill -KILL $(pgrep --exact etcd)")?;
            wait_until(LIMIT, || Ok(lab.tool(&["claims"]).err()))?;
            thread::sleep(AWAY / 2);
        }
        Ok(())
    })?;
    site.close()
}

fn uids(site: &Site<'_>) -> Result<Vec<String>, String> {
    let pods = site.pods()?;
    let mut uids: Vec<String> = pods
        .iter()
        .map(|pod| pod["metadata"]["uid"].to_string())
        .collect();
    uids.sort();
    Ok(uids)
}
