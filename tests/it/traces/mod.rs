//! Traces, as a real collector receives them.

mod agent;
#[cfg(feature = "jaeger")]
mod jaeger;
mod queue;
mod reports;
mod verbs;
mod ways_out;
