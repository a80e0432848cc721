//! The reaper of a node: what it takes, and what it leaves when it cannot see.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{LIMIT, Site, expect};
use crate::install::{DAEMON_SET, kubectl, wait_for_rollout};
use crate::judge;
use crate::lab::{Lab, NODES, wait_until};
use crate::objects::replicas;

/// How often the reaper of this scenario runs, and how long it is watched.
const EVERY: &str = "2s";
const WATCHED: Duration = Duration::from_secs(10);

/// A namespace that cannot be looked up is no evidence, so nothing is freed. One that is gone is, so its claim goes.
pub(super) fn reaper(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "reaper")?;
    site.network("net", json!({"range": "10.58.0.0/28"}))?;
    lab.apply(&[replicas("ReplicaSet", site.namespace, "set", 6, &["net"])])?;
    site.settles_at(6)?;
    let before = judge::agree(lab, LIMIT)?;
    let usual = arguments(lab)?;
    set_arguments(
        lab,
        &format!(r#"["serve","--reap={EVERY}","--grace=0s","--listen=127.0.0.1:9469"]"#),
    )?;
    leaves_what_it_cannot_see(lab, before)?;
    takes_what_is_gone(lab)?;
    expect("claims", judge::agree(lab, LIMIT)?, before)?;
    set_arguments(lab, &usual)?;
    site.close()
}

/// The agent is root without any capability. Of this folder it may read the names, and may look up none: EACCES.
fn leaves_what_it_cannot_see(lab: &Lab, before: usize) -> Result<(), String> {
    for node in NODES {
        lab.script(node, "chown 65534:65534 /run/netns; chmod 744 /run/netns")?;
    }
    thread::sleep(WATCHED);
    let count = judge::agree(lab, LIMIT);
    let unjudged: Result<Vec<bool>, String> =
        NODES.iter().map(|node| is_blind(lab, node)).collect();
    for node in NODES {
        lab.script(node, "chown 0:0 /run/netns; chmod 755 /run/netns")?;
    }
    expect("claims while the reaper is blind", count?, before)?;
    expect(
        "nodes where the reaper was blind",
        unjudged?,
        vec![true; NODES.len()],
    )
}

/// Whether the agent has told of claims that it could not judge.
fn is_blind(lab: &Lab, node: &str) -> Result<bool, String> {
    let ask = r"exec 3<>/dev/tcp/127.0.0.1/9469
        printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
        sed -n 's/^whereabouts_reaper_unjudged_claims_total //p' <&3";
    let told = lab.script(node, ask)?;
    Ok(told.trim().parse::<u64>().is_ok_and(|count| count > 0))
}

/// An attachment whose namespace goes without a DEL.
fn takes_what_is_gone(lab: &Lab) -> Result<(), String> {
    let config = json!({
        "cniVersion": "1.1.0", "name": "leak",
        "plugins": [{"type": "macvlan", "master": "eth1", "ipam": {"type": "whereabouts", "range": "10.58.1.0/28"}}],
    });
    let lines = format!(
        "mkdir -p /run/leak; echo '{config}' >/run/leak/leak.conflist
        ip netns add leak
        CNI_PATH=/opt/cni/bin NETCONFPATH=/run/leak cnitool add leak /run/netns/leak
        ip netns del leak"
    );
    lab.script(NODES[0], &lines)?;
    wait_until(LIMIT, || {
        let left = judge::count_of(lab, "leak")?;
        Ok((left > 0).then(|| format!("{left} claims of a namespace that is gone")))
    })
}

fn arguments(lab: &Lab) -> Result<String, String> {
    let path = "--output=jsonpath={.spec.template.spec.containers[1].args}";
    kubectl(lab, &["get", DAEMON_SET, path])
}

fn set_arguments(lab: &Lab, arguments: &str) -> Result<(), String> {
    let place = "/spec/template/spec/containers/1/args";
    let patch = format!(r#"[{{"op": "replace", "path": "{place}", "value": {arguments}}}]"#);
    kubectl(
        lab,
        &["patch", DAEMON_SET, "--type=json", "--patch", &patch],
    )?;
    wait_for_rollout(lab)
}
