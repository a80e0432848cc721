//! The built plugin, executed as a container runtime executes it, and the etcd it works on.

mod answer;
mod network;
mod process;
mod silent_names;
mod site;
mod ticket;

pub(crate) use answer::Answer;
pub(crate) use network::{Network, Pod, TIMEOUT_S, pods};
pub(crate) use process::{Call, Running};
pub(crate) use silent_names::SilentNames;
pub(crate) use site::{Site, range};
pub(crate) use ticket::{Foreigner, put};
