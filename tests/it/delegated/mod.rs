//! Executed as in life: by the reference CNI plugins, which find this one by its name in CNI_PATH,
//! for a container's network namespace.

mod samples;

use std::fs;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::plugin::{Call, Network, Pod, Site};

/// Where Debian's `containernetworking-plugins` has them.
pub(crate) const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// Runs `ip` and gives what it says.
#[track_caller]
pub(crate) fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output();
    let output = output.expect("iproute2 is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("ip says text")
}

/// The addresses of the interface that `ip` shows, with their lengths, but those of the link.
fn addresses(shown: &str) -> Vec<String> {
    let shown: Value = serde_json::from_str(shown).expect("ip says JSON");
    let addresses = shown[0]["addr_info"].as_array().expect("a list").iter();
    let global = addresses.filter(|address| address["scope"] == "global");
    global
        .map(|address| {
            let ip = address["local"].as_str().expect("an address");
            format!("{ip}/{}", address["prefixlen"])
        })
        .collect()
}

/// A name that nobody else has, short enough for an interface.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("wa{}-{number}", process::id())
}

/// A network namespace, removed when the test lets go of it.
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn create() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "run this as root: the test makes network namespaces"
        );
        let name = unique();
        ip(&["netns", "add", &name]);
        Self(name)
    }

    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    /// `eth0` of a container whose network namespace it is.
    pub(crate) fn pod(&self) -> Pod {
        Pod {
            netns: self.path(),
            ..Pod::new(&self.0)
        }
    }

    /// The addresses of an interface of it, with their lengths, but those of the link.
    pub(crate) fn addresses(&self, interface: &str) -> Vec<String> {
        addresses(&ip(&[
            "-n", &self.0, "-json", "address", "show", "dev", interface,
        ]))
    }

    fn has(&self, interface: &str) -> bool {
        let links = ip(&["-n", &self.0, "-json", "link", "show"]);
        let links: Value = serde_json::from_str(&links).expect("ip says JSON");
        let mut links = links.as_array().expect("a list").iter();
        links.any(|link| link["ifname"] == interface)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not `ip`, which panics: the test may be panicking already.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.0])
            .status();
    }
}

/// An interface of the host, removed when the test lets go of it.
pub(crate) struct Link(pub(crate) String);

impl Link {
    /// Of a bridge, which the bridge plugin makes.
    pub(crate) fn to_be_made() -> Self {
        Self(unique())
    }

    /// One end of a cable whose other end nobody uses.
    pub(crate) fn cable() -> Self {
        let (name, peer) = (unique(), unique());
        ip(&["link", "add", &name, "type", "veth", "peer", "name", &peer]);
        let link = Self(name);
        ip(&["link", "set", &link.0, "up"]);
        link
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["link", "delete", &self.0])
            .status();
    }
}

/// Whether this host forwards packets, set back when the test lets go of it: ptp lets it, and a bridge
/// with an address.
pub(crate) struct Forwarding {
    before: [String; 2],
    /// Two tests would remember what the other has set.
    _alone: MutexGuard<'static, ()>,
}

impl Forwarding {
    const SETTINGS: [&str; 2] = [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv6/conf/all/forwarding",
    ];

    pub(crate) fn remember() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        // A test that has failed has set it back, too.
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |setting| fs::read_to_string(setting).expect("the kernel has it");
        Self {
            before: Self::SETTINGS.map(read),
            _alone: alone,
        }
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        for (setting, before) in Self::SETTINGS.into_iter().zip(&self.before) {
            let _ = fs::write(setting, before);
        }
    }
}

/// A call of a reference plugin, which delegates to the built one.
pub(crate) fn call(plugin: &str, network: &Network, verb: &str, pod: &Pod) -> Call {
    let path = format!("{}:{REFERENCE_PLUGINS}", Call::folder().display());
    network
        .call(verb, pod)
        .program(format!("{REFERENCE_PLUGINS}/{plugin}"))
        .variable("CNI_PATH", path)
        // As runtimes do: the reference plugins know none of the pod's keys.
        .variable("CNI_ARGS", format!("IgnoreUnknown=1;{}", pod.arguments))
}

