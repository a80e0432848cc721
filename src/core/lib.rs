//! The deciding core: addresses, claims, and the allocation. It knows no time, no chance, no input and no
//! datastore.
//!
//! ```text
//! what was read     Facts  --+
//!                            +--> allocator::decide --> Plan     what to write, and what must still hold
//! what is asked     Demand --+
//! ```
//!
//! Read first: [`address`], [`claim`], [`allocator`].

pub mod address;
pub mod allocator;
pub mod claim;
pub mod escaped;
pub mod identity;
pub mod limits;
