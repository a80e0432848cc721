//! What the verbs are asked, beside ADD's [`Ask`](crate::claim::Ask).

use std::collections::BTreeSet;

use crate::address::Name;
use crate::claim::{Attachment, Want};
use ipnet::IpNet;

/// See that addresses are still held.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// Whose.
    pub attachment: Attachment,
    /// The addresses of `prevResult`, those of other plugins among them.
    pub previous: Vec<IpNet>,
    /// The addresses that the config itself states.
    pub statics: Vec<IpNet>,
    /// Whether ADD of this config makes a claim.
    pub claim: Expectation,
}

/// Whether something must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It must.
    Needed,
    /// It need not: the config takes no address of a range.
    NotNeeded,
}

/// Take back what this node holds without need.
#[derive(Clone, Debug)]
pub struct GcRequest {
    /// The network.
    pub network: Name,
    /// This node; `None` when its name is not known, and then nothing is collected.
    pub node: Option<String>,
    /// The attachments in use; `None` when the runtime gave no list, and then nothing is collected.
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

/// Tell whether ADD could be served.
#[derive(Clone, Debug)]
pub struct StatusRequest {
    /// What an ADD of this config would ask for.
    pub wants: Vec<Want>,
    /// What to answer when a range is full.
    pub when_full: WhenFull,
}

/// `status_when_full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Code 50, as the specification says.
    Error,
    /// Success with a log line: a runtime that hears an error reports its node as not ready.
    Ok,
}
