//! The built plugin, executed as a container runtime executes it, and the etcd it works on.

mod answer;
mod network;
mod process;
mod site;

pub(crate) use answer::Answer;
pub(crate) use network::{Network, Pod, TIMEOUT_S, pods};
pub(crate) use process::Call;
pub(crate) use site::Site;
