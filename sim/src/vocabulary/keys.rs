//! Kinds of keys, told by their bytes.

/// Whether a key says whose the store is.
pub(crate) fn is_cluster(key: &[u8]) -> bool {
    key.get(2..) == Some(b"/cluster")
}

/// Whether a key is a lock's.
pub(crate) fn is_lock(key: &[u8]) -> bool {
    contains(key, b"/lock/")
}

/// Whether a key is a ticket's. Names are percent-encoded, so the word stands nowhere else.
pub(crate) fn is_ticket(key: &[u8]) -> bool {
    contains(key, b"/queue/")
}

/// Whether a key is a claim's.
pub(crate) fn is_claim(key: &[u8]) -> bool {
    contains(key, b"/claim/")
}

/// Whether a key is that of a claim by its node.
pub(crate) fn is_on_node(key: &[u8]) -> bool {
    contains(key, b"/node/")
}

/// Whether a key is a durable owner's.
pub(crate) fn is_owner(key: &[u8]) -> bool {
    contains(key, b"/owner/")
}

/// Whether a key is a block's.
pub(crate) fn is_block(key: &[u8]) -> bool {
    contains(key, b"/open/") || contains(key, b"/full/")
}

/// Whether the third part of `/prefix/part/...` is `part`.
fn contains(key: &[u8], part: &[u8]) -> bool {
    key.get(2..).is_some_and(|rest| rest.starts_with(part))
}
