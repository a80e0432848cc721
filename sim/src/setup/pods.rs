//! Containers of one pod: those whose names have the same text before the first dot.

use whereabouts_core::claim::{Attachment, Owner};

use super::Shape;

/// Names that the pods of a sticky network share.
const NAMES: u64 = 5;

/// The UID of the pod of a container; `None` where the name has no dot, and the UID is not known.
pub(crate) fn uid_of(container: &str) -> Option<String> {
    let (pod, _) = container.split_once('.')?;
    Some(pod.to_owned())
}

/// What the names of a container's pod say. In a sticky network pods of several UIDs have one name, and one name in five
/// keeps no address.
pub(crate) fn named(shape: Shape, container: &str) -> Owner {
    let Some(uid) = uid_of(container).filter(|_| shape == Shape::Sticky) else {
        return Owner::default();
    };
    let number = uid.bytes().map(u64::from).sum::<u64>() % NAMES;
    Owner {
        pod_namespace: Some("ns".to_owned()),
        pod_name: Some(format!("web-{number}")),
        is_durable: number > 0,
        ..Owner::default()
    }
}

/// Whether two attachments are of two containers of one pod.
pub(crate) fn are_of_one(one: &Attachment, other: &Attachment) -> bool {
    let uid = |attachment: &Attachment| uid_of(attachment.container.as_str());
    (&one.network, &one.interface) == (&other.network, &other.interface)
        && one.container != other.container
        && uid(one).is_some()
        && uid(one) == uid(other)
}
