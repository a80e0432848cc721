//! Histories from their seeds to their verdicts, the search for planted bugs in them, and smaller histories of the same finding.

mod history;
mod hunt;
mod nemesis;
mod replay;
mod shrink;

pub use history::{Verdict, knobs_of, run};
pub use hunt::{Found, first_found};
pub use replay::Replay;
pub use shrink::{Failing, shrink};
