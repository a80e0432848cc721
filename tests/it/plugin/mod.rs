//! The built plugin, executed as a container runtime executes it, and the etcd it works on.

mod answer;
pub(crate) mod fill;
mod lock;
mod network;
mod process;
mod silent_names;
mod site;

pub(crate) use answer::Answer;
pub(crate) use lock::{
    Foreigner, attachment, await_in_line, beside, kill_in_line, lock_key, newer_ticket, put,
    seated_apart, ticket_key,
};
pub(crate) use network::{Network, Pod, TIMEOUT_S, log_folder, node_file, pods};
pub(crate) use process::{Call, Running};
pub(crate) use silent_names::SilentNames;
pub(crate) use site::{Site, range};
