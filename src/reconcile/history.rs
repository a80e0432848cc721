//! What earlier rounds saw of a node.

use std::time::Duration;

use crate::observation::NodeState;

/// An unbroken series of looks at a node that were alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeHistory {
    /// Each look found the node Ready, without a transition between them.
    Ready {
        /// The end of the first look.
        since: Duration,
        /// The begin of the last look.
        looked: Duration,
        /// `renewTime` at the last look.
        renewed: String,
        /// `lastTransitionTime`.
        transition: String,
        /// The kubelet has renewed the Lease after this moment, by the clock of the looks.
        heard_after: Option<Duration>,
    },
    /// Each look found no Node object.
    Missing {
        /// The end of the first look.
        since: Duration,
    },
}

impl NodeHistory {
    /// The series that a look continues or begins; `None` if what the look saw proves nothing later.
    pub(crate) fn after(
        earlier: Option<&Self>,
        state: &NodeState,
        begun: Duration,
        ended: Duration,
    ) -> Option<Self> {
        match (earlier, state) {
            (
                Some(Self::Ready {
                    since,
                    looked,
                    renewed: last,
                    transition: same,
                    heard_after,
                }),
                NodeState::Ready {
                    renewed,
                    transition,
                },
            ) if same == transition => Some(Self::Ready {
                since: *since,
                looked: begun,
                renewed: renewed.clone(),
                transition: transition.clone(),
                // The last look saw the earlier value, so the new value was written after that look.
                heard_after: if last == renewed {
                    *heard_after
                } else {
                    Some(*looked)
                },
            }),
            (
                _,
                NodeState::Ready {
                    renewed,
                    transition,
                },
            ) => Some(Self::Ready {
                since: ended,
                looked: begun,
                renewed: renewed.clone(),
                transition: transition.clone(),
                heard_after: None,
            }),
            (Some(missing @ Self::Missing { .. }), NodeState::Missing) => Some(missing.clone()),
            (_, NodeState::Missing) => Some(Self::Missing { since: ended }),
            (_, NodeState::NotReady | NodeState::OutOfService | NodeState::Unknown(_)) => None,
        }
    }
}
