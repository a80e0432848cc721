//! The datastore `kubernetes`: claims and blocks as objects of the API server.
//!
//! The API server writes one object at a time, and a write can depend on the last version of that object alone. So a
//! claim and the bits of its addresses are written one after the other, by a protocol of their own.
//!
//! ```text
//! registry  what the verbs ask
//! driver    steps of a machine, carried out: bounds, pauses, repetitions
//! protocol  ADD and DEL as machines without I/O
//! api       the requests that the protocol relies on, and their answers: a trait
//! object    the two kinds of objects: claims and blocks
//! names     names and labels of objects
//! sound     objects that cannot be relied on
//! inventory everything that is stored, for tools, and what is wrong with it
//! listing   reads an inventory at one revision
//! rebind    bits for claims that were created anew
//! lost      bits that were cleared while their claims lived
//! memory    a model of the API server
//! ```
//!
//! `docs/PROTOCOL-KUBERNETES.md` has the rules, the argument for each promise, and what is weaker than on etcd.
//!
//! This crate knows no HTTP, TLS, JSON, clock or random source.
//!
//! # Objects
//!
//! Both kinds are cluster-scoped. [`GROUP`] and [`VERSION`] are those of both. An object has `metadata` and `spec`, and
//! no status; the CRDs must not enable the status subresource.
//!
//! | kind | plural | short name | name of an object |
//! | --- | --- | --- | --- |
//! | `AddressClaim` | `addressclaims` | `wac` | `c-` and 32 hexadecimal digits: the hash of network, container and interface. Of a durable claim: `d-`, and the hash of network, namespace, pod and interface |
//! | `AddressBlock` | `addressblocks` | `wab` | `v4-` or `v6-`, 16 digits (the hash of the pool), `-`, and 6 or 30 digits (the block's number) |
//!
//! The names of the blocks of a pool and family sort as their addresses do. [`names`] has the labels.
//! In a block, `taken` is a map whose keys are bits, so each bit is there once.

pub mod api;
mod convert;
mod driver;
pub mod inventory;
mod listing;
mod lost;
pub mod memory;
pub mod names;
pub mod object;
pub mod protocol;
mod rebind;
mod registry;
#[cfg(test)]
mod registry_tests;
mod sound;

pub use api::ApiServer;
pub use inventory::Inventory;
pub use lost::{GivenBack, Lost};
pub use rebind::Rebound;
pub use registry::KubernetesRegistry;

/// The API group. `.internal` is reserved for private use, so no project can own a group that is equal.
pub const GROUP: &str = "ipam.whereabouts.internal";

/// The version of both kinds.
pub const VERSION: &str = "v1alpha1";
