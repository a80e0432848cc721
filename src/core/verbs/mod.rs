//! The verbs of CNI. Each verb asks a [`Registry`](crate::registry::Registry), interprets the
//! answer, and ends with addresses or an [`Error`].

mod add;
mod check;
mod del;
mod error;
mod gc;
mod request;
mod status;

pub use add::add;
pub use check::check;
pub use del::del;
pub use error::Error;
pub use gc::{Collected, gc, is_valid};
pub use request::{CheckRequest, Expectation, GcRequest, StatusRequest, ValidAttachment, WhenFull};
pub use status::status;
