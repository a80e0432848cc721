//! A cluster of real members that reach each other, and are reached, through proxies: what the
//! chaos suite shakes. `control` is what an operator does to it.

mod cluster;
mod control;
mod member;
mod setup;
mod sockets;
#[cfg(test)]
mod tests;

pub use cluster::ProxiedCluster;
pub use control::Control;
pub use member::Member;
pub(crate) use member::quiet_port;
pub use setup::{Security, Setup};
