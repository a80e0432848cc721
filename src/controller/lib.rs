//! The API server's words on pods, nodes, StatefulSets and networks, for the reconciliation of claims and durable owners, and for
//! admission.
//!
//! The judgement is `whereabouts-reconcile`'s, and claims are the caller's. This crate asks, and is the only one that
//! knows `kube`. A question is a live GET, which is sent once. A cache only spares questions, or serves for warnings.

#![allow(clippy::disallowed_methods, reason = "it meets the machine")]

mod api;
mod event;
mod identity;
mod leadership;
mod node;
mod owners;
mod pods;
mod watched;
mod webhook;

pub use api::ApiServer;
pub use event::{End, Release, Telling};
pub use leadership::{Election, Leadership};
pub use pods::{PodCache, follow};
pub use watched::{Kind, Watched, follow_all};
pub use webhook::{StoredSecret, Written};
