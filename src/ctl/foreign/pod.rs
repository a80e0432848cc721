//! Pods: on which node each is, and which addresses its interfaces have.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use whereabouts_core::address::{Address, Name};

/// Under which annotations Multus tells the interfaces of a pod, the older one last.
const STATUS: [&str; 2] = [
    "k8s.v1.cni.cncf.io/network-status",
    "k8s.v1.cni.cncf.io/networks-status",
];

/// A pod.
pub(super) struct Pod {
    /// Its node.
    pub(super) node: Option<String>,
    /// Its UID.
    pub(super) uid: Option<String>,
    /// Its interfaces; `None` when it does not tell them.
    pub(super) status: Option<Vec<Interface>>,
    /// The addresses of its primary interface.
    primary: BTreeSet<Address>,
    /// Whether it has run to its end, and its runtime has removed its interfaces.
    pub(super) has_ended: bool,
}

/// An interface of a pod.
pub(super) struct Interface {
    /// Of which network, as Multus calls it.
    pub(super) network: String,
    /// Its name.
    pub(super) name: String,
    /// Its addresses.
    pub(super) addresses: BTreeSet<Address>,
}

/// The evidence of a pod on addresses that are said to be its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It has them, on an interface of this network, if it tells which.
    Confirmed(Option<String>),
    /// It does not tell.
    Silent,
    /// It has none of them.
    Denied(String),
    /// It has them otherwise than they are said to be.
    Contradicted(String),
}

impl Pod {
    /// Reads one.
    pub(super) fn of(document: &Value) -> Self {
        let text = |value: &Value| {
            let text = value.as_str().filter(|text| Name::new(text).is_ok());
            text.map(str::to_owned)
        };
        let annotations = &document["metadata"]["annotations"];
        let annotation = STATUS.iter().find_map(|key| annotations[key].as_str());
        let (status, phase) = (&document["status"], document["status"]["phase"].as_str());
        Self {
            node: text(&document["spec"]["nodeName"]),
            uid: text(&document["metadata"]["uid"]),
            status: annotation.and_then(interfaces),
            primary: addresses(&status["podIPs"], |entry| entry["ip"].as_str()),
            has_ended: matches!(phase, Some("Succeeded" | "Failed")),
        }
    }

    /// Whether it tells its addresses, and has none that `is_meant`.
    pub(super) fn denies(&self, is_meant: impl Fn(Address) -> bool) -> bool {
        let Some(interfaces) = &self.status else {
            return self.has_ended;
        };
        let mut addresses = interfaces.iter().flat_map(|one| &one.addresses);
        self.has_ended || !addresses.any(|address| is_meant(*address))
    }

    /// The interface that has this address.
    pub(super) fn interface_of(&self, address: Address) -> Option<&Interface> {
        let mut interfaces = self.status.iter().flatten();
        interfaces.find(|interface| interface.addresses.contains(&address))
    }

    /// Its evidence on `wanted`, which are said to be of its interface `name`.
    pub(super) fn evidence(&self, name: Option<&str>, wanted: &[Address]) -> Evidence {
        if self.has_ended {
            return Evidence::Denied("has ended".to_owned());
        }
        let shown = wanted
            .iter()
            .filter(|one| self.interface_of(**one).is_some());
        let (count, first) = (shown.clone().count(), shown.clone().next());
        let Some(interface) = first.and_then(|address| self.interface_of(*address)) else {
            if wanted.iter().all(|one| self.primary.contains(one)) {
                return Evidence::Confirmed(None);
            }
            return match &self.status {
                None => Evidence::Silent,
                Some(_) => Evidence::Denied(format!(
                    "has no interface with {}",
                    wanted.first().expect("an attachment has an address")
                )),
            };
        };
        if count < wanted.len() || !wanted.iter().all(|one| interface.addresses.contains(one)) {
            let reason = "has a part of these addresses, or has them on several interfaces";
            return Evidence::Contradicted(reason.to_owned());
        }
        match name {
            Some(name) if name != interface.name => {
                Evidence::Contradicted(format!("has them on {}, not on {name}", interface.name))
            }
            Some(_) | None => Evidence::Confirmed(Some(interface.network.clone())),
        }
    }
}

