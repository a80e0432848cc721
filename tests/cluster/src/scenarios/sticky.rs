//! A StatefulSet on a sticky network: whose addresses stay, and which end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LIMIT, Site, addresses, expect};
use crate::install;
use crate::lab::{Lab, wait_until};
use crate::objects::{replicas, stateful_set};

const DEPLOYMENT: &str = "deployment/whereabouts-reconcile";

/// An owner ends in the second round at the earliest, and the controller lists objects every two minutes.
const OWNERS_END: Duration = Duration::from_secs(300);

/// The pods of the set by their names, each with its node and its address.
type Places = BTreeMap<String, (String, String)>;

/// The pods of a StatefulSet keep their addresses on another node, and when the set is made again around them. When the set
/// does not want a pod any more, the controller ends its durable owner, and its address is free.
pub(super) fn sticky(lab: &Lab) -> Result<(), String> {
    shorten_owner_grace(lab)?;
    let site = Site::open(lab, "sticky")?;
    site.network(
        "net",
        json!({"range": "10.62.0.0/29", "sticky": "statefulset"}),
    )?;
    lab.apply(&[set(&site, 0, 3)])?;
    site.settles_at(3)?;
    comes_back_elsewhere(&site)?;
    ends_what_is_not_wanted(&site)?;
    is_adopted(&site)?;
    ends_with_its_set(&site)?;
    site.close()?;
    install::apply_overlay(lab)?;
    wait_for_controller(lab)
}

/// A StatefulSet of so many pods, of which the first has the ordinal `start`.
fn set(site: &Site<'_>, start: usize, count: usize) -> Value {
    let mut set = stateful_set(site.namespace, "set", count, &["net"]);
    set["spec"]["ordinals"] = json!({"start": start});
    set
}

/// A pod is deleted while its node takes no pods. It has its address on the other node.
fn comes_back_elsewhere(site: &Site<'_>) -> Result<(), String> {
    let before = places(site)?;
    let (node, address) = before["set-1"].clone();
    site.lab.kubectl(&["cordon", &node])?;
    site.kubectl(&["delete", "pod", "set-1"])?;
    let settled = site.settles_at(3);
    site.lab.kubectl(&["uncordon", &node])?;
    settled?;
    let after = places(site)?;
    expect("address on the other node", &after["set-1"].1, &address)?;
    expect("same node", after["set-1"].0 == node, false)
}

/// The set shrinks at both ends. The owners of two pods end, and that of the pod between them stays.
fn ends_what_is_not_wanted(site: &Site<'_>) -> Result<(), String> {
    let before = places(site)?;
    site.lab.apply(&[set(site, 1, 1)])?;
    site.settles_at(1)?;
    expect("owners before the grace", owners(site)?.len(), 3)?;
    wait_for_owners(site, &["set-1"])?;
    wait_for_events(site, "ordinal-unwanted", 2)?;
    expect("place of set-1", &places(site)?["set-1"], &before["set-1"])
}

/// The set is deleted without its pod, and made again. It adopts the pod, whose address stays over a deletion.
fn is_adopted(site: &Site<'_>) -> Result<(), String> {
    let before = places(site)?;
    site.kubectl(&["delete", "statefulset", "set", "--cascade=orphan"])?;
    site.settles_at(1)?;
    site.lab.apply(&[set(site, 1, 2)])?;
    site.settles_at(2)?;
    expect(
        "place of an orphan",
        &places(site)?["set-1"],
        &before["set-1"],
    )?;
    site.kubectl(&["delete", "pod", "set-1"])?;
    site.settles_at(2)?;
    let after = &places(site)?["set-1"].1;
    expect("address after adoption", after, &before["set-1"].1)
}

/// The set is deleted whole. When its owners have ended, other pods get every address of the range.
fn ends_with_its_set(site: &Site<'_>) -> Result<(), String> {
    site.kubectl(&["delete", "statefulset", "set"])?;
    site.settles_at(0)?;
    expect("owners before the grace", owners(site)?.len(), 2)?;
    wait_for_owners(site, &[])?;
    wait_for_events(site, "stateful-set-gone", 2)?;
    let plain = replicas("ReplicaSet", site.namespace, "plain", 6, &["net"]);
    site.lab.apply(&[plain])?;
    site.settles_at(6)?;
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses("10.62.0.", 1, 6),
    )
}

fn places(site: &Site<'_>) -> Result<Places, String> {
    let claims = site.lab.tool(&["claims", "--namespace", site.namespace])?;
    let claims = claims.as_array().into_iter().flatten();
    let claims = claims.filter(|claim| claim["network"] == "net");
    let places = claims.map(|claim| {
        let address = text(&claim["addresses"][0]["address"]);
        let place = (text(&claim["node"]), address);
        (text(&claim["pod"]["name"]), place)
    });
    Ok(places.collect())
}

/// The pods whose names have durable owners.
fn owners(site: &Site<'_>) -> Result<Vec<String>, String> {
    let owners = site.lab.tool(&["owners"])?;
    let owners = owners.as_array().into_iter().flatten();
    let of_site = owners.filter(|owner| owner["namespace"] == site.namespace);
    Ok(of_site.map(|owner| text(&owner["pod"])).collect())
}

fn wait_for_owners(site: &Site<'_>, expected: &[&str]) -> Result<(), String> {
    wait_until(OWNERS_END, || {
        let owners = owners(site)?;
        Ok((owners != expected).then(|| format!("owners: {owners:?} instead of {expected:?}")))
    })
}

/// Waits until so many Events tell of the end of an owner by this evidence. An Event is written just after the end.
fn wait_for_events(site: &Site<'_>, evidence: &str, count: usize) -> Result<(), String> {
    wait_until(LIMIT, || {
        let events = site.lab.get(&["events", "--namespace", site.namespace])?;
        let events = events["items"].as_array().into_iter().flatten();
        let is_told = |event: &&Value| {
            let message = text(&event["message"]);
            event["reason"] == "AddressReleased" && message.ends_with(evidence)
        };
        let told = events.filter(is_told).count();
        Ok((told != count).then(|| format!("{told} Events tell {evidence}, not {count}")))
    })
}

/// Gives the controller the shortest grace.
fn shorten_owner_grace(lab: &Lab) -> Result<(), String> {
    let deployment = lab.get(&[DEPLOYMENT, "--namespace=kube-system"])?;
    let mut args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let all = args.as_array_mut().ok_or("the controller has no options")?;
    let is_grace = |arg: &&mut Value| text(arg).starts_with("--owner-grace=");
    let grace = all.iter_mut().find(is_grace);
    *grace.ok_or("the controller has no --owner-grace")? = json!("--owner-grace=30s");
    let place = "/spec/template/spec/containers/0/args";
    let patch = json!([{"op": "replace", "path": place, "value": args}]).to_string();
    install::kubectl(
        lab,
        &["patch", DEPLOYMENT, "--type=json", "--patch", &patch],
    )?;
    wait_for_controller(lab)
}

fn wait_for_controller(lab: &Lab) -> Result<(), String> {
    let status = ["rollout", "status", DEPLOYMENT, "--timeout=180s"];
    install::kubectl(lab, &status).map(drop)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
