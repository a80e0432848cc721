//! Sets of pods on ranges that they fill.

use serde_json::json;

use super::{Site, addresses, expect};
use crate::install::is_ready;
use crate::judge;
use crate::lab::{Lab, wait_until};
use crate::objects::{pod, replicas, stateful_set};

/// A ReplicaSet that takes every address of its range.
pub(super) fn exact_fill(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "exact-fill")?;
    site.network("net", json!({"range": "10.45.0.0/28"}))?;
    lab.apply(&[replicas("ReplicaSet", site.namespace, "set", 14, &["net"])])?;
    site.settles_at(14)?;
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses("10.45.0.", 1, 14),
    )?;
    site.close()
}

/// A pod that finds its range full starts as soon as another has gone.
pub(super) fn exhausted(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "exhausted")?;
    site.network("net", json!({"range": "10.46.0.0/30"}))?;
    lab.apply(&[
        pod(site.namespace, "first", &["net"]),
        pod(site.namespace, "second", &["net"]),
    ])?;
    site.settles_at(2)?;
    lab.apply(&[pod(site.namespace, "third", &["net"])])?;
    wait_until(super::LIMIT, || {
        let event = site.last_event()?;
        Ok((!event.contains("is full"))
            .then(|| format!("no event tells that the range is full: {event}")))
    })?;
    let ready = site.pods()?.iter().filter(|pod| is_ready(pod)).count();
    expect("ready pods of a full range", ready, 2)?;
    site.kubectl(&["delete", "pod", "first"])?;
    site.settles_at(2)?;
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses("10.46.0.", 1, 2),
    )?;
    site.close()
}

/// A StatefulSet up, down and up again.
pub(super) fn stateful_set_scales(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "stateful-set")?;
    site.network("net", json!({"range": "10.47.0.0/29"}))?;
    for count in [3, 6, 2, 6] {
        lab.apply(&[stateful_set(site.namespace, "set", count, &["net"])])?;
        site.settles_at(count)?;
        expect("addresses", site.addresses("net1")?.len(), count)?;
    }
    site.close()
}

/// Every pod of a full range is replaced, twice, one after the other.
pub(super) fn rolling_restart(lab: &Lab) -> Result<(), String> {
    let site = Site::open(lab, "rolling-restart")?;
    site.network("net", json!({"range": "10.48.0.0/29"}))?;
    let mut deployment = replicas("Deployment", site.namespace, "set", 6, &["net"]);
    // The range has no address for a pod more.
    deployment["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 2}});
    lab.apply(&[deployment])?;
    site.settles_at(6)?;
    for _ in 0..2 {
        site.kubectl(&["rollout", "restart", "deployment/set"])?;
        site.kubectl(&["rollout", "status", "deployment/set", "--timeout=180s"])?;
        site.settles_at(6)?;
    }
    expect(
        "addresses",
        site.addresses("net1")?,
        addresses("10.48.0.", 1, 6),
    )?;
    judge::agree(lab, super::LIMIT)?;
    site.close()
}
