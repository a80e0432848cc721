//! The client against a server that fails in every way.

mod fake;
mod faults;
mod kubeconfigs;
mod trust;
