//! The protocol: how one demand becomes one commit, alone or through the queue of a busy range.
//!
//! ```text
//! requester ── decides, commits ───────────────────────────────> done
//!     │ the lock is another's
//!     ▼
//! waiter ── puts its ticket, waits; the holder serves it ──────> leaves
//!     │ the lock names this process, or is free
//!     ▼
//! holder ── serves its own demand and the queue in batches ────> hands the lock over, leaves
//! ```
//!
//! [`Machine`] decides and does no I/O: it is given an [`Answer`], and tells the next [`Step`]. [`perform`](crate::operation)
//! drives it. Everything a state does follows from the last snapshot: whose the lock is, where the own ticket is, and
//! whether the claim is there. `transactions` has all that they commit. `docs/PROTOCOL.md` has the rules and
//! their argument.

mod holder;
mod leaver;
mod machine;
mod place;
mod requester;
mod take_out;
mod transactions;
mod waiter;

#[cfg(test)]
mod tests;

pub use machine::{Answer, Machine, Moment, Step};
pub(crate) use take_out::take_out;
