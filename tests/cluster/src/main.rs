//! Scenarios on a real Kubernetes cluster. `tests/cluster.sh` makes the cluster, and executes this.

mod install;
mod judge;
mod lab;
mod objects;
mod scenarios;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use lab::Lab;
use scenarios::SCENARIOS;

/// Installs whereabouts in a cluster, and runs scenarios in it.
#[derive(Parser)]
struct Arguments {
    /// The folder of the cluster, which lab.sh has started.
    #[arg(long)]
    lab: PathBuf,
    /// Whether whereabouts is installed already.
    #[arg(long)]
    installed: bool,
    /// Which scenarios; all of them if none is given.
    scenarios: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let lab = Lab::new(arguments.lab);
    let named = |name: &&str| arguments.scenarios.iter().any(|asked| asked == name);
    let chosen: Vec<_> = SCENARIOS
        .iter()
        .filter(|(name, _)| arguments.scenarios.is_empty() || named(name))
        .collect();
    if chosen.len() < arguments.scenarios.len() {
        let all: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        eprintln!("cluster: the scenarios are {}", all.join(" "));
        return ExitCode::from(2);
    }
    if !arguments.installed {
        let started = Instant::now();
        if let Err(reason) = install::install(&lab) {
            println!("install FAILED\n{reason}");
            return ExitCode::FAILURE;
        }
        println!("install ok ({} s)", started.elapsed().as_secs());
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, scenario) in chosen {
        let started = Instant::now();
        match scenario(&lab) {
            Ok(()) => {
                passed += 1;
                println!("{name} ok ({} s)", started.elapsed().as_secs());
            }
            Err(reason) => {
                failed += 1;
                println!(
                    "{name} FAILED ({} s)\n{reason}",
                    started.elapsed().as_secs()
                );
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
