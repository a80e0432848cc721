//! The chaos suite: nodes that execute the plugin, a nemesis that strikes it and the cluster, and
//! a verdict on everything that the store went through.
//!
//! ```text
//! nodes ──> execution: the plugin ──> proxies ──> etcd <── watcher ──> verdict: court
//!              ^ struck by nemesis ───────┴────────┘                      ^
//! nodes ──── what was asked and answered ─────────────────────────────────┘
//! ```

mod execution;
pub mod fault;
mod finish;
mod nemesis;
mod network;
mod node;
mod pod;
pub mod report;
mod run;
mod shared;
mod strike;
pub mod tally;
mod verdict;
mod watcher;

pub use shared::{Datastore, Options, Suite};
