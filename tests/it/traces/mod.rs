//! Traces, as a real collector receives them.

mod agent;
mod queue;
mod verbs;
mod ways_out;
