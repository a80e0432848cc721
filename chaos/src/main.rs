//! The chaos suite: real etcd, real API servers, the real plugin, and everything that can happen to them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use clap::Parser;
use serde_json::json;
use whereabouts_chaos::ending;
use whereabouts_chaos::plugin::{self, Program};
use whereabouts_chaos::proxied::{ProxiedCluster, Security, Setup};
use whereabouts_chaos::servers::Servers;
use whereabouts_chaos::suite::fault::Fault;
use whereabouts_chaos::suite::report::Report;
use whereabouts_chaos::suite::{Datastore, Options, Suite};
use whereabouts_fixtures::apiserver::Programs;
use whereabouts_fixtures::binaries;
use whereabouts_sim::kubernetes::REAL_BUGS;
use whereabouts_sim::planted::Bug;

/// Shakes the datastore and the plugin for a while, and judges all that happened.
#[derive(Parser)]
struct Arguments {
    /// The datastore of the plugin.
    #[arg(long, value_enum, default_value_t = Datastore::Etcd)]
    datastore: Datastore,
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
    /// The program etcd; by default the one on the PATH, and with `--datastore kubernetes` the part etcd-3.7.
    #[arg(long, value_name = "PATH")]
    etcd: Option<PathBuf>,
    /// The program kube-apiserver, for `--datastore kubernetes`; by default the part kubernetes.
    #[arg(long, value_name = "PATH")]
    kube_apiserver: Option<PathBuf>,
    /// The program kubectl, for `--datastore kubernetes`; by default the part kubernetes.
    #[arg(long, value_name = "PATH")]
    kubectl: Option<PathBuf>,
    /// A newer etcd to which the members are upgraded one after the other, under load; may be given several times.
    #[arg(long, value_name = "PATH")]
    upgrade_to: Vec<PathBuf>,
    /// A plugin that is built already, instead of a fresh build.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Run the plugin with this bug of the simulator's catalogue for the datastore. Success is then that the bug is found.
    #[arg(long, value_name = "BUG")]
    sabotage: Option<String>,
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
    check(arguments)?;
    let plugin = match (&arguments.plugin, &arguments.sabotage) {
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
        etcd: etcd(arguments)?,
    })
    .map_err(|error| format!("etcd: {error}"))?;
    let servers = servers(arguments, &cluster)?;
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
        sabotage: arguments.sabotage.clone(),
    };
    let suite = Suite::new(options, cluster, servers);
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
        document["datastore"] = json!(format!("{:?}", arguments.datastore).to_lowercase());
        write(path, &format!("{document:#}\n"))?;
    }
    Ok(count)
}

/// That the faults and the bug are of the datastore.
fn check(arguments: &Arguments) -> Result<(), String> {
    let kinds = Fault::of(arguments.datastore);
    if let Some(other) = arguments.first.iter().find(|first| !kinds.contains(first)) {
        let datastore = arguments.datastore;
        return Err(format!(
            "--first {other}: the kinds of faults of {datastore:?} are {kinds:?}"
        ));
    }
    let bugs: Vec<String> = match arguments.datastore {
        Datastore::Etcd => Bug::ALL.iter().map(ToString::to_string).collect(),
        Datastore::Kubernetes => REAL_BUGS.iter().map(|bug| format!("{bug:?}")).collect(),
    };
    match &arguments.sabotage {
        Some(bug) if !bugs.contains(bug) => Err(format!(
            "--sabotage {bug}: the bugs are {}",
            bugs.join(", ")
        )),
        Some(_) | None => Ok(()),
    }
}

/// The program etcd.
fn etcd(arguments: &Arguments) -> Result<PathBuf, String> {
    match (&arguments.etcd, arguments.datastore) {
        (Some(etcd), _) => found(etcd),
        (None, Datastore::Etcd) => found(Path::new("etcd")),
        (None, Datastore::Kubernetes) => binaries::part("etcd-3.7", "etcd-3.7"),
    }
}

/// The API servers on `cluster`, if the datastore has some.
fn servers(arguments: &Arguments, cluster: &ProxiedCluster) -> Result<Option<Servers>, String> {
    if arguments.datastore == Datastore::Etcd {
        return Ok(None);
    }
    let program = |given: &Option<PathBuf>, name| match given {
        Some(path) => found(path),
        None => binaries::part("kubernetes", name),
    };
    let programs = Programs {
        kube_apiserver: program(&arguments.kube_apiserver, "kube-apiserver")?,
        kubectl: program(&arguments.kubectl, "kubectl")?,
    };
    let servers = Servers::start(cluster, &programs, arguments.nodes);
    servers
        .map(Some)
        .map_err(|error| format!("kube-apiserver: {error}"))
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
