//! The words that all parts share: verbs and their steps, faults, and the identity of an execution.

mod fault;
mod identity;
pub(crate) mod keys;
mod step;

pub use fault::Fault;
pub(crate) use identity::Identity;
pub use identity::{NodeId, ProcessId, Used};
pub use step::{Step, Verb};
