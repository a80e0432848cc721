//! The scenarios. Each has a namespace of its own, and ends with a cluster as it was: installed, no pod, no claim.

mod admission;
mod changes;
mod chart;
mod dead_node;
mod faults;
mod networks;
mod reaper;
mod sets;
mod sticky;
mod tools;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::install::is_ready;
use crate::judge;
use crate::lab::{Lab, wait_until};
use crate::objects;

/// A scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether every change must pass it; the others are for the long judges.
    pub(crate) for_each_change: bool,
    /// It.
    pub(crate) run: fn(&Lab) -> Result<(), String>,
}

const fn short(name: &'static str, run: fn(&Lab) -> Result<(), String>) -> Scenario {
    Scenario {
        name,
        for_each_change: true,
        run,
    }
}

const fn long(name: &'static str, run: fn(&Lab) -> Result<(), String>) -> Scenario {
    Scenario {
        for_each_change: false,
        ..short(name, run)
    }
}

/// All of them, in the order in which they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    short("one-pod", networks::one_pod),
    short("several-networks", networks::several_networks),
    short("named-networks", networks::named_networks),
    short("requested-addresses", networks::requested_addresses),
    short("samples", networks::samples),
    short("cni-tools", tools::cni_tools),
    short("exact-fill", sets::exact_fill),
    short("exhausted", sets::exhausted),
    short("stateful-set", sets::stateful_set_scales),
    short("sticky", sticky::sticky),
    long("rolling-restart", sets::rolling_restart),
    short("forced-deletions", faults::forced_deletions),
    long("restarts", faults::restarts),
    long("new-sandboxes", faults::new_sandboxes),
    short("power-failure", faults::power_failure),
    long("cut-off", faults::cut_off),
    short("dead-node", dead_node::dead_node),
    long("out-of-service", dead_node::out_of_service),
    long("cut-off-forced", dead_node::cut_off_forced),
    long("etcd-killed", faults::etcd_killed),
    short("reaper", reaper::reaper),
    short("admission", admission::admission),
    short("upgrade", changes::upgrade),
    long("certificates", changes::certificates),
    long("uninstall", changes::uninstall),
    short("chart", chart::chart),
];

/// How long pods may take to come, to go, and to agree with the claims.
const LIMIT: Duration = Duration::from_secs(120);

/// How long a set has one size while pods come and go: about as long as its pods need.
const BETWEEN_SIZES: Duration = Duration::from_secs(4);

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

/// Does something while a Deployment grows and shrinks on a network called `net`, and waits until all is well again.
fn while_pods_come_and_go(
    site: &Site<'_>,
    act: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let scale = |count| {
        let set = objects::replicas("Deployment", site.namespace, "set", count, &["net"]);
        site.lab.apply(&[set])
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let sizes = [10, 3].into_iter().cycle();
            sizes
                .take_while(|_| !over.load(Ordering::Relaxed))
                .try_for_each(|count| {
                    scale(count)?;
                    thread::sleep(BETWEEN_SIZES);
                    Ok(())
                })
        });
        let acted = act();
        over.store(true, Ordering::Relaxed);
        let churned = churn.join().expect("no thread panics");
        acted.and(churned)
    })?;
    scale(12)?;
    site.settles_at(12)
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
