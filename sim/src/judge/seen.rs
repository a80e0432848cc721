//! A process as the judge knows it.

use std::collections::BTreeSet;
use std::fmt;

use whereabouts_core::claim::{Ask, Attachment, RangeId};
use whereabouts_store::{LeaseId, Revision};

use super::change::LockAt;
use crate::vocabulary::{NodeId, Verb};

/// A process as the judge knows it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its node.
    pub node: NodeId,
    /// Its verb.
    pub verb: Verb,
    /// Whose addresses it is about; `None` for GC and STATUS.
    pub attachment: Option<Attachment>,
    /// The request of an ADD.
    pub ask: Option<Ask>,
    /// The ranges that it may touch.
    pub ranges: BTreeSet<RangeId>,
    /// The store's revision at its start.
    pub started: Revision,
    /// The store's revision at its end.
    pub ended: Option<Revision>,
    /// The leases it was granted.
    pub leases: BTreeSet<LeaseId>,
    /// Whether a fault has struck it.
    pub is_struck: bool,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, node, .. } = self;
        match &self.attachment {
            Some(attachment) => write!(f, "{verb} of {attachment}"),
            None => write!(f, "{verb} of node {}", node.0),
        }
    }
}

impl Seen {
    /// Whether it holds a lock, or is the one to whom it is offered.
    pub(super) fn may_use(&self, lock: &LockAt) -> bool {
        if lock.is_held() {
            return self.leases.contains(&lock.lease);
        }
        self.is_about(&lock.holder.attachment)
    }

    /// Whether what it does may be about `attachment`: about any, if it is of none; and a DEL stands for the claim of
    /// its container whose interface is not known.
    pub(super) fn is_about(&self, attachment: &Attachment) -> bool {
        let is_own = |own: &Attachment| {
            own == attachment || self.verb == Verb::Del && own.without_interface() == *attachment
        };
        self.attachment.as_ref().is_none_or(is_own)
    }
}
