//! The changes of an operator while pods come and go: the version, the certificates, an uninstallation.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{LIMIT, Site, expect, while_pods_come_and_go};
use crate::install::{
    CERTIFICATES, DAEMON_SET, apply_overlay, kubectl, wait_for_pods, wait_for_rollout,
};
use crate::judge;
use crate::lab::{Lab, NODES, wait_until};
use crate::objects::pod;

/// The image whose plugin has other bytes (tests/cluster.sh).
pub(super) const NEXT: &str = "lab.example/whereabouts:next";

/// How long the nodes are without the DaemonSet. The API server knows the tokens of pods that have gone for ten seconds more.
const ALONE: Duration = Duration::from_secs(20);

/// How long a changed secret may take to the nodes' folders: the kubelet looks once a minute, `install` after it.
pub(super) const SECRETS: Duration = Duration::from_mins(4);

/// The DaemonSet rolls to another image, and back.
pub(super) fn upgrade(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "upgrade")?;
    site.network("net", json!({"range": "10.55.0.0/28"}))?;
    let present = plugin_on(lab, NODES[0])?;
    let next = next_plugin(lab)?;
    let before = image(lab)?;
    while_pods_come_and_go(&site, || {
        roll_to(lab, NEXT)?;
        for node in NODES {
            expect(
                "the plugin after the upgrade",
                plugin_on(lab, node)?,
                next.clone(),
            )?;
        }
        roll_to(lab, &before)
    })?;
    for node in NODES {
        expect(
            "the plugin on the way back",
            plugin_on(lab, node)?,
            present.clone(),
        )?;
    }
    site.close()
}

fn image(lab: &Lab) -> Result<String, String> {
    let path = "--output=jsonpath={.spec.template.spec.containers[0].image}";
    kubectl(lab, &["get", DAEMON_SET, path])
}

fn roll_to(lab: &Lab, image: &str) -> Result<(), String> {
    let (install, agent) = (format!("install={image}"), format!("agent={image}"));
    kubectl(lab, &["set", "image", DAEMON_SET, &install, &agent])?;
    wait_for_rollout(lab)
}

/// The checksum of a node's plugin.
pub(super) fn plugin_on(lab: &Lab, node: &str) -> Result<String, String> {
    Ok(checksum(
        &lab.script(node, "sha256sum /opt/cni/bin/whereabouts")?,
    ))
}

/// The checksum of the plugin in the image [`NEXT`].
pub(super) fn next_plugin(lab: &Lab) -> Result<String, String> {
    let command = format!("sha256sum {}", lab.path("next/whereabouts"));
    Ok(checksum(&lab.script(NODES[0], &command)?))
}

fn checksum(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_owned()
}

/// New certificates of the same authority reach etcd and the nodes; nobody restarts anything.
pub(super) fn certificates(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "certificates")?;
    site.network("net", json!({"range": "10.56.0.0/28"}))?;
    while_pods_come_and_go(&site, || {
        renew(lab)?;
        apply_overlay(lab)?;
        let new = fs::read_to_string(lab.path(&format!("{CERTIFICATES}/client.crt")));
        let new = new.map_err(|error| error.to_string())?;
        wait_until(SECRETS, || {
            for node in NODES {
                let path = "/etc/cni/net.d/whereabouts.d/client.crt";
                if lab.on_node(node, &["cat", path])? != new {
                    return Ok(Some(format!("{node} has the old certificate")));
                }
            }
            Ok(None)
        })
    })?;
    site.close()
}

/// As docs/OPERATIONS.md tells: in an empty folder with the authority of before.
fn renew(lab: &Lab) -> Result<(), String> {
    let (old, new) = (lab.path(CERTIFICATES), lab.path("renewed"));
    let copy = || {
        fs::create_dir(&new)?;
        for name in ["ca.crt", "ca.key"] {
            fs::copy(format!("{old}/{name}"), format!("{new}/{name}"))?;
        }
        Ok::<_, std::io::Error>(())
    };
    copy().map_err(|error| format!("{new}: {error}"))?;
    lab.deploy("make-certificates.sh", &[&new, "10.96.0.79"])?;
    fs::remove_dir_all(&old).map_err(|error| format!("{old}: {error}"))?;
    fs::rename(&new, &old).map_err(|error| format!("{new}: {error}"))
}

/// The DaemonSet is deleted, and its pods end. The plugin stays on the nodes: pods come and go, also after the tokens of the
/// DaemonSet's pods have ended.
pub(super) fn without_daemon_set(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "without-daemon-set")?;
    site.network("net", json!({"range": "10.64.0.0/28"}))?;
    delete_daemon_set(lab)?;
    while_pods_come_and_go(&site, || {
        thread::sleep(ALONE);
        Ok(())
    })?;
    apply_overlay(lab)?;
    wait_for_rollout(lab)?;
    site.close()
}

/// The DaemonSet goes as docs/OPERATIONS.md tells, and comes back. Meanwhile pods live on with their addresses, and a
/// new pod waits. The nodes have nothing of whereabouts but two empty folders, which the pods of the DaemonSet had
/// mounted.
pub(super) fn uninstall(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "uninstall")?;
    site.network("net", json!({"range": "10.57.0.0/28"}))?;
    let one = |name| lab.apply(&[pod(site.namespace, name, &["net"])]);
    one("first")?;
    one("second")?;
    site.settles_at(2)?;
    let before = judge::agree(lab, LIMIT)?;
    take_away(lab)?;
    for node in NODES {
        expect(
            "what is left on a node",
            left_on(lab, node)?,
            "/etc/cni/net.d/whereabouts.d".to_owned(),
        )?;
    }
    one("third")?;
    wait_until(LIMIT, || {
        let event = site.last_event()?;
        let waits = event.contains("failed to find plugin");
        Ok((!waits).then(|| format!("no event tells that there is no plugin: {event}")))
    })?;
    apply_overlay(lab)?;
    wait_for_rollout(lab)?;
    wait_for_pods(lab, "kube-system", LIMIT)?;
    site.settles_at(3)?;
    // Of the third pod: one of the primary network, and one of the other.
    expect("claims", judge::agree(lab, LIMIT)?, before + 2)?;
    site.close()
}

pub(super) fn take_away(lab: &Lab) -> Result<(), String> {
    let add = json!([{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--then-uninstall"}]);
    kubectl(
        lab,
        &[
            "patch",
            DAEMON_SET,
            "--type=json",
            "--patch",
            &add.to_string(),
        ],
    )?;
    wait_for_rollout(lab)?;
    delete_daemon_set(lab)
}

fn delete_daemon_set(lab: &Lab) -> Result<(), String> {
    kubectl(lab, &["delete", DAEMON_SET, "--timeout=120s"])?;
    // The pods end after the DaemonSet.
    wait_until(LIMIT, || {
        let label = "--selector=app.kubernetes.io/name=whereabouts-node";
        let pods = kubectl(lab, &["get", "pods", label, "--output=name"])?;
        Ok((!pods.is_empty()).then_some(pods))
    })
}

/// The paths of a node that are whereabouts' own, in the order in which they are found.
pub(super) fn left_on(lab: &Lab, node: &str) -> Result<String, String> {
    let find = "find /opt/cni/bin /etc/cni/net.d -name '*whereabouts*'
        find /etc/cni/net.d/whereabouts.d /run/whereabouts -mindepth 1";
    let found = lab.script(node, find)?;
    Ok(found.lines().collect::<Vec<_>>().join(" "))
}
