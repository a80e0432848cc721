//! The integration tests, in one binary: what is here runs against real processes.

mod attacks;
mod clusters;
mod corrupt;
mod counts;
mod crowd;
mod ctl;
mod delegated;
mod fill;
mod full;
mod fuzz;
mod local;
mod orphans;
mod outage;
mod page;
mod plugin;
mod samples;
mod store;
mod support;
mod traces;
mod verbs;
mod ways;
