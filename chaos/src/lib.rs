//! Real etcd clusters and real plugin processes under faults and load.
//!
//! In reading order: [`cluster`] starts etcd, [`counters`] says what was asked of it, [`plugin`]
//! executes the plugin as a runtime does, and [`ending`] leaves nothing behind. The load generator
//! (`bench`) stands on these. [`proxy`] is a network that fails, [`proxied`] a cluster in it, and [`servers`] API servers on that
//! cluster. [`suite`] is the chaos suite, which shakes all of them and judges what comes of it.

pub mod cluster;
pub mod counters;
pub mod ending;
pub mod plugin;
pub mod proxied;
pub mod proxy;
pub mod running;
pub mod servers;
pub mod suite;
