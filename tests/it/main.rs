//! The integration tests, in one binary: what is here runs against real processes.

mod attacks;
mod clusters;
mod ctl;
mod delegated;
mod faults;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod load;
mod local;
mod plugin;
mod store;
mod support;
mod traces;
mod verbs;
