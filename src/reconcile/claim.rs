//! A claim, reduced to what the judgement needs.

use whereabouts_core::allocator::{Revision, Stored};
use whereabouts_core::claim::{Attachment, Claim};

/// Bytes of a name: those of a DNS subdomain.
const NAME_BYTES: usize = 253;

/// The place of a pod in the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The name. Another pod may have had it before.
    pub name: String,
}

/// A claim, as it was read before any question to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedClaim {
    /// The attachment, which identifies the claim.
    pub attachment: Attachment,
    /// The revision of the claim's last write. A release checks it.
    pub revision: Revision,
    /// The pod's name, if the claim has both of its parts.
    pub pod: Option<PodName>,
    /// The pod's UID.
    pub pod_uid: Option<String>,
    /// The node's name.
    pub node: Option<String>,
}

/// What the API server can be asked about a claim: its pod, by name and UID, and its node.
pub(crate) struct Subject<'c> {
    pub(crate) pod: &'c PodName,
    pub(crate) uid: &'c str,
    pub(crate) node: &'c str,
}

impl JudgedClaim {
    /// The judged part of `claim`.
    pub fn of(attachment: &Attachment, claim: &Stored<Claim>) -> Self {
        let owner = &claim.value.owner;
        let pod = owner.pod_namespace.clone().zip(owner.pod_name.clone());
        Self {
            attachment: attachment.clone(),
            revision: claim.modified,
            pod: pod.map(|(namespace, name)| PodName { namespace, name }),
            pod_uid: owner.pod_uid.clone(),
            node: owner.node.clone(),
        }
    }

    /// What the API server can be asked about; `None` if it cannot know the pod.
    pub(crate) fn subject(&self) -> Option<Subject<'_>> {
        let uid = self.pod_uid.as_deref().filter(|uid| is_of_api_server(uid));
        let node = self.node.as_deref().filter(|node| is_object_name(node));
        let is_pod = |pod: &&PodName| is_object_name(&pod.namespace) && is_object_name(&pod.name);
        Some(Subject {
            pod: self.pod.as_ref().filter(is_pod)?,
            uid: uid?,
            node: node?,
        })
    }
}

/// Whether the API server made `uid`, a UUID with hyphens. A kubelet makes the UID of a static pod: a hash without
/// hyphens, which no pod object has, also while the static pod lives.
fn is_of_api_server(uid: &str) -> bool {
    let groups: Vec<&str> = uid.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let mut digits = groups.iter().flat_map(|group| group.bytes());
    lengths == [8, 4, 4, 4, 12] && digits.all(|digit| digit.is_ascii_hexdigit())
}

/// Whether an object of Kubernetes can have this name (RFC 1123). Any writer of the store may have put a path or a query in
/// its place, which would become another question.
pub(crate) fn is_object_name(name: &str) -> bool {
    let inner = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= NAME_BYTES
        && bytes.iter().copied().all(inner)
        && is_end(bytes.first())
        && is_end(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_objects_are_asked_for() {
        for name in ["web-0", "a", "node-1.example.com", "0"] {
            assert!(is_object_name(name), "{name}");
        }
        let long = "a".repeat(NAME_BYTES + 1);
        for name in [
            "",
            ".",
            "..",
            "../nodes/x",
            "web-0/log",
            "web-0?watch=1",
            "web-0#",
            "Web",
            "a b",
            "a\n",
            "-a",
            "a-",
            "%2e",
            &long,
        ] {
            assert!(!is_object_name(name), "{name}");
        }
    }

    #[test]
    fn a_kubelet_makes_the_uids_of_static_pods() {
        for (uid, expected) in [
            ("0f5d7e7c-3c5b-4f3e-9a53-2f1b6a1e8d10", true),
            ("0F5D7E7C-3C5B-4F3E-9A53-2F1B6A1E8D10", true),
            ("b6a1d6e0f1c14ac5a1b2c3d4e5f60718", false),
            ("0f5d7e7c-3c5b-4f3e-9a53-2f1b6a1e8d1", false),
            ("0f5d7e7c-3c5b-4f3e-9a53-2f1b6a1e8d1g", false),
            ("0f5d7e7c-3c5b-4f3e-9a53-2f1b6a1e8d10-", false),
            ("unknown", false),
            ("", false),
        ] {
            assert_eq!(is_of_api_server(uid), expected, "{uid}");
        }
    }
}
