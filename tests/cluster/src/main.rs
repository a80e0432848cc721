//! Scenarios on a real Kubernetes cluster. `tests/cluster.sh` makes the cluster, and executes this.

mod install;
mod judge;
mod lab;
mod objects;
mod rights;
mod sabotage;
mod scenarios;
mod stored;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use lab::{Datastore, Lab};
use sabotage::Sabotage;
use scenarios::{Runs, SCENARIOS, Scenario};

/// Installs whereabouts in a cluster, and runs scenarios in it.
#[derive(Parser)]
struct Arguments {
    /// The folder of the cluster, which lab.sh has started.
    #[arg(long)]
    lab: PathBuf,
    /// The datastore of whereabouts.
    #[arg(long, value_enum, default_value = "etcd")]
    datastore: Datastore,
    /// whereabouts is installed already.
    #[arg(long)]
    installed: bool,
    /// All scenarios, instead of those that every change must pass.
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// The cause of an old fault, which is put back: its scenario must fail.
    #[arg(long, value_name = "NAME", value_parser = Sabotage::named, conflicts_with_all = ["all", "scenarios", "datastore"])]
    sabotage: Option<&'static Sabotage>,
    /// The scenarios. Without a name, those that every change must pass.
    #[arg(value_parser = named)]
    scenarios: Vec<&'static Scenario>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let lab = Lab::new(arguments.lab.clone(), arguments.datastore);
    if !arguments.installed {
        let installed = timed("install", || install::install(&lab, arguments.sabotage));
        // With the cause of a fault, the scenario is to tell.
        if installed.is_err() && arguments.sabotage.is_none() {
            return ExitCode::FAILURE;
        }
    }
    let all_well = match arguments.sabotage {
        Some(sabotage) => is_found(&lab, sabotage),
        None => match chosen(&arguments) {
            Ok(chosen) => all_pass(&lab, &chosen) & rights_are_used(&lab, &arguments),
            Err(reason) => {
                eprintln!("{reason}");
                false
            }
        },
    };
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn named(name: &str) -> Result<&'static Scenario, String> {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| {
        let all: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        format!("the scenarios are {}", all.join(" "))
    })
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Scenario>, String> {
    let runs = |scenario: &&Scenario| scenario.runs_on(arguments.datastore);
    let strange = arguments
        .scenarios
        .iter()
        .find(|one| runs(one) == Runs::Never);
    if let Some(strange) = strange {
        return Err(format!("{} is not for this datastore", strange.name));
    }
    if !arguments.scenarios.is_empty() {
        return Ok(arguments.scenarios.clone());
    }
    let is_chosen = |scenario: &&Scenario| match runs(scenario) {
        Runs::ForEachChange => true,
        Runs::AtLength => arguments.all,
        Runs::Never => false,
    };
    Ok(SCENARIOS.iter().filter(is_chosen).collect())
}

fn all_pass(lab: &Lab, scenarios: &[&Scenario]) -> bool {
    let passed = scenarios
        .iter()
        .filter(|scenario| timed(scenario.name, || (scenario.run)(lab)).is_ok())
        .count();
    let failed = scenarios.len() - passed;
    println!("{passed} passed, {failed} failed");
    failed == 0
}

/// Only all scenarios together use all rights, and only on etcd all of them run.
fn rights_are_used(lab: &Lab, arguments: &Arguments) -> bool {
    let are_judged = arguments.scenarios.is_empty() && arguments.datastore == Datastore::Etcd;
    !are_judged || timed("rights", || rights::rights(lab)).is_ok()
}

fn is_found(lab: &Lab, sabotage: &Sabotage) -> bool {
    let scenario = named(sabotage.scenario).expect("it is one of them");
    let ended = timed(scenario.name, || (scenario.run)(lab));
    let is_found = sabotage.is_shown_by(&ended);
    let told = if is_found { "found" } else { "NOT found" };
    println!("the cause is {told}");
    is_found
}

/// Runs it, and tells how it ended.
fn timed(name: &str, run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let started = Instant::now();
    let ended = run();
    let seconds = started.elapsed().as_secs();
    match &ended {
        Ok(()) => println!("{name} ok ({seconds} s)"),
        Err(reason) => println!("{name} FAILED ({seconds} s)\n{reason}"),
    }
    ended
}
