//! The claims move from etcd to objects of the API server, and back, as docs/OPERATIONS.md tells.

use std::fs;

use serde_json::json;

use super::changes::take_away;
use super::{LIMIT, Site, expect};
use crate::install::{CERTIFICATES, apply_overlay, kubectl, wait_for_pods, wait_for_rollout};
use crate::judge;
use crate::lab::{Datastore, Lab, NODES, wait_until};
use crate::objects::pod;

const OBJECTS: &str = "deploy/kubernetes/datastore";
const KINDS: [&str; 2] = [
    "addressclaims.ipam.whereabouts.internal",
    "addressblocks.ipam.whereabouts.internal",
];

/// Pods live on with their addresses, those that come meanwhile wait, and no address is in two places.
pub(super) fn moves(lab: &Lab) -> Result<(), String> {
    let on_objects = Lab::new(lab.folder().to_owned(), Datastore::Kubernetes);
    let site = Site::open(lab, "moves")?;
    let there = Site {
        lab: &on_objects,
        namespace: site.namespace,
    };
    site.network(
        "net",
        json!({"ipRanges": [{"range": "10.66.0.0/28"}, {"range": "fd66::/64"}]}),
    )?;
    let one = |name| lab.apply(&[pod(site.namespace, name, &["net"])]);
    for name in ["first", "second", "third"] {
        one(name)?;
    }
    site.settles_at(3)?;
    let before = site.addresses("net1")?;

    for file in ["address-claims", "address-blocks", "policies"] {
        let path = lab.path(&format!("{OBJECTS}/{file}.yaml"));
        lab.kubectl(&["apply", "--filename", &path])?;
    }
    stop(lab)?;
    one("waits")?;
    let claims = move_claims(lab, Datastore::Etcd, &[])?;
    apply_overlay(&on_objects)?;
    is_installed(lab)?;
    there.settles_at(4)?;
    is_superset(&there.addresses("net1")?, &before)?;
    // Of the pod that waited: one of the primary network, and two of the other. The page and the controllers came anew.
    let after = judge::agree(&on_objects, LIMIT)?;
    there.kubectl(&["delete", "pod", "second"])?;
    there.settles_at(3)?;
    expect("claims", judge::agree(&on_objects, LIMIT)?, after - 3)?;
    // It takes what the second one had.
    one("fourth")?;
    there.settles_at(4)?;
    let moved = there.addresses("net1")?;

    stop(lab)?;
    one("waits-too")?;
    let back = move_claims(lab, Datastore::Kubernetes, &["--replace"])?;
    // One pod more, with two networks.
    expect("attachments on the way back", back, claims + 2)?;
    take_objects_away(lab)?;
    apply_overlay(lab)?;
    is_installed(lab)?;
    site.settles_at(5)?;
    is_superset(&site.addresses("net1")?, &moved)?;
    site.close()
}

fn is_superset(found: &[String], expected: &[String]) -> Result<(), String> {
    match expected.iter().find(|address| !found.contains(address)) {
        None => Ok(()),
        Some(lost) => Err(format!("{lost} is lost: {found:?}")),
    }
}

fn is_installed(lab: &Lab) -> Result<(), String> {
    wait_for_rollout(lab)?;
    wait_for_pods(lab, "kube-system", LIMIT)
}

/// No node has the plugin, and no controller runs. The pods of the page and of the controllers need the plugin to go.
fn stop(lab: &Lab) -> Result<(), String> {
    let deployments = ["whereabouts-page", "whereabouts-reconcile"];
    kubectl(lab, &[&["delete", "deployment"], &deployments[..]].concat())?;
    wait_until(LIMIT, || {
        let label =
            "--selector=app.kubernetes.io/name in (whereabouts-page, whereabouts-reconcile)";
        let pods = kubectl(lab, &["get", "pods", label, "--output=name"])?;
        Ok((!pods.is_empty()).then_some(pods))
    })?;
    take_away(lab)
}

/// Backs up the datastore `from`, and restores into the other one. Returns how many attachments moved.
fn move_claims(lab: &Lab, from: Datastore, how: &[&str]) -> Result<usize, String> {
    let certificate = |name: &str| lab.path(&format!("{CERTIFICATES}/{name}"));
    let (ca, cert, key) = (
        certificate("ca.crt"),
        certificate("client.crt"),
        certificate("client.key"),
    );
    let kubeconfig = administrator(lab)?;
    let etcd = [
        "--etcd-host=https://10.96.0.79:2379",
        &format!("--etcd-ca-cert-file={ca}"),
        &format!("--etcd-cert-file={cert}"),
        &format!("--etcd-key-file={key}"),
    ];
    let objects = [
        "--datastore=kubernetes",
        &format!("--kubeconfig={kubeconfig}"),
    ];
    let (source, target): (&[&str], &[&str]) = match from {
        Datastore::Etcd => (&etcd, &objects),
        Datastore::Kubernetes => (&objects, &etcd),
    };
    let file = lab.path(&format!("{from:?}.backup"));
    let tool = |place: &[&str], arguments: &[&str]| {
        let (verb, rest) = arguments.split_at(1);
        lab.tool(&[verb, place, rest].concat())
    };
    tool(source, &["backup", &file])?;
    tool(target, &[&["restore", &file, "--yes"], how].concat())?;
    let check = tool(target, &["check"])?;
    expect("findings", &check["findings"], &json!([]))?;
    let count = |place| {
        let claims = tool(place, &["claims"])?;
        Ok::<_, String>(claims.as_array().map_or(0, Vec::len))
    };
    let moved = count(target)?;
    expect("attachments", moved, count(source)?)?;
    Ok(moved)
}

/// The path of an administrator's kubeconfig with the authority of the API server: the tool trusts no other one.
fn administrator(lab: &Lab) -> Result<String, String> {
    let path = "--output=jsonpath={.data.ca\\.crt}";
    let authority = kubectl(lab, &["get", "configmap", "kube-root-ca.crt", path])?;
    let (ca, file) = (lab.path("cluster-ca.crt"), lab.path("administrator.json"));
    let kubeconfig = json!({
        "clusters": [{"name": "lab", "cluster": {"server": "https://10.96.0.1", "certificate-authority": ca}}],
        "users": [{"name": "admin", "user": {"token": "administrator"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    });
    for (path, content) in [(&ca, authority), (&file, kubeconfig.to_string())] {
        fs::write(path, content).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(file)
}

/// As docs/KUBERNETES.md tells for an uninstallation, after which no pod's claim is an object.
fn take_objects_away(lab: &Lab) -> Result<(), String> {
    let manifests = lab.path(Datastore::Kubernetes.uninstallation());
    lab.kubectl(&["delete", "--ignore-not-found", "--kustomize", &manifests])?;
    for kind in KINDS {
        let refused = lab.kubectl(&["delete", "crd", kind]);
        let refused = refused.err().unwrap_or_default();
        let reason = "every address of the cluster would be free";
        expect("refusals", refused.matches(reason).count(), 1)?;
        let catch = "ipam.whereabouts.internal/delete-all-addresses=yes";
        lab.kubectl(&["annotate", "crd", kind, catch])?;
        lab.kubectl(&["delete", "crd", kind, "--timeout=60s"])?;
    }
    let policies = lab.path(&format!("{OBJECTS}/policies.yaml"));
    lab.kubectl(&["delete", "--filename", &policies])?;
    for node in NODES {
        let conf = "/etc/cni/net.d/whereabouts.d";
        expect(
            "what is left",
            lab.script(node, &format!("ls {conf}"))?,
            String::new(),
        )?;
    }
    Ok(())
}
