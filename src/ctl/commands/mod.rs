//! A module for each command that looks at the store, or changes it.

pub(crate) mod backup;
pub(crate) mod check;
mod check_objects;
pub(crate) mod claims;
pub(crate) mod cluster;
pub(crate) mod gc;
pub(crate) mod import;
pub(crate) mod lint;
pub(crate) mod map;
pub(crate) mod migrate;
pub(crate) mod owners;
pub(crate) mod queue;
pub(crate) mod ranges;
pub(crate) mod release;
pub(crate) mod restore;
mod restore_objects;
mod taking;
pub(crate) mod watch;
