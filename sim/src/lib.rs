//! Deterministic simulation of many nodes that allocate at once.
//!
//! The production code of the plugin runs unchanged, by the thousand, on a seeded scheduler with
//! virtual time, against a simulated etcd whose network and members fail. Everything that happens
//! is judged at every revision. One seed gives one history, byte for byte.
//!
//! ```text
//! seed ──> knobs ──> runtime: pods come and go on nodes ──> process: a verb of the plugin
//!                    nemesis: faults of etcd and network        │ every store call
//!                         └──────────> cluster <────────────────┘
//!                                        │ every revision, every answer
//!                                      judge: one checker for each promise
//! ```

pub mod cluster;
pub mod exhaustive;
pub mod history;
pub mod hunt;
pub mod imports;
pub mod judge;
pub mod knobs;
pub mod linearizable;
pub mod nemesis;
pub mod planted;
pub mod pods;
pub mod process;
pub mod replay;
pub mod run;
pub mod runtime;
pub mod seats;
pub mod sharing;
pub mod shrink;
pub mod step;
pub mod totals;
pub mod versions;
pub mod who;
pub mod world;
