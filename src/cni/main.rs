//! The program that a container runtime executes.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it meets the machine"
)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use whereabouts_cni::invocation::{Invocation, LocalMachine};
use whereabouts_cni::plugin::{self, Start};

/// musl's own allocator maps and unmaps memory for each of the larger blocks. That was two fifths of an ADD's processor time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let (begun, at) = (SystemTime::now(), Instant::now());
    plugin::answer_panics();
    plugin::outlive_file_limits();
    let seed = RandomState::new().build_hasher().finish();
    let start = Start { seed, begun, at };
    let (answer, unsent) = plugin::execute(&Invocation::capture(), &LocalMachine, start);
    let code = answer.print();
    unsent.send();
    code
}
