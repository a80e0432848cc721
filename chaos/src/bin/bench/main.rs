//! The load generator: starts its own etcd, puts load on it, counts what that costs, and prints one
//! table for each scenario. Counted figures are exact, and wrong ones end it with a failure; times
//! are reported only.

mod fill;
mod judge;
mod measure;
mod range;
mod table;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use whereabouts_chaos::cluster::Storage;
use whereabouts_chaos::{ending, plugin};

/// Measures whereabouts on an etcd of its own.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    #[arg(required = true, value_enum)]
    scenarios: Vec<Scenario>,
    /// Members of etcd.
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// Where etcd's data is.
    #[arg(long, value_enum, default_value_t = Storage::Memory)]
    storage: Storage,
    /// What names and owners are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write everything that was measured to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A plugin that is built already, instead of a fresh build.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    #[command(flatten)]
    fill: fill::Options,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// ADD and DEL in a range of more and more claims, IPv4 /8 and IPv6 /64.
    Fill,
}

/// What every scenario is run with.
struct Setting {
    members: usize,
    storage: Storage,
    seed: u64,
    plugin: PathBuf,
}

/// What a scenario found.
struct Found {
    /// Everything that was measured.
    json: Value,
    /// What is not as it must be; each is a failure.
    complaints: Vec<String>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(complaints) if complaints.is_empty() => {
            println!("\nAll exact figures are as they must be.");
            ExitCode::SUCCESS
        }
        Ok(complaints) => {
            for complaint in complaints {
                eprintln!("bench: {complaint}");
            }
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<Vec<String>, String> {
    ending::clean_up_on_panic_and_signal().map_err(|error| error.to_string())?;
    let setting = Setting {
        members: arguments.members,
        storage: arguments.storage,
        seed: arguments.seed,
        plugin: arguments.plugin.map_or_else(plugin::build, Ok)?,
    };
    let mut complaints = Vec::new();
    let mut measured = serde_json::Map::new();
    for scenario in arguments.scenarios {
        let (name, found) = match scenario {
            Scenario::Fill => ("fill", fill::run(&setting, &arguments.fill)?),
        };
        measured.insert(name.to_owned(), found.json);
        complaints.extend(found.complaints);
    }
    if let Some(path) = arguments.json {
        let document = json!({
            "members": setting.members,
            "storage": format!("{:?}", setting.storage).to_lowercase(),
            "seed": setting.seed,
            "scenarios": measured,
        });
        let written = fs::write(&path, format!("{document:#}\n"));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(complaints)
}
