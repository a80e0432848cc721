//! What must hold of all that is stored, the repair of what does not, usage, and backups. Pure.

pub mod backup;
pub mod invariants;
pub mod occupancy;
pub mod picture;
pub mod repair;
mod repaired;
pub mod restore;

pub use repaired::{Repaired, repair};
