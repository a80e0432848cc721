//! The Helm chart takes the place of the manifests: it installs, upgrades and uninstalls whereabouts.

use serde_json::json;

use super::changes::{NEXT, SECRETS, left_on, next_plugin, plugin_on};
use super::{LIMIT, Site, expect};
use crate::install::{apply_overlay, kubectl, wait_for_pods, wait_for_rollout};
use crate::judge;
use crate::lab::{Datastore, Lab, NODES, wait_until};
use crate::objects::{network, pod};

const RELEASE: &str = "some-release";

/// The kinds of the chart's objects, and the secret in which Helm keeps a release.
const KINDS: &str = "service,networkpolicy,validatingwebhookconfiguration,daemonset,deployment,poddisruptionbudget,secret,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding";

/// Pods keep their addresses from the manifests to the chart, over an upgrade, an uninstallation, and back.
pub(super) fn chart(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "chart")?;
    site.network("net", json!({"range": "10.59.0.0/28"}))?;
    let one = |name| lab.apply(&[pod(site.namespace, name, &["net"])]);
    one("of-the-manifests")?;
    site.settles_at(1)?;
    objects_of_others_are_refused(lab)?;
    delete_manifests(lab)?;
    install(lab)?;
    one("installed")?;
    site.settles_at(2)?;
    misspelt_networks_are_denied(&site)?;
    let authority = authority(lab)?;
    upgrade(lab)?;
    expect(
        "the authority that the controllers made",
        self::authority(lab)?,
        authority,
    )?;
    misspelt_networks_are_denied(&site)?;
    one("upgraded")?;
    site.settles_at(3)?;
    let before = judge::agree(lab, LIMIT)?;
    uninstall(lab)?;
    apply_overlay(lab)?;
    wait_for_rollout(lab)?;
    wait_for_pods(lab, "kube-system", LIMIT)?;
    one("at-the-end")?;
    site.settles_at(4)?;
    // Of the last pod: one of the primary network, and one of the other. The page and the controllers came anew.
    expect("claims", judge::agree(lab, LIMIT)?, before + 2)?;
    site.close()
}

fn helm(lab: &Lab, verb: &str, arguments: &[&str]) -> Result<String, String> {
    let common = [verb, RELEASE, "--namespace=kube-system", "--timeout=180s"];
    lab.helm(&[&common, arguments].concat())
}

/// Helm takes nothing from an applied kustomization.
fn objects_of_others_are_refused(lab: &Lab) -> Result<(), String> {
    let chart = lab.path("deploy/chart");
    match helm(lab, "install", &[&chart]) {
        Ok(_) => Err("Helm has taken the objects of the manifests".to_owned()),
        Err(error) if error.contains("invalid ownership metadata") => Ok(()),
        Err(error) => Err(format!("Helm has another reason: {error}")),
    }
}

/// As docs/OPERATIONS.md and docs/KUBERNETES.md tell. etcd and its certificates stay, or the kinds of objects and their guards, also
/// if it is done twice.
fn delete_manifests(lab: &Lab) -> Result<(), String> {
    let manifests = lab.path(lab.datastore().uninstallation());
    kubectl(lab, &["delete", "--kustomize", &manifests])?;
    if lab.datastore() == Datastore::Etcd {
        return kubectl(lab, &["delete", "secret", "whereabouts-flat-file"]).map(drop);
    }
    kubectl(
        lab,
        &["delete", "--ignore-not-found", "--kustomize", &manifests],
    )?;
    for name in [
        "crd/addressclaims.ipam.whereabouts.internal",
        "crd/addressblocks.ipam.whereabouts.internal",
        "validatingadmissionpolicy/whereabouts-kinds",
        "validatingadmissionpolicybinding/whereabouts-kinds",
    ] {
        kubectl(lab, &["get", name])?;
    }
    Ok(())
}

fn install(lab: &Lab) -> Result<(), String> {
    let chart = lab.path("deploy/chart");
    let datastore: &[&str] = match lab.datastore() {
        Datastore::Etcd => &[
            "--set-json",
            r#"etcd.endpoints=["https://10.96.0.79:2379"]"#,
        ],
        // The kinds of the manifests have stayed.
        Datastore::Kubernetes => &["--set=datastore=kubernetes", "--take-ownership"],
    };
    // The level tells the chart's flat file from that of the manifests.
    let others = "flatFile.keys.log_level=debug,webhook.enabled=true,webhook.pods=true";
    helm(
        lab,
        "install",
        &[&[&chart, "--wait", "--set", others], datastore].concat(),
    )?;
    wait_until(SECRETS, || {
        for node in NODES {
            let path = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";
            let found = lab.on_node(node, &["cat", path])?;
            if !found.contains(r#""log_level": "debug""#) {
                return Ok(Some(format!("{node} has the flat file {found}")));
            }
        }
        Ok(None)
    })
}

