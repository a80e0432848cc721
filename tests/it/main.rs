//! The integration tests, in one binary: what is here runs against real processes.

mod store;
mod support;
