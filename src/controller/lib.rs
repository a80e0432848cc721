//! What the API server tells of pods and nodes, for the reconciliation of claims.
//!
//! The judgement is `whereabouts-reconcile`'s, and claims are the caller's. This crate asks, and is the only one that
//! knows `kube`. A question is a live GET, which is sent once. A cache of pods only spares questions.

#![allow(clippy::disallowed_methods, reason = "it meets the machine")]

mod api;
mod event;
mod leadership;
mod node;
mod pods;

pub use api::ApiServer;
pub use event::Release;
pub use leadership::{Election, Leadership};
pub use pods::{PodCache, follow};
