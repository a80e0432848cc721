//! What the API server answered, and what counts as evidence.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::claim::PodName;

/// What a live GET of a pod's name found: the UID of the pod of that name, no pod, or an error.
pub type Answer = Result<Option<String>, String>;

/// Whether a pod with a certain UID exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodState {
    /// It exists.
    Present,
    /// No pod has the UID.
    Absent,
    /// The API server gave no answer, for this reason.
    Unknown(String),
}

impl PodState {
    /// The state of the pod with `uid`, whose name was asked for. A pod of that name with another UID is another pod.
    pub(crate) fn of(uid: &str, answer: &Answer) -> Self {
        match answer {
            Ok(Some(found)) if found == uid => Self::Present,
            Ok(_) => Self::Absent,
            Err(reason) => Self::Unknown(reason.clone()),
        }
    }
}

/// What the API server tells of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// The node is Ready. The two texts only serve to notice changes: the clocks of nodes differ.
    Ready {
        /// `renewTime` of the node's Lease.
        renewed: String,
        /// `lastTransitionTime` of the condition Ready.
        transition: String,
    },
    /// The node is not Ready.
    NotReady,
    /// The node is not Ready, and carries the taint `node.kubernetes.io/out-of-service`.
    OutOfService,
    /// No Node object has the name.
    Missing,
    /// The API server gave no answer, for this reason.
    Unknown(String),
}

/// Why the node of a claim cannot run the claim's pod any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The node is Ready, and its kubelet has renewed the Lease long after the pod was seen absent.
    PodGoneNodeReady,
    /// The Node object has been gone for the grace.
    NodeGone,
    /// An operator has tainted the node as out of service.
    NodeOutOfService,
}

impl Evidence {
    /// All kinds.
    pub const ALL: [Self; 3] = [
        Self::PodGoneNodeReady,
        Self::NodeGone,
        Self::NodeOutOfService,
    ];

    /// Its name in logs, events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::PodGoneNodeReady => "pod-gone-node-ready",
            Self::NodeGone => "node-gone",
            Self::NodeOutOfService => "node-out-of-service",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The live answers of one round. All questions were asked after the claims had been read.
#[derive(Clone, Debug)]
pub struct Look {
    /// A moment before the first question.
    pub begun: Duration,
    /// A moment after the last answer.
    pub ended: Duration,
    /// Nodes, by name.
    pub nodes: BTreeMap<String, NodeState>,
    /// Pods, by name.
    pub pods: BTreeMap<PodName, Answer>,
}
