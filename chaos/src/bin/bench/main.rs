//! The load generator: starts its own etcd, puts load on it, counts what that costs, and prints one
//! table for each scenario. Counted figures are exact, and wrong ones end it with a failure; times
//! are reported only.

mod arena;
mod client;
mod load;
mod measure;
mod peers;
mod range;
mod report;
mod rivals;
mod scenarios;
mod setting;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;
use whereabouts_chaos::cluster::{Cluster, Storage};
use whereabouts_chaos::{ending, plugin};

use arena::Arena;
use report::{Found, plot};
use scenarios::{exec, fill, hot, many, pods, slow, storm};
use setting::{Setting, runtime};

/// Measures whereabouts on an etcd of its own.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The scenarios to measure.
    #[arg(required = true, value_enum)]
    scenarios: Vec<Scenario>,
    /// Members of etcd.
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// The place of etcd's data.
    #[arg(long, value_enum, default_value_t = Storage::Memory)]
    storage: Storage,
    /// The seed of names and owners.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write all measured values to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A plugin that is built already, instead of a fresh build.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Runs of each scenario but `fill` and `storm`, which show the spread of the ratios.
    #[arg(long, value_name = "N", default_value_t = 1)]
    runs: usize,
    /// Seconds of a sustained load, after as many to warm up. On one range, more than 256 clients have several times as
    /// many.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.5)]
    seconds: f64,
    /// The numbers of clients, one after the other.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = hot::CLIENTS)]
    clients: Vec<usize>,
    /// Measure `hot` without the rivals: to compare two builds of the plugin's own code.
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    fill: range::row::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the plugin with others, as processes in turns: the ancestor on a Kubernetes API server, and host-local.
    Peers(Box<peers::Options>),
    /// Draw measured values as SVG.
    Plot {
        /// The file that `--json` wrote.
        file: PathBuf,
        /// The folder of the drawings.
        folder: PathBuf,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// All of the others.
    All,
    /// One operation after the other: the plugin as a process, and a connected client.
    Exec,
    /// One range and many clients, the rivals beside them.
    Hot,
    /// 256 clients on 1 to 64 ranges.
    Many,
    /// ADD and DEL in a range of more and more claims, IPv4 /8 and IPv6 /64.
    Fill,
    /// 500 plugin processes at once on one range.
    Storm,
    /// 1,000 pods and 1,000 addresses.
    Pods1000,
    /// One range on a slow network, 1,000 pods on it.
    Slow,
}

/// The scenarios that `all` stands for, in order.
const EACH: [Scenario; 7] = [
    Scenario::Exec,
    Scenario::Hot,
    Scenario::Many,
    Scenario::Fill,
    Scenario::Storm,
    Scenario::Pods1000,
    Scenario::Slow,
];

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
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
    match &arguments.command {
        Some(Command::Plot { file, folder }) => return plot::run(file, folder).map(|()| vec![]),
        Some(Command::Peers(options)) => return peers::run(options),
        None => {}
    }
    ending::clean_up_on_panic_and_signal().map_err(|error| error.to_string())?;
    let setting = Setting {
        members: arguments.members,
        storage: arguments.storage,
        seed: arguments.seed,
        plugin: arguments.plugin.clone().map_or_else(plugin::build, Ok)?,
    };
    let mut all = Found::default();
    let mut measured = serde_json::Map::new();
    for scenario in chosen(&arguments.scenarios) {
        println!("\n## {}", name(scenario));
        let mut runs = Vec::new();
        let runs_of_it = match scenario {
            Scenario::Fill | Scenario::Storm => 1,
            Scenario::All
            | Scenario::Exec
            | Scenario::Hot
            | Scenario::Many
            | Scenario::Pods1000
            | Scenario::Slow => arguments.runs,
        };
        for _ in 0..runs_of_it {
            let found = run_scenario(scenario, &setting, &arguments)?;
            all.complaints.extend(found.complaints);
            all.ratios.extend(found.ratios);
            runs.push(found.json);
        }
        measured.insert(name(scenario), json!(runs));
    }
    let ratios = report::print_ratios(&all.ratios);
    if let Some(path) = arguments.json {
        let document = json!({
            "members": setting.members,
            "storage": format!("{:?}", setting.storage).to_lowercase(),
            "seed": setting.seed,
            "scenarios": measured,
            "ratios": ratios,
        });
        let written = fs::write(&path, format!("{document:#}\n"));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if all.complaints.is_empty() {
        println!("\nAll exact figures are as they must be.");
    }
    Ok(all.complaints)
}

fn chosen(scenarios: &[Scenario]) -> Vec<Scenario> {
    let each = |scenario: &Scenario| match scenario {
        Scenario::All => EACH.to_vec(),
        other => vec![*other],
    };
    scenarios.iter().flat_map(each).collect()
}

fn name(scenario: Scenario) -> String {
    let value = scenario.to_possible_value();
    value.expect("no scenario is hidden").get_name().to_owned()
}

fn run_scenario(
    scenario: Scenario,
    setting: &Setting,
    arguments: &Arguments,
) -> Result<Found, String> {
    let window = Duration::from_secs_f64(arguments.seconds);
    match scenario {
        Scenario::Fill => fill::run(setting, &arguments.fill),
        Scenario::All => unreachable!("it stands for the others"),
        Scenario::Exec => in_arena(setting, |arena| exec::run(arena, setting)),
        Scenario::Many => in_arena(setting, |arena| many::run(arena, window)),
        Scenario::Storm => in_arena(setting, |arena| storm::run(arena, setting)),
        Scenario::Pods1000 => in_arena(setting, pods::run),
        Scenario::Slow => slow::run(setting, window),
        Scenario::Hot => in_arena(setting, |arena| {
            hot::run(arena, window, &arguments.clients, arguments.alone)
        }),
    }
}

/// Runs a scenario on a cluster of its own.
fn in_arena(
    setting: &Setting,
    act: impl FnOnce(&Arena<'_>) -> Result<Found, String>,
) -> Result<Found, String> {
    let runtime = runtime()?;
    let cluster = Cluster::start(setting.members, setting.storage, &[]);
    let arena = Arena::new(setting, &runtime, &cluster, cluster.access())?;
    act(&arena)
}
