//! `kubectl whereabouts`: the tool as a plugin of kubectl, through the real API server, with and without the right.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::{LIMIT, Site, expect};
use crate::install::{apply_overlay, kubectl};
use crate::lab::{Lab, NODES, wait_until};
use crate::objects::pod;

const DEPLOYMENT: &str = "deployment/whereabouts-page";
const CIDR: &str = "10.63.0.0/28";
const UNUSED: &str = "10.64.0.0/28";

/// The lab's own user, who may name the port in any way.
const ADMINISTRATOR: &str = "--service=whereabouts-page:9469";

/// A user who has the role, and one who has none.
const READER: &str = "--as=reader@example";
const OTHER: &str = "--as=other@example";

/// Each command says the same through the API server as at etcd, for users who have the role, and for nobody else.
pub(super) fn kubectl_plugin(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "kubectl")?;
    site.network("net", json!({"range": CIDR}))?;
    site.network("spare", json!({"range": UNUSED}))?;
    unused_range_is_known(lab, true)?;
    for name in ["one", "two"] {
        lab.apply(&[pod(site.namespace, name, &["net"])])?;
    }
    site.settles_at(2)?;
    link_plugin(lab)?;
    // An administrator sees that there is no Service yet; nobody else is told.
    refused(lab, ADMINISTRATOR, &["(NotFound)", "--service-namespace"])?;
    start(lab)?;
    refused(
        lab,
        READER,
        &["(Forbidden)", "services/proxy", "whereabouts-reader"],
    )?;
    let binding = ["rolebinding", "whereabouts-readers"];
    let grant = ["--role=whereabouts-reader", "--user=reader@example"];
    kubectl(lab, &[&["create"], &binding[..], &grant].concat())?;
    wait_until(LIMIT, || Ok(lab.plugin(&["ranges", READER]).err()))?;
    same(lab)?;
    refused(
        lab,
        OTHER,
        &["(Forbidden)", "services/proxy", "whereabouts-reader"],
    )?;
    lab.plugin(&["claims", ADMINISTRATOR])?;
    scaled_to_nothing(lab)?;
    kubectl(lab, &[&["delete"], &binding[..]].concat())?;
    end(lab)?;
    site.close()?;
    unused_range_is_known(lab, false)
}

/// Whether a range is known that a network names and no pod uses. The controller writes it down.
fn unused_range_is_known(lab: &Lab, is_known: bool) -> Result<(), String> {
    wait_until(LIMIT, || {
        let ranges = lab.tool(&["ranges"])?;
        let mut ranges = ranges.as_array().into_iter().flatten();
        let unused = ranges.find(|range| range["range"] == UNUSED);
        let held = unused.map(|range| range["held"].clone());
        Ok(expect(
            "held addresses of the unused range",
            held,
            is_known.then(|| json!(0)),
        )
        .err())
    })
}

/// As a user installs it.
fn link_plugin(lab: &Lab) -> Result<(), String> {
    let link = lab.path("bin/kubectl-whereabouts");
    if Path::new(&link).exists() {
        return Ok(());
    }
    symlink("whereaboutsctl", &link).map_err(|error| format!("{link}: {error}"))
}

/// Includes the component. The API server's way to pods leads to the first node alone.
fn start(lab: &Lab) -> Result<(), String> {
    let overlay = lab.datastore().overlay();
    let folder = lab.path(&format!("{overlay}-kubectl"));
    let base = overlay.rsplit('/').next().unwrap_or_default();
    let place = json!([{
        "target": {"kind": "Deployment", "name": "whereabouts-page"},
        "patch": json!([{"op": "add", "path": "/spec/template/spec/nodeName", "value": NODES[0]}]).to_string(),
    }]);
    let text = format!("resources: [../{base}]\ncomponents: [../../kubectl]\npatches: {place}\n");
    let written = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(format!("{folder}/kustomization.yaml"), text));
    written.map_err(|error| format!("{folder}: {error}"))?;
    lab.kubectl(&["apply", "--kustomize", &folder])?;
    kubectl(lab, &["rollout", "status", DEPLOYMENT, "--timeout=180s"]).map(drop)
}

fn end(lab: &Lab) -> Result<(), String> {
    apply_overlay(lab)?;
    kubectl(lab, &["rollout", "status", DEPLOYMENT, "--timeout=180s"])?;
    kubectl(
        lab,
        &["delete", "service,networkpolicy", "whereabouts-page"],
    )?;
    kubectl(lab, &["delete", "role", "whereabouts-reader"]).map(drop)
}

/// The plugin of kubectl shows the same as the tool at etcd.
fn same(lab: &Lab) -> Result<(), String> {
    for command in [
        &["ranges"][..],
        &["claims"],
        &["claims", "--namespace=kubectl"],
        &["map", CIDR],
        &["show", "kubectl/one"],
        &["owners"],
        &["check"],
        &["queue"],
    ] {
        // Pods of the cluster itself may come and go between the two.
        wait_until(LIMIT, || {
            let direct = lab.tool(command)?;
            let plugin = lab.plugin(&[command, &[READER, "--output=json"]].concat())?;
            let plugin: serde_json::Value =
                serde_json::from_str(&plugin).map_err(|error| format!("{error} in {plugin}"))?;
            Ok(expect(command[0], plugin, direct).err())
        })?;
    }
    let claims = lab.plugin(&["claims", "--namespace=kubectl", READER])?;
    println!("  $ kubectl whereabouts claims --namespace kubectl\n{claims}");
    println!(
        "  $ kubectl whereabouts map {CIDR}\n{}",
        lab.plugin(&["map", CIDR, READER])?
    );
    Ok(())
}

/// The plugin as this user, or with this option, is refused in words that have all of `parts`.
fn refused(lab: &Lab, option: &str, parts: &[&str]) -> Result<(), String> {
    let said = match lab.plugin(&["claims", option]) {
        Ok(said) => return Err(format!("{option} reads {said}")),
        Err(said) => said,
    };
    if let Some(part) = parts.iter().find(|part| !said.contains(**part)) {
        return Err(format!("no {part:?} in {said}"));
    }
    println!("  {said}");
    Ok(())
}

/// Without a pod of the page, kubectl says so.
fn scaled_to_nothing(lab: &Lab) -> Result<(), String> {
    kubectl(lab, &["scale", DEPLOYMENT, "--replicas=0"])?;
    wait_until(LIMIT, || {
        let parts = ["no endpoints available", "No pod of the page is ready"];
        Ok(refused(lab, READER, &parts).err())
    })?;
    kubectl(lab, &["scale", DEPLOYMENT, "--replicas=1"])?;
    kubectl(lab, &["rollout", "status", DEPLOYMENT, "--timeout=180s"])?;
    wait_until(LIMIT, || Ok(lab.plugin(&["ranges", READER]).err()))
}
