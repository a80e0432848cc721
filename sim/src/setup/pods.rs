//! Containers of one pod: those whose names have the same text before the first dot.

use whereabouts_core::claim::Attachment;

/// The UID of the pod of a container; `None` where the name has no dot, and the UID is not known.
pub(crate) fn uid_of(container: &str) -> Option<String> {
    let (pod, _) = container.split_once('.')?;
    Some(pod.to_owned())
}

/// Whether two attachments are of two containers of one pod.
pub(crate) fn are_of_one(one: &Attachment, other: &Attachment) -> bool {
    let uid = |attachment: &Attachment| uid_of(attachment.container.as_str());
    (&one.network, &one.interface) == (&other.network, &other.interface)
        && one.container != other.container
        && uid(one).is_some()
        && uid(one) == uid(other)
}
