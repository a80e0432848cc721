//! The client against a server that fails in every way.

mod definitions;
mod fake;
mod faults;
mod kubeconfigs;
mod trust;
