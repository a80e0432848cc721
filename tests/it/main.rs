//! The integration tests, in one binary: what is here runs against real processes.

mod counts;
mod fill;
mod plugin;
mod store;
mod support;
mod verbs;
mod ways;
