//! Faults outside of the plugin: an etcd that does not answer, and values that cannot be read.

mod corrupt;
mod outage;
