//! The scenarios. Each has a namespace of its own, and ends with a cluster as it was: installed, no pod, no claim.

mod admission;
mod changes;
mod chart;
mod dead_node;
mod faults;
mod kubectl;
mod moves;
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
use crate::lab::{Datastore, Lab, wait_until};
use crate::objects;

/// A scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: &'static str,
    on_etcd: Runs,
    on_kubernetes: Runs,
    /// It.
    pub(crate) run: fn(&Lab) -> Result<(), String>,
}

/// When a scenario runs on a datastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// Every change must pass it.
    ForEachChange,
    /// It is for the long judges.
    AtLength,
    /// It is about something that the datastore does not have.
    Never,
}

impl Scenario {
    /// When it runs on this datastore.
    pub(crate) fn runs_on(&self, datastore: Datastore) -> Runs {
        match datastore {
            Datastore::Etcd => self.on_etcd,
            Datastore::Kubernetes => self.on_kubernetes,
        }
    }
}

/// All of them, in the order in which they run. The datastore `kubernetes` has neither
/// certificates nor an etcd.
pub(crate) const SCENARIOS: &[Scenario] = &{
    use Runs::{AtLength as Long, ForEachChange as Each, Never};
    [
        on("one-pod", Each, Each, networks::one_pod),
        on("several-networks", Each, Each, networks::several_networks),
        on("named-networks", Each, Long, networks::named_networks),
        on(
            "requested-addresses",
            Each,
            Long,
            networks::requested_addresses,
        ),
        on("samples", Each, Long, networks::samples),
        on("cni-tools", Each, Long, tools::cni_tools),
        on("exact-fill", Each, Each, sets::exact_fill),
        on("exhausted", Each, Each, sets::exhausted),
        on("stateful-set", Each, Long, sets::stateful_set_scales),
        on("sticky", Each, Long, sticky::sticky),
        on("rolling-restart", Long, Long, sets::rolling_restart),
        on("forced-deletions", Each, Long, faults::forced_deletions),
        on("restarts", Long, Long, faults::restarts),
        on("new-sandboxes", Long, Long, faults::new_sandboxes),
        on("power-failure", Each, Each, faults::power_failure),
        on("cut-off", Long, Long, faults::cut_off),
        on("dead-node", Each, Long, dead_node::dead_node),
        on("out-of-service", Long, Long, dead_node::out_of_service),
        on("cut-off-forced", Long, Long, dead_node::cut_off_forced),
        on("server-killed", Long, Long, faults::server_killed),
        on("etcd-killed", Long, Never, faults::etcd_killed),
        on("reaper", Each, Long, reaper::reaper),
        on("admission", Each, Long, admission::admission),
        on("kubectl", Each, Never, kubectl::kubectl_plugin),
        on("upgrade", Each, Each, changes::upgrade),
        on(
            "without-daemon-set",
            Long,
            Each,
            changes::without_daemon_set,
        ),
        on("certificates", Long, Never, changes::certificates),
        on("uninstall", Long, Long, changes::uninstall),
        on("chart", Each, Long, chart::chart),
        on("moves", Long, Never, moves::moves),
    ]
};

const fn on(
    name: &'static str,
    on_etcd: Runs,
    on_kubernetes: Runs,
    run: fn(&Lab) -> Result<(), String>,
) -> Scenario {
    Scenario {
        name,
        on_etcd,
        on_kubernetes,
        run,
    }
}

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
