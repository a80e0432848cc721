//! The chaos suite: real etcd, the real plugin, and everything that can happen to them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use clap::Parser;
use serde_json::json;
use whereabouts_chaos::ending;
use whereabouts_chaos::plugin::{self, Program};
use whereabouts_chaos::proxied::{ProxiedCluster, Security, Setup};
use whereabouts_chaos::suite::fault::Fault;
use whereabouts_chaos::suite::report::Report;
use whereabouts_chaos::suite::{Options, Suite};
use whereabouts_sim::planted::Bug;

/// Shakes etcd and the plugin for a while, and judges all that happened.
#[derive(Parser)]
struct Arguments {
    /// Minutes that the run lasts at least. It goes on until every kind of fault has struck.
    #[arg(long, default_value_t = 4)]
    minutes: u64,
    /// The seed of the order of faults and of the pods' choices. Without it, a seed is drawn and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Kinds of faults that strike first, in this order. Then each kind strikes once.
    #[arg(long, value_name = "KIND,..", value_delimiter = ',', value_parser = fault)]
    first: Vec<Fault>,
    /// Members of etcd.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// The protection of connections to etcd, and within it.
    #[arg(long, value_enum, default_value_t = Security::Plain)]
    security: Security,
    /// Nodes.
    #[arg(long, default_value_t = 24)]
    nodes: u64,
    /// Pods that a node runs at the same time.
    #[arg(long, default_value_t = 4)]
    pods: u64,
    /// The program etcd.
    #[arg(long, value_name = "PATH", default_value = "etcd")]
    etcd: PathBuf,
    /// A newer etcd to which the members are upgraded one after the other, under load; may be given several times.
    #[arg(long, value_name = "PATH")]
    upgrade_to: Vec<PathBuf>,
    /// A plugin that is built already, instead of a fresh build.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Run the plugin with this bug of the simulator's catalogue. Success is then that the bug is found.
    #[arg(long, value_name = "BUG", value_parser = bug)]
    sabotage: Option<Bug>,
    /// Also write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the end of the log to this file.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let expects_findings = arguments.sabotage.is_some();
    match run(&arguments) {
        Ok(count) if (count > 0) == expects_findings => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("chaos: {reason}");
            ExitCode::from(2)
        }
    }
}

/// Gives how much was found.
fn run(arguments: &Arguments) -> Result<usize, String> {
    ending::clean_up_on_panic_and_signal().map_err(|error| error.to_string())?;
    if arguments.members < 3 {
        let members = arguments.members;
        return Err(format!(
            "--members {members}: a cluster that loses a member has at least three"
        ));
    }
    let plugin = match (&arguments.plugin, arguments.sabotage) {
        (Some(plugin), _) => plugin.clone(),
        (None, None) => plugin::build()?,
        (None, Some(_)) => plugin::build_program(Program::Sabotaged)?,
    };
    let seed = arguments.seed.unwrap_or_else(drawn_seed);
    println!(
        "seed {seed}, {} members of etcd, {:?}",
        arguments.members, arguments.security
    );
    let cluster = ProxiedCluster::start(Setup {
        members: arguments.members,
        security: arguments.security,
        etcd: found(&arguments.etcd)?,
    })
    .map_err(|error| format!("etcd: {error}"))?;
    let upgrades = arguments.upgrade_to.iter().map(|etcd| found(etcd));
    let upgrades = upgrades.collect::<Result<_, _>>()?;
    let options = Options {
        seed,
        lasts: Duration::from_mins(arguments.minutes),
        first: arguments.first.clone(),
        nodes: arguments.nodes,
        pods: arguments.pods,
        plugin,
        upgrades,
        sabotage: arguments.sabotage.map(|bug| bug.to_string()),
    };
    let suite = Suite::new(options, cluster);
    let complaints = suite.run()?;
    let count = complaints.len();
    if let Some(path) = &arguments.log {
        write(path, &suite.log_lines().join("\n"))?;
    }
    let report = Report::of(&suite, complaints);
    print!("{}", report.table());
    if let Some(path) = &arguments.json {
        let mut document = report.json();
        document["seed"] = json!(seed);
        document["members"] = json!(arguments.members);
        write(path, &format!("{document:#}\n"))?;
    }
    Ok(count)
}

/// A bug of the catalogue, by its name.
fn bug(name: &str) -> Result<Bug, String> {
    let found = Bug::ALL.iter().find(|bug| bug.to_string() == name);
    found
        .copied()
        .ok_or_else(|| format!("the bugs are {:?}", Bug::ALL))
}

/// A kind of fault, by its name.
fn fault(name: &str) -> Result<Fault, String> {
    let found = Fault::ALL.iter().find(|fault| fault.to_string() == name);
    found
        .copied()
        .ok_or_else(|| format!("the kinds of faults are {:?}", Fault::ALL))
}

/// The program, by its path: the environment of members has no `PATH`.
fn found(program: &Path) -> Result<PathBuf, String> {
    if program.components().count() > 1 {
        return Ok(program.to_path_buf());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(program));
    let found = candidates.find(|candidate| candidate.is_file());
    found.ok_or_else(|| format!("{} is not on the PATH", program.display()))
}

fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let hasher = std::collections::hash_map::RandomState::new().build_hasher();
    // Short enough to be typed.
    hasher.finish() % 1_000_000
}

fn write(path: &Path, content: &str) -> Result<(), String> {
    fs::write(path, content).map_err(|error| format!("{}: {error}", path.display()))
}
