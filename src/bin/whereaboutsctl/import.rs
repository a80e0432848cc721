//! `import`: what other allocators have remembered is claimed here, as an ADD would.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::{Value, json};
use whereabouts::address::Name;
use whereabouts::allocator::{Budget, Demand, Reach, Verdict, decide};
use whereabouts::claim::{Ask, Choice};
use whereabouts::import::{self, Target};
use whereabouts::limits;
use whereabouts::operation;
use whereabouts::snapshot::Query;
use whereabouts::store::At;
use whereabouts::store::record::Shortage;

use crate::Ending;
use crate::chosen::selector;
use crate::configs;
use crate::connection::{Connection, EtcdOptions};
use crate::output::{Consent, Decision, Output, OutputOption, Progress, say, table};

/// Where the addresses are to be remembered, and how.
#[derive(Args)]
pub(crate) struct Destination {
    #[command(flatten)]
    etcd: EtcdOptions,
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

/// What remembers them so far.
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
    /// The Kubernetes version's IPPools, as `kubectl get ippools -A -o yaml` prints them.
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
            documents.iter().flat_map(import::ip_pools).collect()
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

fn read_etcd(connection: &Connection, prefix: &str) -> Result<import::Read, String> {
    let mut until = prefix.as_bytes().to_vec();
    let last = until.last_mut().filter(|last| **last < u8::MAX);
    *last.ok_or("the prefix is empty")? += 1;
    let mut read = import::Read::new();
    connection.each_page((prefix.as_bytes().to_vec(), until), At::Now, |page| {
        for entry in page {
            let rest = String::from_utf8_lossy(&entry.key[prefix.len()..]).into_owned();
            read.extend(import::ascii(&rest, &entry.value));
        }
        Ok(())
    })?;
    Ok(read)
}

fn read_host_local(directory: &Path, ranges: &[IpNet]) -> Result<import::Read, String> {
    let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut read = import::Read::new();
    for entry in fs::read_dir(directory).map_err(|error| fail(directory, error))? {
        let path = entry.map_err(|error| fail(directory, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_file() {
            let content = fs::read_to_string(&path).map_err(|error| fail(&path, error))?;
            read.extend(import::host_local(&name, &content, ranges));
        }
    }
    Ok(read)
}

/// What becomes of one request.
struct Outcome {
    what: &'static str,
    why: String,
}

fn carry_out(
    connection: &Connection,
    read: import::Read,
    target: &Target,
    consent: &Consent,
    output: Output,
) -> Result<Ending, String> {
    let (found, unusable): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
    let found = found.into_iter().filter_map(Result::ok).collect();
    let mut unusable: Vec<_> = unusable.into_iter().filter_map(Result::err).collect();
    let (asks, refused) = import::asks(found, target);
    unusable.extend(refused);
    for one in &unusable {
        say!("cannot be taken over: {one}");
    }
    let question = format!("Claim the addresses of {} attachments?", asks.len());
    let decision = consent.ask(&question);
    let mut progress = Progress::new("attachments looked at");
    let mut outcomes = Vec::new();
    for ask in &asks {
        let verdict = match decision {
            Decision::Refused => return Ok(Ending::Found),
            Decision::DryRun => foresee(connection, ask)?,
            Decision::Go => {
                let (session, demand) = (connection.session(), Demand::Take(ask.clone()));
                let taken = connection.wait(operation::perform(&session, &demand));
                taken.map_err(|error| format!("{}: {error}", ask.attachment))?
            }
        };
        progress.add(1);
        outcomes.push(outcome(&verdict, decision));
    }
    drop(progress);
    let lost = outcomes.iter().filter(|one| one.what == "refused").count();
    let values: Vec<Value> = asks.iter().zip(&outcomes).map(value).collect();
    let unusable_texts: Vec<String> = unusable.iter().map(ToString::to_string).collect();
    let all = json!({"attachments": values, "unusable": unusable_texts});
    output.print(&all, || {
        let rows: Vec<Vec<String>> = asks.iter().zip(&outcomes).map(row).collect();
        table(&["RESULT", "ADDRESS", "CONTAINER", "IFNAME", "WHY"], &rows)
    });
    Ok(if lost == 0 && unusable.is_empty() {
        Ending::AsItShould
    } else {
        Ending::Found
    })
}

/// What would be decided now.
fn foresee(connection: &Connection, ask: &Ask) -> Result<Verdict, String> {
    let demand = Demand::Take(ask.clone());
    let mut queries = vec![Query::Claim(ask.attachment.clone())];
    queries.extend(demand.block_queries(Reach::OneDemand));
    let snapshot = connection.ask(connection.session().snapshot(&queries))?;
    let budget = Budget {
        compares: limits::TRANSACTION_OPERATIONS,
        operations: limits::TRANSACTION_OPERATIONS,
    };
    let plan = decide(&snapshot, &[demand], budget);
    let verdict = plan.verdicts.into_iter().next();
    Ok(verdict.expect("a request for stated addresses needs no further read"))
}

fn outcome(verdict: &Verdict, decision: Decision) -> Outcome {
    let said = |what, why: String| Outcome { what, why };
    match verdict {
        Verdict::Granted(_) if decision == Decision::DryRun => {
            said("would be claimed", String::new())
        }
        Verdict::Granted(_) => said("claimed", String::new()),
        Verdict::Held(_) => said("held already", String::new()),
        Verdict::HoldsOther(claim) => said("refused", format!("it holds {claim}")),
        Verdict::Short(Shortage::Taken(held)) => said(
            "refused",
            format!("{} is held by another attachment", held.address),
        ),
        verdict @ (Verdict::Short(Shortage::Exhausted(_))
        | Verdict::Released
        | Verdict::NothingHeld
        | Verdict::ClaimChanged(_)) => {
            unreachable!("a request for stated addresses ended with {verdict:?}")
        }
    }
}

fn addresses(ask: &Ask) -> Vec<String> {
    let stated = ask.wants.iter().filter_map(|want| match want.choice {
        Choice::Exactly(address) => Some(address.to_string()),
        Choice::Lowest(_) => None,
    });
    stated.collect()
}

fn row((ask, outcome): (&Ask, &Outcome)) -> Vec<String> {
    vec![
        outcome.what.to_owned(),
        addresses(ask).join(","),
        ask.attachment.container.to_string(),
        ask.attachment.interface.replace(':', "-"),
        outcome.why.clone(),
    ]
}

fn value((ask, outcome): (&Ask, &Outcome)) -> Value {
    json!({
        "result": outcome.what,
        "why": outcome.why,
        "addresses": addresses(ask),
        "container": ask.attachment.container.as_str(),
        "interface": ask.attachment.interface.replace(':', "-"),
    })
}