/// The interfaces that an annotation tells; nothing when a part of it cannot be read.
fn interfaces(annotation: &str) -> Option<Vec<Interface>> {
    let entries: Vec<Value> = serde_json::from_str(annotation).ok()?;
    let is_address = |text: &Value| {
        text.as_str()
            .is_some_and(|text| text.parse::<IpAddr>().is_ok())
    };
    let is_read = |entry: &Value| match &entry["ips"] {
        Value::Array(ips) => ips.iter().all(is_address),
        ips => ips.is_null() && entry.is_object(),
    };
    if !entries.iter().all(is_read) {
        return None;
    }
    let interface = |entry: &Value| Interface {
        network: entry["name"].as_str().unwrap_or_default().to_owned(),
        name: entry["interface"].as_str().unwrap_or_default().to_owned(),
        addresses: addresses(&entry["ips"], Value::as_str),
    };
    Some(entries.iter().map(interface).collect())
}

fn addresses(list: &Value, text: impl Fn(&Value) -> Option<&str>) -> BTreeSet<Address> {
    let entries = list.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| text(entry)?.parse::<IpAddr>().ok())
        .map(Address::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(pod: &Value, interface: Option<&str>, wanted: &[&str], expected: &Evidence) {
        let wanted: Vec<Address> = wanted
            .iter()
            .map(|one| one.parse::<IpAddr>().expect("an address").into())
            .collect();
        assert_eq!(
            Pod::of(pod).evidence(interface, &wanted),
            *expected,
            "{wanted:?}"
        );
    }

    #[test]
    fn a_pod_tells_which_interface_of_which_network_has_an_address() {
        let status = r#"[{"name": "a/net", "interface": "net1", "ips": ["10.0.0.1", "fd00::1"]},
            {"name": "b/net", "interface": "net2", "ips": ["10.0.0.2"]}]"#;
        let pod = json!({"metadata": {"annotations": {STATUS[0]: status}},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.9.0.1"}]}});
        let confirmed = |network: &str| Evidence::Confirmed(Some(network.to_owned()));
        let denied = |reason: &str| Evidence::Denied(reason.to_owned());
        let contradicted = |reason: &str| Evidence::Contradicted(reason.to_owned());
        check(
            &pod,
            Some("net1"),
            &["10.0.0.1", "fd00::1"],
            &confirmed("a/net"),
        );
        check(&pod, None, &["10.0.0.2"], &confirmed("b/net"));
        check(
            &pod,
            Some("eth0"),
            &["10.9.0.1"],
            &Evidence::Confirmed(None),
        );
        check(
            &pod,
            Some("net1"),
            &["10.0.0.3"],
            &denied("has no interface with 10.0.0.3"),
        );
        check(
            &pod,
            Some("net1"),
            &["10.0.0.2"],
            &contradicted("has them on net2, not on net1"),
        );
        for wanted in [["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.3"]] {
            let reason = "has a part of these addresses, or has them on several interfaces";
            check(&pod, Some("net1"), &wanted, &contradicted(reason));
        }
        let mut ended = pod.clone();
        ended["status"]["phase"] = "Succeeded".into();
        check(&ended, Some("net1"), &["10.0.0.1"], &denied("has ended"));
    }

    #[test]
    fn a_pod_without_a_readable_status_tells_nothing() {
        for status in [Value::Null, "".into(), "{".into(), "{}".into()] {
            let pod = json!({"metadata": {"annotations": {STATUS[0]: status}}});
            check(&pod, Some("net1"), &["10.0.0.1"], &Evidence::Silent);
        }
        check(&json!({}), Some("net1"), &["10.0.0.1"], &Evidence::Silent);
    }
}
