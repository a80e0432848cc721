//! The simulator's command line.

mod arguments;
mod cores;
mod many;
mod one;
mod planted;
mod storm;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use mimalloc::MiMalloc;
use whereabouts_sim::{exhaustive, scale};

use arguments::{Command, Stop};

/// A fifth of the time of a run goes into memory with the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match arguments::parse(env::args_os()) {
        Ok(command) => {
            if carry_out(command) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(Stop::Told(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(Stop::Wrong(text)) => {
            eprint!("{text}");
            ExitCode::from(2)
        }
    }
}

/// Carries out a command; whether nothing was found.
fn carry_out(command: Command) -> bool {
    match command {
        Command::Run { seeds, json } => many::run_many(seeds, json.as_deref()),
        Command::Replay { replay, trace } => one::run_again(&replay, trace),
        Command::Exhaustive { world, large } => explore(&world, large),
        Command::Storm { plan, json } => storm::run_storm(&plan, json.as_deref()),
        Command::Scale { json } => {
            if json {
                println!("{}", scale::to_json());
            } else {
                print!("{}", scale::table());
            }
            true
        }
        Command::Planted { seeds, bug } => planted::find_planted(seeds, bug),
    }
}

fn explore(part: &str, large: bool) -> bool {
    let started = Instant::now();
    let chosen = |world: &exhaustive::Scenario, faults| {
        world.name.contains(part) && (large || faults < world.large_from)
    };
    let report = exhaustive::run(cores::cores(), chosen, |row| eprintln!("{row}"));
    println!("{report}\n{:.1} s", started.elapsed().as_secs_f64());
    report.is_clean()
}