/// Two pods are added, checked where the version has CHECK, and deleted twice.
fn check_in(plugin: &str, version: &str, subnet: u8, keys: Value) {
    let site = Site::shared();
    let cidr = format!("10.213.{subnet}.0/24");
    let network = site
        .network(&cidr)
        .ipam(json!({"gateway": format!("10.213.{subnet}.1")}))
        .version(version)
        .config(json!({"type": plugin}))
        .config(keys);
    let namespaces = [Namespace::create(), Namespace::create()];
    let pods = namespaces.each_ref().map(Namespace::pod);
    let numbered = || namespaces.iter().zip(&pods).zip(2..);
    for ((namespace, pod), number) in numbered() {
        let address = format!("10.213.{subnet}.{number}/24");
        let added = call(plugin, &network, "ADD", pod).run();
        assert_eq!(added.addresses(), [address.as_str()], "{plugin} {version}");
        assert_eq!(namespace.addresses("eth0"), [address.as_str()]);
        if version != "0.3.1" {
            let network = network
                .clone()
                .config(json!({"prevResult": added.result()}));
            call(plugin, &network, "CHECK", pod).run().assert_silent();
        }
    }
    site.assert_at_rest(2);
    for ((namespace, pod), _) in numbered() {
        for _ in 0..2 {
            call(plugin, &network, "DEL", pod).run().assert_silent();
        }
        assert!(!namespace.has("eth0"), "{plugin} {version}");
    }
    site.assert_at_rest(0);
}

/// In all versions that Debian's reference plugins have and that differ.
fn check(plugin: &str, subnet: u8, keys: &Value) {
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        check_in(plugin, version, subnet, keys.clone());
    }
}

#[test]
fn bridge_delegates_to_the_plugin() {
    let bridge = Link::to_be_made();
    check("bridge", 1, &json!({"bridge": bridge.0}));
}

#[test]
fn ptp_delegates_to_the_plugin() {
    let _forwarding = Forwarding::remember();
    check("ptp", 2, &json!({}));
}

#[test]
fn macvlan_delegates_to_the_plugin() {
    let cable = Link::cable();
    check("macvlan", 3, &json!({"master": cable.0}));
}

#[test]
fn a_dual_stack_pod_has_both_addresses_on_its_interface() {
    let site = Site::shared();
    let bridge = Link::to_be_made();
    let namespace = Namespace::create();
    let network = site
        .network("10.213.4.0/24")
        .ipam(json!({"ipRanges": [{"range": "fd00:213::/64"}]}))
        .version("1.0.0")
        .config(json!({"type": "bridge", "bridge": bridge.0}));
    let pod = Pod {
        netns: namespace.path(),
        ..Pod::new("dual")
    };
    let expected = ["10.213.4.1/24", "fd00:213::1/64"];
    let added = call("bridge", &network, "ADD", &pod).run();
    assert_eq!(added.addresses(), expected);
    assert_eq!(namespace.addresses("eth0"), expected);
    call("bridge", &network, "DEL", &pod).run().assert_silent();
    site.assert_at_rest(0);
}

/// The bridge takes the address that its plugin computes, and the first pod gets another.
fn check_bridge_address(key: &str, subnet: u8) {
    let _forwarding = Forwarding::remember();
    let site = Site::shared();
    let bridge = Link::to_be_made();
    let namespace = Namespace::create();
    let network = site
        .network(&format!("10.213.{subnet}.0/24"))
        .ipam(json!({"ipRanges": [{"range": format!("fd00:213:{subnet}::/64")}]}))
        .version("1.0.0")
        .config(json!({"type": "bridge", "bridge": bridge.0, key: true}));
    let pod = namespace.pod();
    let of = |host: u8| {
        [
            format!("10.213.{subnet}.{host}/24"),
            format!("fd00:213:{subnet}::{host}/64"),
        ]
    };
    call("bridge", &network, "ADD", &pod).run().result();
    let shown = ip(&["-json", "address", "show", "dev", &bridge.0]);
    assert_eq!(addresses(&shown), of(1), "{key}");
    assert_eq!(namespace.addresses("eth0"), of(2), "{key}");
    call("bridge", &network, "DEL", &pod).run().assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn a_bridge_that_is_a_gateway_has_an_address_of_its_own() {
    check_bridge_address("isGateway", 6);
    check_bridge_address("isDefaultGateway", 7);
    // Programs in Go take a key in any case.
    check_bridge_address("ISgateway", 8);
}

#[test]
fn the_error_of_a_full_range_reaches_the_runtime_through_the_reference_plugin() {
    let site = Site::shared();
    let bridge = Link::to_be_made();
    let namespace = Namespace::create();
    let network = site
        .network("10.213.5.7/32")
        .version("1.0.0")
        .config(json!({"type": "bridge", "bridge": bridge.0}));
    network.add(&Pod::new("first")).result();
    let late = Pod {
        netns: namespace.path(),
        ..Pod::new("late")
    };
    let refused = call("bridge", &network, "ADD", &late).run();
    assert_eq!(refused.exit_code, Some(1));
    let error = refused.json();
    assert_eq!(error["code"], 101, "{error}");
    assert_eq!(error["msg"], "the range is full", "{error}");
    call("bridge", &network, "DEL", &late).run().assert_silent();
    site.assert_at_rest(1);
}
