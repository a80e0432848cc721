//! Deterministic simulation of many nodes that allocate at once.
//!
//! The production code of the plugin runs unchanged on a seeded scheduler with virtual time
//! ([`world`]), against the memory model of etcd behind links that delay, lose and reorder
//! ([`link`]). One seed gives one history.

pub mod exhaustive;
pub mod linearizable;
pub mod link;
pub mod workload;
pub mod world;
