//! A node that does not come back, and one that is only cut off: what the controller releases, and what it leaves alone.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LIMIT, Site, addresses, expect};
use crate::install::{is_ready, wait_for_pods};
use crate::lab::{Lab, NODES, wait_until};
use crate::objects::stateful_set;

const DEAD: &str = NODES[1];

/// The range of a network, which the set fills exactly.
const SIZE: usize = 6;

/// For so long the controller must leave a node alone that is cut off: more than two graces and some rounds.
const CUT_OFF: Duration = Duration::from_secs(180);

/// How long a node may need to register after its boot.
const RETURN: Duration = Duration::from_secs(240);

const TAINT: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";

/// A node dies, and its Node object and its pods are deleted. Its pods start on the other node, in a range that was full.
pub(super) fn dead_node(lab: &Lab) -> Result<(), String> {
    let site = filled(lab, "dead-node", "10.59.0.")?;
    let living = addresses_on_living_node(&site)?;
    lab.strike("crash", DEAD)?;
    wait_until_not_ready(lab)?;
    lab.kubectl(&["delete", "node", DEAD])?;
    force_delete_pods(&site)?;
    expect_return(&site, &living, "10.59.0.", "node-gone")?;
    expect_no_claim_of_dead(lab)?;
    lab.strike("boot", DEAD)?;
    wait_until_ready(lab)?;
    site.settles_at(SIZE)?;
    site.close()
}

/// The same, with the taint of a node that is shut down. The cluster deletes the pods itself.
pub(super) fn out_of_service(lab: &Lab) -> Result<(), String> {
    let site = filled(lab, "out-of-service", "10.60.0.")?;
    let living = addresses_on_living_node(&site)?;
    lab.strike("crash", DEAD)?;
    wait_until_not_ready(lab)?;
    lab.kubectl(&["taint", "node", DEAD, TAINT])?;
    wait_until(LIMIT, || {
        let pods = pods_on(&site, DEAD)?.len();
        Ok((pods > 0).then(|| format!("{pods} pods are still there")))
    })?;
    expect_return(&site, &living, "10.60.0.", "node-out-of-service")?;
    expect_no_claim_of_dead(lab)?;
    lab.strike("boot", DEAD)?;
    lab.kubectl(&["taint", "node", DEAD, &format!("{TAINT}-")])?;
    wait_until_ready(lab)?;
    site.settles_at(SIZE)?;
    site.close()
}

/// A node is cut off, and its pods are deleted with force. They live on there, so none of their addresses is freed.
pub(super) fn cut_off_forced(lab: &Lab) -> Result<(), String> {
    let site = filled(lab, "cut-off-forced", "10.61.0.")?;
    let claims = || {
        lab.tool(&["claims", "--node", DEAD])
            .map(|listed| revisions(&listed))
    };
    let before = claims()?;
    lab.strike("cut", DEAD)?;
    wait_until_not_ready(lab)?;
    force_delete_pods(&site)?;
    thread::sleep(CUT_OFF);
    expect("claims of a node that is cut off", claims()?, before)?;
    lab.strike("mend", DEAD)?;
    wait_until_ready(lab)?;
    site.settles_at(SIZE)?;
    site.close()
}

/// A StatefulSet on both nodes that fills its range.
fn filled<'l>(lab: &'l Lab, namespace: &'static str, prefix: &str) -> Result<Site<'l>, String> {
    let site = Site::open(lab, namespace)?;
    site.network("net", json!({"range": format!("{prefix}0/29")}))?;
    lab.apply(&[stateful_set(namespace, "set", SIZE, &["net"])])?;
    site.settles_at(SIZE)?;
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses(prefix, 1, 6),
    )?;
    for node in NODES {
        let is_used = !pods_on(&site, node)?.is_empty();
        expect("a pod of the set on each node", is_used, true)?;
    }
    Ok(site)
}

/// Within two minutes all pods are ready in the full range. No living pod has lost its address, and Events
/// tell the evidence.
fn expect_return(
    site: &Site<'_>,
    living: &BTreeMap<String, Value>,
    prefix: &str,
    evidence: &str,
) -> Result<(), String> {
    site.has_ready(SIZE)?;
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses(prefix, 1, 6),
    )?;
    let mut now = addresses_on_living_node(site)?;
    now.retain(|uid, _| living.contains_key(uid));
    expect("addresses of pods that live", &now, living)?;
    let events = site.lab.get(&["events", "--namespace", site.namespace])?;
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let is_release = |event: &&Value| event["reason"] == "AddressReleased";
    let messages = events
        .iter()
        .filter(is_release)
        .map(|event| event["message"].to_string());
    let messages: Vec<String> = messages.collect();
    let is_told = messages.iter().all(|message| message.contains(evidence));
    // Each pod has a claim of the primary network, too.
    let count = 2 * (SIZE - living.len());
    expect(
        &format!("releases by {evidence}, all in {messages:?}"),
        (messages.len(), is_told),
        (count, true),
    )
}

/// Waits until no claim of the dead node is left, also of other namespaces. After its boot it is another node.
fn expect_no_claim_of_dead(lab: &Lab) -> Result<(), String> {
    wait_until(LIMIT, || {
        let left = revisions(&lab.tool(&["claims", "--node", DEAD])?);
        Ok((!left.is_empty()).then(|| format!("claims of {DEAD} are left: {left:?}")))
    })
}

fn wait_until_not_ready(lab: &Lab) -> Result<(), String> {
    wait_until(LIMIT, || {
        let is_ready = is_ready(&lab.get(&["node", DEAD])?);
        Ok(is_ready.then(|| "the node is still ready".to_owned()))
    })
}

/// The next scenario needs both nodes. A kubelet whose Node was deleted starts a second time before it registers.
fn wait_until_ready(lab: &Lab) -> Result<(), String> {
    wait_until(RETURN, || {
        let node = lab.get(&["node", DEAD]);
        let is_ready = node.as_ref().is_ok_and(is_ready);
        Ok((!is_ready).then(|| format!("the node is not ready: {node:?}")))
    })?;
    wait_for_pods(lab, "kube-system", LIMIT)
}

fn force_delete_pods(site: &Site<'_>) -> Result<(), String> {
    for pod in pods_on(site, DEAD)? {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        site.kubectl(&[
            "delete",
            "pod",
            name,
            "--force",
            "--grace-period=0",
            "--ignore-not-found",
        ])?;
    }
    Ok(())
}

fn pods_on(site: &Site<'_>, node: &str) -> Result<Vec<Value>, String> {
    let mut pods = site.pods()?;
    pods.retain(|pod| pod["spec"]["nodeName"] == node);
    Ok(pods)
}

/// The UIDs of pods of the living node, each with what the pod's network-status tells.
fn addresses_on_living_node(site: &Site<'_>) -> Result<BTreeMap<String, Value>, String> {
    let pods = pods_on(site, NODES[0])?.into_iter().map(|pod| {
        let metadata = &pod["metadata"];
        let status = metadata["annotations"]["k8s.v1.cni.cncf.io/network-status"].clone();
        (metadata["uid"].to_string(), status)
    });
    Ok(pods.collect())
}

/// The claims of a list, each as its container and its revision.
fn revisions(listed: &Value) -> Vec<(String, String)> {
    let claims = listed.as_array().into_iter().flatten();
    let claims = claims.map(|claim| {
        (
            claim["container"].to_string(),
            claim["revision"].to_string(),
        )
    });
    claims.collect()
}
