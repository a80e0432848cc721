//! Deterministic simulation of many nodes that allocate at once.
//!
//! The production code of the plugin runs unchanged, in thousands of executions, on a seeded scheduler with virtual
//! time. Its etcd is simulated, with a network and members that fail. The judge sees every revision and every answer.
//! One seed gives one history, byte for byte.
//!
//! ```text
//! seed ──> setup ──> runtime: pods come and go on nodes, and each verb is a process
//!                    run::nemesis: faults of etcd and network     │ every store call
//!                         └──────────> cluster <──────────────────┘
//!                                        │ every revision, every answer
//!                                      judge: one checker for each promise
//! ```
//!
//! Each module imports only modules above it:
//!
//! | module | has |
//! | --- | --- |
//! | `world` | tasks and virtual time |
//! | [`vocabulary`] | verbs, steps, faults, and the identity of an execution |
//! | [`journal`] | the lines of a history, and totals |
//! | [`setup`] | the world in which a history begins |
//! | [`planted`] | bugs that the judge must find |
//! | [`judge`] | the promises |
//! | `cluster` | etcd behind links and members that fail |
//! | `runtime` | container runtimes and the processes that they start |
//! | [`run`] | one history, the hunt for planted bugs, and smaller histories |
//! | [`kubernetes`] | the protocol of the datastore `kubernetes`, in worlds of its own |
//! | [`storm`] | many nodes that start at once, and an etcd of bounded capacity; beside `cluster`, `runtime` and `run` |
//! | [`scale`] | the demand of a cluster, computed from counts |
//! | [`exhaustive`] | small worlds, completely; beside `cluster`, `runtime` and `run` |

mod cluster;
pub mod exhaustive;
pub mod journal;
pub mod judge;
pub mod kubernetes;
pub mod planted;
pub mod run;
mod runtime;
pub mod scale;
pub mod setup;
pub mod storm;
pub mod vocabulary;
mod world;
