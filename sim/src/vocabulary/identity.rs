//! The names of actors: nodes, and executions of the plugin on them.

use std::cell::Cell;
use std::fmt;

use whereabouts_core::claim::Attachment;

use super::step::{Step, Verb};
use crate::world::TaskId;

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// An execution of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId(pub u64);

/// The properties of a process, for all parts that meet it.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Its number.
    pub id: ProcessId,
    /// Its node.
    pub node: NodeId,
    /// Its verb.
    pub verb: Verb,
    /// Whose addresses it is about.
    pub attachment: Option<Attachment>,
    /// Its current step.
    pub step: Cell<Step>,
    /// Whether its runtime still waits for it.
    pub used: Cell<Used>,
    /// Whether a fault has struck it.
    pub is_struck: Cell<bool>,
    /// Whether it has put a ticket, or tried to.
    pub has_joined: Cell<bool>,
    /// Whether it has read anything.
    pub has_read: Cell<bool>,
    /// Its task, once it is started.
    pub task: Cell<Option<TaskId>>,
    /// Whether it is of a newer version, whose tickets this one cannot read.
    pub is_newer: bool,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            node,
            verb,
            attachment,
            ..
        } = self;
        write!(f, "n{} p{} {verb}", node.0, id.0)?;
        match attachment {
            Some(attachment) => write!(f, " {}", attachment.container),
            None => Ok(()),
        }
    }
}

/// Whether somebody uses what an ADD answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// The runtime that asked.
    ByRuntime,
    /// Nobody: the runtime has given up on the process.
    ByNobody,
}
