//! The operator's tool.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use whereabouts::audit::{Audit, audit};
use whereabouts::clock::Chance;
use whereabouts::invocation::LocalMachine;
use whereabouts::listing::list;
use whereabouts::request::{self, Access};
use whereabouts::store::etcd::EtcdStore;
use whereabouts::store::keys::Keys;

/// How long etcd may take to tell everything.
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks at the addresses that whereabouts has given, and at their order.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything that must be true at rest: each address is held once, what is marked as
    /// taken is what is held, and the blocks are in order.
    ///
    /// Exit status: 0 if all is in order, 1 if something was found, 2 if it could not be checked.
    Check {
        #[command(flatten)]
        etcd: EtcdOptions,
        /// How to print what was found.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// How to reach etcd. What is not given is taken from the flat file, as by the plugin.
#[derive(Args)]
struct EtcdOptions {
    /// Where etcd is: host and port, or a list of them separated by commas.
    #[arg(long, value_name = "LIST")]
    etcd_host: Option<String>,
    /// Below which prefix the keys are.
    #[arg(long, value_name = "PREFIX")]
    etcd_prefix: Option<String>,
    /// The user to log in as.
    #[arg(long, value_name = "NAME")]
    etcd_username: Option<String>,
    /// The file with the user's password.
    #[arg(long, value_name = "FILE")]
    etcd_password_file: Option<PathBuf>,
    /// The CA that the servers' certificates are checked against.
    #[arg(long, value_name = "FILE")]
    etcd_ca_cert_file: Option<PathBuf>,
    /// The certificate to show.
    #[arg(long, value_name = "FILE")]
    etcd_cert_file: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE")]
    etcd_key_file: Option<PathBuf>,
    /// The flat file, if not in the usual place.
    #[arg(long, value_name = "FILE")]
    configuration_path: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

fn main() -> ExitCode {
    let Arguments {
        command: Command::Check { etcd, output },
    } = Arguments::parse();
    match check(&etcd) {
        Ok(audit) => {
            match output {
                Output::Table => print_table(&audit),
                Output::Json => println!("{}", to_json(&audit)),
            }
            if audit.findings.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(1)
            }
        }
        Err(reason) => {
            eprintln!("whereaboutsctl: {reason}");
            ExitCode::from(2)
        }
    }
}

fn check(etcd: &EtcdOptions) -> Result<Audit, String> {
    let access = etcd.access()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let store = EtcdStore::new(&access, &Chance::new(u64::from(std::process::id())));
    let keys = Keys::new(&access.prefix);
    let listing = runtime.block_on(async { timeout(PATIENCE, list(&store, &keys)).await });
    let listing = listing.map_err(|_| format!("etcd has not answered in {PATIENCE:?}"))?;
    let listing = listing.map_err(|error| error.to_string())?;
    Ok(audit(&keys, &listing.entries))
}

impl EtcdOptions {
    /// The options as the keys of a config that they are named after.
    fn access(&self) -> Result<Access, String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let options = [
            ("etcd_host", self.etcd_host.clone()),
            ("etcd_prefix", self.etcd_prefix.clone()),
            ("etcd_username", self.etcd_username.clone()),
            ("etcd_password_file", path(&self.etcd_password_file)),
            ("etcd_ca_cert_file", path(&self.etcd_ca_cert_file)),
            ("etcd_cert_file", path(&self.etcd_cert_file)),
            ("etcd_key_file", path(&self.etcd_key_file)),
            ("configuration_path", path(&self.configuration_path)),
        ];
        let given = options
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), Value::String(value?))));
        let keys = Value::Object(given.collect::<Map<_, _>>()).to_string();
        let access = request::access_from(keys.as_bytes(), &LocalMachine);
        let (access, remarks) = access.map_err(|error| error.details())?;
        for remark in remarks {
            eprintln!("whereaboutsctl: {}", remark.text);
        }
        Ok(access)
    }
}

fn print_table(audit: &Audit) {
    let rows = [
        ("claims", audit.claims),
        ("addresses", audit.addresses),
        ("blocks", audit.blocks),
        ("set bits", audit.set_bits),
        ("tickets", audit.tickets),
        ("findings", audit.findings.len()),
    ];
    for (name, count) in rows {
        println!("{name:<10} {count:>8}");
    }
    for finding in &audit.findings {
        println!("  {finding}");
    }
}

fn to_json(audit: &Audit) -> Value {
    let findings: Vec<String> = audit.findings.iter().map(ToString::to_string).collect();
    json!({
        "claims": audit.claims,
        "addresses": audit.addresses,
        "blocks": audit.blocks,
        "set_bits": audit.set_bits,
        "tickets": audit.tickets,
        "findings": findings,
    })
}
