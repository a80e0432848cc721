//! The verbs: each reads, decides, commits and settles within its session's deadline.

mod add;
mod check;
mod del;
mod gc;
mod status;

pub use add::add;
pub use check::check;
pub use del::del;
pub use gc::{Collected, gc};
pub use status::status;
