//! The datastore of one host: claims and blocks in one SQLite file, without a server.
//!
//! ```text
//! registry     what a verb asks, in one transaction
//!    v
//! entries      the keys and values of the schema, as rows
//!    v
//! file         opening, locking and syncing the file; its failures
//! ```
//!
//! Keys and values are those of `whereabouts_store`, so a backup of one datastore is one of another. SQLite lets one
//! process write at a time, so ADD, DEL and each release of GC read, decide and write in one transaction
//! (`BEGIN IMMEDIATE`). There are no locks, tickets and leases. A commit is on the disk before the verb answers
//! (write-ahead log, `synchronous=FULL`).

// This crate waits for other processes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the clock of the machine is met here"
)]

mod entries;
mod file;
mod registry;
mod store;
#[cfg(test)]
mod tests;
mod wait;

pub use registry::LocalRegistry;
pub use store::{Held, LocalStore, NoWatch};
pub use wait::Wait;

/// The prefix of all keys. A file belongs to one host, and needs no other.
pub const PREFIX: &str = "/whereabouts/v1/";

/// The one folder that is made when it is missing: any other may be on a disk that is not mounted yet.
const FOLDER: &str = "/var/lib/whereabouts";

/// The file when a configuration does not name one.
pub const PATH: &str = "/var/lib/whereabouts/local.db";
