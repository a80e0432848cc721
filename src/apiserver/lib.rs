//! A client of the Kubernetes API server, for processes that live for one operation.
//!
//! A [`Client`] has one connection and sends one request after another. It follows no redirect, caches nothing, and never
//! sends a request twice. Each [`Answer`] tells whether the request was carried out, was not carried out, or may
//! have been carried out. The caller decides what is sent again.
//!
//! ```text
//! kubeconfig --> Access --> Client --> connect     TCP and TLS to one of the server's addresses
//!                             |
//!                          Request --> answer      status, headers and body in types
//! ```
//!
//! [`Objects`] serves the protocol of the datastore `kubernetes` with a client.
//!
//! The crate has no deadline: a caller drops a call that hangs, and the connection of that call ends with it. The crate
//! needs a tokio runtime with time and input enabled. No error and no log has a token or a key.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it meets the machine"
)]

mod access;
mod answer;
mod client;
mod connect;
mod kubeconfig;
mod objects;
mod request;
#[cfg(test)]
mod tests;

pub use self::access::{Access, Files, Server};
pub use self::answer::Answer;
pub use self::client::{Client, Unusable};
pub use self::kubeconfig::{KubeconfigError, read as read_kubeconfig};
pub use self::objects::Objects;
pub use self::request::{Request, Resource};
