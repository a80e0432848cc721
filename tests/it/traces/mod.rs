//! Traces, as a real collector receives them.

mod agent;
mod jaeger;
mod queue;
mod verbs;
mod ways_out;