/// The webhook needs its Service, its rights, and a certificate that the controllers have agreed on.
fn misspelt_networks_are_denied(site: &Site<'_>) -> Result<(), String> {
    let ipam = json!({"range": "10.59.0.0/28", "rangeStart": "10.59.0.4"});
    let misspelt = network(site.namespace, "misspelt", ipam);
    wait_until(LIMIT, || {
        let (passed, told) = site.lab.create(&misspelt, &["--dry-run=server"]);
        let is_denied = !passed && told.contains("denied the request: spec.config");
        Ok((!is_denied).then(|| format!("a misspelt network is not denied: {told}")))
    })
}

/// An upgrade must leave it: without it the API server does not trust the webhook.
fn authority(lab: &Lab) -> Result<String, String> {
    let path = "--output=jsonpath={.webhooks[0].clientConfig.caBundle}";
    let told = lab.kubectl(&[
        "get",
        "validatingwebhookconfiguration",
        "whereabouts-networks",
        path,
    ])?;
    if told.is_empty() {
        return Err("the webhook has no authority".to_owned());
    }
    Ok(told)
}

fn upgrade(lab: &Lab) -> Result<(), String> {
    let (repository, tag) = NEXT.rsplit_once(':').expect("an image has a tag");
    let image = format!("image.repository={repository},image.tag={tag}");
    let chart = lab.path("deploy/chart");
    helm(
        lab,
        "upgrade",
        &[&chart, "--wait", "--reuse-values", "--set", &image],
    )?;
    // Helm waits for all pods of a DaemonSet but those that may be unavailable.
    wait_for_rollout(lab)?;
    let next = next_plugin(lab)?;
    for node in NODES {
        expect(
            "the plugin of the upgrade",
            plugin_on(lab, node)?,
            next.clone(),
        )?;
    }
    Ok(())
}

/// As docs/OPERATIONS.md tells. Nothing is left but the certificates, or the kinds of objects, and empty folders on the nodes.
fn uninstall(lab: &Lab) -> Result<(), String> {
    let chart = lab.path("deploy/chart");
    let last = "node.uninstallAtEnd=true,page.enabled=false,controller.enabled=false,webhook.enabled=false";
    helm(
        lab,
        "upgrade",
        &[&chart, "--wait", "--reuse-values", "--set", last],
    )?;
    // The pods of the page and of the controllers need the plugin to go.
    no_pod_is_left(lab, "in (whereabouts-page, whereabouts-reconcile)")?;
    wait_for_rollout(lab)?;
    helm(lab, "uninstall", &["--wait"])?;
    no_pod_is_left(lab, "in (whereabouts-node)")?;
    for node in NODES {
        let left = left_on(lab, node)?;
        expect(
            "what is left on a node",
            left.as_str(),
            "/etc/cni/net.d/whereabouts.d",
        )?;
    }
    for label in [
        format!("app.kubernetes.io/instance={RELEASE}"),
        "owner=helm".to_owned(),
    ] {
        let selector = format!("--selector={label}");
        let left = kubectl(lab, &["get", KINDS, &selector, "--output=name"])?;
        expect("objects that are left", left.as_str(), "")?;
    }
    let stays: [[&str; 2]; 2] = match lab.datastore() {
        Datastore::Etcd => [
            ["secret", "whereabouts-node-certificates"],
            ["secret", "whereabouts-page-certificates"],
        ],
        Datastore::Kubernetes => [
            ["crd", "addressclaims.ipam.whereabouts.internal"],
            ["crd", "addressblocks.ipam.whereabouts.internal"],
        ],
    };
    for [kind, name] in stays {
        kubectl(lab, &["get", kind, name])?;
    }
    Ok(())
}

fn no_pod_is_left(lab: &Lab, names: &str) -> Result<(), String> {
    let selector = format!("--selector=app.kubernetes.io/name {names}");
    wait_until(LIMIT, || {
        let pods = kubectl(lab, &["get", "pods", &selector, "--output=name"])?;
        Ok((!pods.is_empty()).then_some(pods))
    })
}
