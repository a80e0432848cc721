//! The Kubernetes version's reservations of addresses over all ranges of a pool, each named after its
//! address.

use std::collections::BTreeMap;

use serde_json::Value;

use super::objects::name_of;
use super::{Found, names};

/// Pod and interface of each reservation, by its name. A reservation that agrees with an allocation is
/// taken out, so that the rest is without one.
pub(super) struct Reservations(BTreeMap<String, (String, String)>);

/// The reservation of an allocation's address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// The same.
    Agrees,
    /// There is none.
    Missing,
    /// It is for another pod, or another interface of it.
    Differs(String),
}

impl Reservations {
    /// Reads `documents`.
    pub(super) fn of(documents: &[Value]) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entry = |document: &Value| {
            let spec = &document["spec"];
            let whose = (text(&spec["podref"]), text(&spec["ifname"]));
            (name_of(document).to_owned(), whose)
        };
        Self(documents.iter().map(entry).collect())
    }

    /// Compares an allocation with the reservation of its address. An interface that either does not name is no
    /// contradiction: older versions do not.
    pub(super) fn take(&mut self, network_name: Option<&str>, found: &Found) -> Reserved {
        let name = names::reservation(network_name, found.address);
        let Some((podref, ifname)) = self.0.get(&name) else {
            return Reserved::Missing;
        };
        let interface = found.interface.as_deref();
        let is_other = |other: &str| !ifname.is_empty() && ifname != other;
        if found.podref().unwrap_or_default() != *podref || interface.is_some_and(is_other) {
            let whose = [podref.as_str(), ifname.as_str()].join(" ");
            return Reserved::Differs(format!("reservation {name} is of {}", whose.trim()));
        }
        self.0.remove(&name);
        Reserved::Agrees
    }

    /// Forgets the reservation with this name.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The rest: the name of each, and its pod.
    pub(super) fn into_rest(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().map(|(name, (podref, _))| (name, podref))
    }
}
