//! The scenarios. Each has a namespace of its own, and ends with a cluster as it was: no pod, no claim.

mod faults;
mod networks;
mod sets;

use std::time::Duration;

use serde_json::Value;

use crate::install::is_ready;
use crate::judge;
use crate::lab::{Lab, wait_until};
use crate::objects;

/// A scenario, by its name.
pub(crate) type Scenario = (&'static str, fn(&Lab) -> Result<(), String>);

/// All of them, in the order in which they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    ("one-pod", networks::one_pod),
    ("several-networks", networks::several_networks),
    ("named-networks", networks::named_networks),
    ("exact-fill", sets::exact_fill),
    ("exhausted", sets::exhausted),
    ("stateful-set", sets::stateful_set_scales),
    ("rolling-restart", sets::rolling_restart),
    ("forced-deletions", faults::forced_deletions),
    ("restarts", faults::restarts),
    ("new-sandboxes", faults::new_sandboxes),
    ("power-failure", faults::power_failure),
    ("cut-off", faults::cut_off),
];

/// How long pods may take to come, to go, and to agree with the claims.
const LIMIT: Duration = Duration::from_secs(120);

/// A scenario's namespace.
struct Site<'l> {
    lab: &'l Lab,
    namespace: &'static str,
}

impl<'l> Site<'l> {
    /// An empty namespace in a cluster in which pods and claims agree.
    fn open(lab: &'l Lab, namespace: &'static str) -> Result<Self, String> {
        lab.apply(&[objects::namespace(namespace)])?;
        Ok(Self { lab, namespace })
    }

    /// Adds a network.
    fn network(&self, name: &str, ipam: Value) -> Result<(), String> {
        self.lab
            .apply(&[objects::network(self.namespace, name, ipam)])
    }

    /// Waits until exactly `count` pods are ready, and pods and claims agree.
    fn settles_at(&self, count: usize) -> Result<(), String> {
        self.has_ready(count)?;
        judge::agree(self.lab, LIMIT).map(drop)
    }

    /// Waits until exactly `count` pods are ready, and no other is there.
    fn has_ready(&self, count: usize) -> Result<(), String> {
        wait_until(LIMIT, || {
            let pods = self.pods()?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let events = || self.last_event();
            Ok(if (ready, pods.len()) == (count, count) {
                None
            } else {
                Some(format!(
                    "{ready} of {} pods are ready, not {count}: {}",
                    pods.len(),
                    events()?
                ))
            })
        })
    }

    fn pods(&self) -> Result<Vec<Value>, String> {
        let listed = self.lab.get(&["pods", "--namespace", self.namespace])?;
        Ok(listed["items"].as_array().cloned().unwrap_or_default())
    }

    fn last_event(&self) -> Result<String, String> {
        let order = "--sort-by=.lastTimestamp";
        let events = self
            .lab
            .get(&["events", "--namespace", self.namespace, order])?;
        let last = events["items"]
            .as_array()
            .and_then(|events| events.last().cloned());
        Ok(last.map_or_else(String::new, |event| event["message"].to_string()))
    }

    /// Runs kubectl in the namespace.
    fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.lab
            .kubectl(&[&["--namespace", self.namespace], arguments].concat())
    }

    /// The addresses of `interface` in the pods' network-status, sorted.
    fn addresses(&self, interface: &str) -> Result<Vec<String>, String> {
        let mut addresses = Vec::new();
        for pod in self.pods()? {
            let status = &pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"];
            let Some(status) = status.as_str() else {
                continue;
            };
            let networks: Value =
                serde_json::from_str(status).map_err(|error| error.to_string())?;
            for network in networks.as_array().into_iter().flatten() {
                if network["interface"] == interface {
                    let ips = network["ips"].as_array().into_iter().flatten();
                    addresses.extend(ips.filter_map(Value::as_str).map(str::to_owned));
                }
            }
        }
        addresses.sort();
        Ok(addresses)
    }

    /// Deletes the namespace with all that is in it, and waits until no claim is left of it.
    fn close(self) -> Result<(), String> {
        self.lab
            .kubectl(&["delete", "namespace", self.namespace, "--timeout=120s"])?;
        judge::agree(self.lab, LIMIT).map(drop)
    }
}

/// Fails with both if they differ.
#[expect(
    clippy::needless_pass_by_value,
    reason = "as with assert_eq, both are at hand"
)]
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?} instead of {expected:?}"))
}

/// `10.0.0.1` to `10.0.0.<last>`, of a prefix `10.0.0.`, sorted as text.
fn addresses(prefix: &str, from: u8, until: u8) -> Vec<String> {
    let mut addresses: Vec<String> = (from..=until)
        .map(|last| format!("{prefix}{last}"))
        .collect();
    addresses.sort();
    addresses
}
