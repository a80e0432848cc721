//! The verbs, and what the operator's tool changes: each reads, decides, commits and settles within
//! its session's deadline.

mod add;
mod check;
mod cluster;
mod del;
mod error;
mod gc;
mod release;
mod request;
mod status;
mod take_over;

pub use add::{add, take};
pub use check::check;
pub use cluster::{confirm, confirm_choice, found};
pub use del::del;
pub use error::Error;
pub use gc::{Collected, gc, is_valid};
pub use release::{Released, release};
pub use request::{CheckRequest, Expectation, GcRequest, StatusRequest, ValidAttachment, WhenFull};
pub use status::status;
