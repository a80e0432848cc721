//! The world in which a history begins, as its seed draws it: shapes and faults, clusters, versions, containers and claims.

pub(crate) mod imports;
mod knobs;
pub(crate) mod pods;
pub(crate) mod seats;
mod shape;
pub(crate) mod sharing;
pub(crate) mod versions;

pub use knobs::Knobs;
pub use shape::Shape;
pub use sharing::Sharing;
