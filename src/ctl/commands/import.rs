//! `import`: what other allocators have remembered is claimed here, as an ADD would.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::foreign::{self, Target};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::{Value, json};
use whereabouts_cni::invocation::read_file;
use whereabouts_core::address::Name;
use whereabouts_core::claim::Ask;
use whereabouts_core::limits;
use whereabouts_store::At;

use super::taking::{Outcome, addresses, interface, take};
use crate::configs;
use crate::connection::{Connection, DatastoreOptions};
use crate::output::Ending;
use crate::output::{Consent, Decision, Output, OutputOption, Progress, say};
use crate::selection::selector;

/// Where the addresses are to be remembered, and how.
#[derive(Args)]
pub(crate) struct Destination {
    #[command(flatten)]
    etcd: DatastoreOptions,
    /// The network whose attachments they are: the `name` of their configs.
    #[arg(long, value_name = "NAME", value_parser = selector)]
    network: String,
    /// The pool, the `network_name` of their configs [default: the one that all configs share].
    #[arg(long, value_name = "NAME", value_parser = selector)]
    pool: Option<String>,
    /// The node that all of them are on, if it is one: its GC will look after them.
    #[arg(long, value_name = "NAME", value_parser = selector)]
    node: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: OutputOption,
}

/// The present record of the addresses.
#[derive(Subcommand)]
pub(crate) enum Source {
    /// The first whereabouts plugin's ranges in etcd: keys `/whereabouts/<range>`, a line for each
    /// address. They do not tell interfaces: see `import --help`.
    Etcd {
        /// Below which prefix its keys are.
        #[arg(long, value_name = "PREFIX", default_value = "/whereabouts/")]
        from_prefix: String,
        #[command(flatten)]
        destination: Destination,
    },
    /// One IPPool of the Kubernetes version, as `kubectl get ippool NAME -o yaml` prints it. `migrate`
    /// takes over all of them.
    Ippools {
        /// The file; `-` is standard input.
        file: PathBuf,
        #[command(flatten)]
        destination: Destination,
    },
    /// The data directory of the host-local plugin on a node: /var/lib/cni/networks/NETWORK.
    HostLocal {
        /// The directory.
        directory: PathBuf,
        /// The ranges of its config.
        #[arg(long, value_name = "CIDR", required = true)]
        range: Vec<IpNet>,
        #[command(flatten)]
        destination: Destination,
    },
}

/// Claims what `source` has.
pub(crate) fn import(source: &Source) -> Result<Ending, String> {
    let destination = match source {
        Source::Etcd { destination, .. }
        | Source::Ippools { destination, .. }
        | Source::HostLocal { destination, .. } => destination,
    };
    let network = &destination.network;
    let target = Target {
        network: Name::new(network).map_err(|error| format!("--network {network}: {error}"))?,
        pool: destination.pool.clone(),
        node: destination.node.clone(),
    };
    let connection = Connection::open(&destination.etcd)?;
    let read = match source {
        Source::Etcd { from_prefix, .. } => read_etcd(&connection, from_prefix)?,
        Source::Ippools { file, .. } => {
            let documents = configs::documents(file)?;
            let read = foreign::ip_pool(documents, target.pool.as_deref());
            read.map_err(|reason| format!("{}: {reason}", file.display()))?
        }
        Source::HostLocal {
            directory, range, ..
        } => read_host_local(directory, range)?,
    };
    let Destination {
        consent, output, ..
    } = destination;
    carry_out(&connection, read, &target, consent, output.output)
}

fn read_etcd(connection: &Connection, prefix: &str) -> Result<foreign::Read, String> {
    let instead =
        "it reads the etcd that it writes. `import ippools` and `import host-local` read files";
    connection.store.expect_keys("import etcd", instead)?;
    let mut until = prefix.as_bytes().to_vec();
    let last = until.last_mut().filter(|last| **last < u8::MAX);
    *last.ok_or("the prefix is empty")? += 1;
    let mut read = None;
    connection.each_page((prefix.as_bytes().to_vec(), until), At::Now, |page| {
        for entry in page {
            let rest = String::from_utf8_lossy(&entry.key[prefix.len()..]).into_owned();
            add(&mut read, foreign::ascii(&rest, &entry.value));
        }
        Ok(())
    })?;
    read.ok_or_else(|| format!("no key below {prefix} is a range"))
}

/// Keeps that something was understood, though it may hold nothing.
fn add(read: &mut Option<foreign::Read>, more: Option<foreign::Read>) {
    if let Some(more) = more {
        read.get_or_insert_default().extend(more);
    }
}

fn read_host_local(directory: &Path, ranges: &[IpNet]) -> Result<foreign::Read, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut read = None;
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let content = content(&entry).map_err(|error| error.to_string());
        add(&mut read, foreign::host_local(&name, content, ranges));
    }
    read.ok_or_else(|| format!("{} has no file of host-local", directory.display()))
}

/// The text of a file. host-local writes no links: one would let somebody else say what it has.
fn content(entry: &fs::DirEntry) -> io::Result<String> {
    if entry.file_type()?.is_symlink() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    let file = read_file(&entry.path(), limits::FILE_BYTES)?;
    String::from_utf8(file.bytes).map_err(|_| io::Error::other("it is not text"))
}

fn carry_out(
    connection: &Connection,
    read: foreign::Read,
    target: &Target,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    let (found, unusable): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
    let found = found.into_iter().filter_map(Result::ok).collect();
    let mut unusable: Vec<_> = unusable.into_iter().filter_map(Result::err).collect();
    let (asks, refused) = foreign::asks(found, target);
    unusable.extend(refused);
    for one in &unusable {
        say!("cannot be taken over: {one}");
    }
    let question = format!("Claim the addresses of {} attachments?", asks.len());
    let decision = consent.ask(&question);
    if decision == Decision::Refused {
        return Ok(Ending::Found);
    }
    let _held = connection.hold_if(decision == Decision::DryRun)?;
    let mut progress = Progress::new("attachments looked at");
    let mut outcomes = Vec::new();
    for ask in &asks {
        outcomes.push(take(connection, ask, decision)?);
        progress.add(1);
    }
    drop(progress);
    let all_taken = outcomes.iter().all(Outcome::is_taken);
    let values: Vec<Value> = asks.iter().zip(&outcomes).map(value).collect();
    let unusable_texts: Vec<String> = unusable.iter().map(ToString::to_string).collect();
    let all = json!({"attachments": values, "unusable": unusable_texts});
    output.print(&all, || {
        let rows: Vec<Vec<String>> = asks.iter().zip(&outcomes).map(row).collect();
        output.table(&["RESULT", "ADDRESS", "CONTAINER", "IFNAME", "WHY"], &rows)
    });
    Ok(if all_taken && unusable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

fn row((ask, outcome): (&Ask, &Outcome)) -> Vec<String> {
    vec![
        outcome.what.to_owned(),
        addresses(ask).join(","),
        ask.attachment.container.to_string(),
        interface(ask).unwrap_or("-").to_owned(),
        outcome.why.clone(),
    ]
}

fn value((ask, outcome): (&Ask, &Outcome)) -> Value {
    json!({
        "result": outcome.what,
        "why": outcome.why,
        "addresses": addresses(ask),
        "container": ask.attachment.container.as_str(),
        "interface": interface(ask).unwrap_or("-"),
    })
}
