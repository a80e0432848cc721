//! `whereabouts`: cluster-unique, lowest-free addresses for CNI, remembered in etcd.
//!
//! Data goes one way:
//!
//! ```text
//! env, args, stdin          invocation
//!        v
//!     Request               request     parsed once, into types that cannot be wrong
//!        v
//!     Snapshot  <---------  store       one consistent read
//!        v
//!      Plan                 allocator   pure: what to write, and what must still hold
//!        v
//!   transaction --------->  store       done | conflict | unknown | unavailable
//!        v
//!    CNI JSON               answer
//! ```

pub mod address;
pub mod allocator;
pub mod answer;
pub mod audit;
pub mod backup;
pub mod claim;
pub mod clock;
pub mod commands;
pub mod draft;
pub mod error;
pub mod escaped;
pub mod identity;
pub mod import;
pub mod invocation;
pub mod limits;
pub mod listing;
pub mod occupancy;
pub mod operation;
pub mod picture;
pub mod plugin;
pub mod queue;
pub mod repair;
pub mod request;
pub mod restore;
pub mod session;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod trace_context;
