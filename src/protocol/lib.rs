//! The way of a request through a store with transactions.
//!
//! ```text
//! registry     what a verb asks: take, release, find, list
//!    v
//! operation    one demand: read, decide, commit; where others are at it too, through the queue
//!    v
//! queue        the lock of a range, the tickets, and the batches
//!    v
//! session      one operation's access to the store: deadlines, retries, and the settling of what is unknown
//! ```

pub mod cluster;
mod durable;
pub mod operation;
pub mod queue;
mod registry;
mod renew;
pub mod session;
#[cfg(test)]
mod session_tests;
pub mod traces;

#[cfg(test)]
mod allocation_tests;
#[cfg(test)]
mod conformance_tests;
