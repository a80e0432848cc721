//! The plugin: what a container runtime executes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;

use whereabouts::invocation::{Invocation, LocalMachine};
use whereabouts::plugin;

fn main() -> ExitCode {
    plugin::answer_panics();
    let seed = RandomState::new().build_hasher().finish();
    plugin::execute(&Invocation::capture(), &LocalMachine, seed).print()
}
