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

mod entries;
mod file;
mod registry;
mod store;

pub use registry::LocalRegistry;
pub use store::{Held, LocalStore, NoWatch};

/// The prefix of all keys. A file belongs to one host, and needs no other.
pub const PREFIX: &str = "/whereabouts/v1/";

/// The file when a configuration does not name one.
pub const PATH: &str = "/var/lib/whereabouts/local.db";
