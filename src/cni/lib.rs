//! `whereabouts`, the plugin: one execution for each verb of a pod's interface.
//!
//! ```text
//! env, args, stdin   invocation
//!        v
//!     request        parsed once, into types that cannot be wrong
//!        v
//!      plugin        carries out the verb, by `whereabouts_protocol::commands`
//!        v
//!      answer        CNI's JSON
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it meets the machine"
)]

pub mod answer;
pub mod error;
pub mod invocation;
pub mod plugin;
pub mod request;
pub mod telemetry;
