//! The deciding core: addresses, claims, the allocation and the verbs. The core knows no time, no
//! chance, no input and no datastore.
//!
//! ```text
//! a verb ----------> registry::Registry      the seam: what a verb asks of any datastore
//!                        ^
//!                        | implemented by each datastore, with
//!                        v
//! Facts + Demand --> allocator::decide --> Plan     what to write, and what must still hold
//! ```
//!
//! Read first: [`claim`], [`allocator`], [`registry`].

pub mod address;
pub mod allocator;
pub mod claim;
pub mod durable;
pub mod escaped;
pub mod failure;
pub mod identity;
pub mod limits;
pub mod network;
pub mod registry;
pub mod secret;
pub mod verbs;
