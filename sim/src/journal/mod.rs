//! The record of histories: a line for each event, and totals.

mod history;
mod totals;

pub use history::History;
pub use totals::{End, Totals};
