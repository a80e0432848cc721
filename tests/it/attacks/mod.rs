//! Attacks from outside on the built programs: tables of hostile input, and the little that must hold for all of it.

mod configuration;
pub(crate) mod fuzz;
