//! The datastore `kubernetes`: small worlds completely, random walks through larger ones, and planted bugs.
//!
//! The machines of the protocol run unchanged against the model of the API server. A step is one request, carried out and
//! answered at once. Between two steps a write can lose its reply, be lost, or land late, and a process can be killed.
//!
//! | module | has |
//! | --- | --- |
//! | `process` | ADD and DEL as machines |
//! | `bugs` | bugs that the judge must find, as changes of requests and answers |
//! | `state` | a moment of a world, and the steps from it |
//! | `judge` | the promises, at each moment and at each answer; the chaos suite has the same judge |
//! | `worlds` | the worlds |
//! | `explorer` | all moments of a small world |
//! | `scripts` | ways that the others reach late, step by step |
//! | `walk` | one random way through a larger world |
//! | `burst` | many ADDs at once, in virtual time, with the driver of the plugin |

mod bugs;
mod burst;
mod explorer;
pub mod judge;
mod process;
mod scripts;
mod state;
mod walk;
mod worlds;

pub use bugs::{Bug, REAL_BUGS};
pub use burst::{Burst, burst};
pub use explorer::{Explored, explore};
pub use scripts::{Script, scripts};
pub use walk::{Walked, walk, walk_told};
pub use worlds::{SmallWorld, small_worlds};
