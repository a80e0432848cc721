//! The integration tests, in one binary: what is here runs against real processes.

mod fuzz;
mod store;
mod support;
