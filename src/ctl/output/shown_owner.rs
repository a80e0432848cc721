//! A durable owner as it is shown.

use serde_json::{Value, json};
use whereabouts_core::allocator::Stored;
use whereabouts_core::durable::{DurableOwner, OwnerState};

use crate::output::shown::{addresses, short};
use crate::output::{age, moment};

/// A durable owner, as it is stored.
#[derive(Clone)]
pub(crate) struct ShownOwner {
    /// The owner.
    pub(crate) owner: DurableOwner,
    /// Its state.
    pub(crate) state: Stored<OwnerState>,
}

/// The columns of [`ShownOwner::row`].
pub(crate) const COLUMNS: &[&str] = &["POD", "INTERFACE", "NETWORK", "STATE", "ADDRESSES", "SINCE"];

impl ShownOwner {
    /// Whether no attachment has its addresses.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.state.value, OwnerState::Resting { .. })
    }

    /// The addresses that it keeps itself.
    pub(crate) fn addresses(&self) -> String {
        match &self.state.value {
            OwnerState::Attached(_) => "-".to_owned(),
            OwnerState::Resting { held, .. } => {
                let addresses = held.iter().map(|held| held.address.to_string());
                addresses.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// It in one row.
    pub(crate) fn row(&self) -> Vec<String> {
        let DurableOwner {
            network,
            namespace,
            pod,
            interface,
        } = &self.owner;
        let (state, since) = match &self.state.value {
            OwnerState::Attached(container) => {
                let state = format!("container {}", short(container.as_str()));
                (state, "-".to_owned())
            }
            OwnerState::Resting { since, .. } => ("at rest".to_owned(), age(*since)),
        };
        vec![
            format!("{namespace}/{pod}"),
            interface.clone(),
            network.to_string(),
            state,
            self.addresses(),
            since,
        ]
    }

    /// All of it.
    pub(crate) fn value(&self) -> Value {
        let DurableOwner {
            network,
            namespace,
            pod,
            interface,
        } = &self.owner;
        let (container, held, since) = match &self.state.value {
            OwnerState::Attached(container) => (Some(container.as_str()), &[][..], Value::Null),
            OwnerState::Resting { held, since } => (None, held.as_slice(), moment(*since)),
        };
        json!({
            "network": network.as_str(),
            "namespace": namespace,
            "pod": pod,
            "interface": interface,
            "container": container,
            "addresses": addresses(held),
            "since": since,
            "revision": self.state.modified,
        })
    }
}
