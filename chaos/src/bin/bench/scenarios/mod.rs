//! The scenarios, a module each.

pub(crate) mod exec;
pub(crate) mod fill;
pub(crate) mod hot;
pub(crate) mod many;
pub(crate) mod pods;
pub(crate) mod slow;
pub(crate) mod storm;
