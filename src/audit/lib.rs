//! The invariants of all stored entries, the repair of violations, usage, range maps, and backups.
//! Pure, except [`repair`](fn@repair).

pub mod backup;
pub mod invariants;
pub mod occupancy;
pub mod range_map;
pub mod repair;
mod repaired;
pub mod restore;

pub use repaired::{Repaired, repair};
