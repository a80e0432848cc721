//! Durable owners: a pod's name keeps its addresses across deletion, drain and the loss of its node.
//!
//! A pod of a StatefulSet is deleted and made again under the same name. In a sticky network the name owns the
//! addresses. While an attachment uses them, they are in the attachment's claim, and the owner names that attachment.
//! After its DEL they are in the owner, which is at rest. So each address is in exactly one record, and its bit stays set.

use std::fmt;
use std::time::Duration;

use crate::address::Name;
use crate::claim::{Attachment, Held, Owner};

/// The name that keeps addresses: a pod's name, with a network and an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurableOwner {
    /// `name` of the network configuration.
    pub network: Name,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// `CNI_IFNAME`.
    pub interface: String,
}

impl DurableOwner {
    /// The durable owner of the addresses of `attachment`, if there is one. A record without the pod's names has none.
    pub fn of(attachment: &Attachment, owner: &Owner) -> Option<Self> {
        let known = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        owner.is_durable.then_some(())?;
        Some(Self {
            network: attachment.network.clone(),
            namespace: known(&owner.pod_namespace)?,
            pod: known(&owner.pod_name)?,
            interface: attachment.interface.clone(),
        })
    }

    /// The attachment of `container` that this owner's addresses are for.
    pub fn attachment(&self, container: &Name) -> Attachment {
        Attachment {
            network: self.network.clone(),
            container: container.clone(),
            interface: self.interface.clone(),
        }
    }
}

impl fmt::Display for DurableOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            network,
            namespace,
            pod,
            interface,
        } = self;
        write!(
            f,
            "{interface} of pod {namespace}/{pod} in network {network}"
        )
    }
}

/// The state of a durable owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// The attachment of this container has the addresses. They are in its claim.
    Attached(Name),
    /// No attachment has the addresses.
    Resting {
        /// The addresses, in the order of the request's wants; never empty.
        held: Vec<Held>,
        /// The time of the release since the Unix epoch, by the clock of the node. It is for people only.
        since: Duration,
    },
}

/// The characters of the suffix that Kubernetes draws for a name. They may all be digits.
const GENERATED_SUFFIX: usize = 5;

/// The ordinal of the pod `name` in its StatefulSet, and the StatefulSet's name; `None` if no StatefulSet makes a pod of
/// this name. Five digits are taken for a drawn suffix: the pod of a Deployment must not own its address for ever.
pub fn stateful_name(name: &str) -> Option<(&str, u32)> {
    let (set, digits) = name.rsplit_once('-')?;
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let is_drawn = digits.len() == GENERATED_SUFFIX;
    let is_shortest = digits == "0" || !digits.starts_with('0');
    let ordinal = digits
        .parse()
        .ok()
        .filter(|_| is_plain && is_shortest && !is_drawn)?;
    (!set.is_empty()).then_some((set, ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stateful_pods_are_told_from_others() {
        for (name, expected) in [
            ("web-0", Some(("web", 0))),
            ("my-web-17", Some(("my-web", 17))),
            ("web-4294967295", Some(("web", u32::MAX))),
            ("web-4294967296", None),
            ("web-01", None),
            ("web-", None),
            ("web-+1", None),
            ("-1", None),
            ("web", None),
            ("web-7d4b9c-xk2vp", None),
            ("web-7d4b9c-24567", None),
            ("web-9999", Some(("web", 9999))),
            ("web-100000", Some(("web", 100_000))),
            ("", None),
        ] {
            assert_eq!(stateful_name(name), expected, "{name}");
        }
    }
}
