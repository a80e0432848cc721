//! The requests of the verbs, except ADD's [`Ask`](crate::claim::Ask).

use std::collections::BTreeSet;

use crate::address::Name;
use crate::claim::{Attachment, Want};
use ipnet::IpNet;

/// The request of CHECK: does the attachment still hold its addresses?
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// The attachment.
    pub attachment: Attachment,
    /// The addresses of `prevResult`, including those of other plugins.
    pub previous: Vec<IpNet>,
    /// The addresses that the config itself states.
    pub statics: Vec<IpNet>,
    /// Whether ADD of this config makes a claim.
    pub claim: Expectation,
}

/// Whether a claim must exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The claim must exist.
    Needed,
    /// The claim may be absent, because the config takes no address of a range.
    NotNeeded,
}

/// The request of GC: release the claims of this node that are not in use.
#[derive(Clone, Debug)]
pub struct GcRequest {
    /// The network.
    pub network: Name,
    /// This node. While it is `None` (not known), GC collects nothing.
    pub node: Option<String>,
    /// The attachments in use. If it is `None` (the runtime gave no list), GC collects nothing.
    pub valid: Option<BTreeSet<ValidAttachment>>,
}

/// An attachment in use: an entry of `cni.dev/valid-attachments`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValidAttachment {
    /// `containerID`.
    pub container: String,
    /// `ifname`.
    pub interface: String,
}

/// The request of STATUS: can an ADD be served?
#[derive(Clone, Debug)]
pub struct StatusRequest {
    /// The wants of an ADD of this config.
    pub wants: Vec<Want>,
    /// The answer if a range is full.
    pub when_full: WhenFull,
}

/// The answer of STATUS if a range is full: `status_when_full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Code 50, as the specification requires.
    Error,
    /// Success with a log line. After an error, a runtime reports its node as not ready.
    Ok,
}
