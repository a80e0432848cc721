//! `migrate`: all that the Kubernetes version remembers is claimed here, and the way back.

use std::path::PathBuf;

use crate::foreign::{self, Plan, Stale};
use clap::Args;
use serde_json::{Value, json};
use whereabouts_core::claim::Ask;

use super::taking::{Outcome, addresses, interface, take};
use crate::configs;
use crate::connection::{Connection, DatastoreOptions};
use crate::output::Ending;
use crate::output::shown;
use crate::output::{Decision, Output, OutputOption, Progress, print, say, yaml};
use crate::selection::choose;

/// Objects to be taken over, or the way back.
#[derive(Args)]
pub(crate) struct Migration {
    #[command(flatten)]
    etcd: DatastoreOptions,
    /// Files with IPPools, OverlappingRangeIPReservations, NetworkAttachmentDefinitions and Pods; `-` is
    /// standard input.
    #[arg(value_name = "FILE", required_unless_present = "export")]
    files: Vec<PathBuf>,
    /// Claim the addresses. Without it, only what would be done is shown.
    #[arg(short, long)]
    yes: bool,
    /// Leave behind what is stale: allocations and reservations whose pods are gone. Without it, their
    /// addresses are claimed, too, so that nobody gets one before `release` frees it.
    #[arg(long)]
    leave_stale: bool,
    /// Print the claims that are stored as IPPools and reservations: the way back.
    #[arg(long, conflicts_with_all = ["files", "yes", "leave_stale"])]
    export: bool,
    /// With --export: the namespace of the objects.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "kube-system",
        requires = "export"
    )]
    namespace: String,
    #[command(flatten)]
    output: OutputOption,
}

/// Takes over what the files of `options` have, or prints what is stored.
pub(crate) fn migrate(options: &Migration) -> Result<Ending, String> {
    if options.export {
        return export(options);
    }
    let mut documents = Vec::new();
    for file in &options.files {
        documents.extend(configs::documents(file)?);
    }
    let stale = if options.leave_stale {
        Stale::Leave
    } else {
        Stale::Take
    };
    let plan = foreign::plan(documents, stale)?;
    for one in &plan.left {
        say!("left behind: {one}");
    }
    for one in &plan.refused {
        say!("cannot be taken over: {one}");
    }
    let decision = if options.yes {
        Decision::Go
    } else {
        Decision::DryRun
    };
    let connection = Connection::open(&options.etcd)?;
    let _held = connection.hold_if(decision == Decision::DryRun)?;
    let mut progress = Progress::new("attachments looked at");
    let mut outcomes = Vec::new();
    for (ask, _) in &plan.takes {
        outcomes.push(take(&connection, ask, decision)?);
        progress.add(1);
    }
    drop(progress);
    Ok(tell(&plan, &outcomes, decision, options.output.output))
}

fn tell(plan: &Plan, outcomes: &[Outcome], decision: Decision, output: Output) -> Ending {
    let attachments: Vec<Attachment<'_>> = plan
        .takes
        .iter()
        .zip(outcomes)
        .map(|((ask, notes), outcome)| Attachment {
            ask,
            notes,
            outcome,
        })
        .collect();
    let count = |one: &Attachment<'_>| one.ask.wants.len();
    let taken = attachments.iter().filter(|one| one.outcome.is_taken());
    let taken: usize = taken.map(count).sum();
    let all = attachments.iter().map(count).sum::<usize>() + plan.refused.len();
    let texts = |list: &[foreign::Unusable]| list.iter().map(ToString::to_string).collect();
    let (refused, left): (Vec<String>, Vec<String>) = (texts(&plan.refused), texts(&plan.left));
    let value = json!({
        "attachments": attachments.iter().map(Attachment::value).collect::<Vec<_>>(),
        "unusable": refused,
        "left": left,
        "taken": taken,
        "of": all,
        "dry_run": decision == Decision::DryRun,
    });
    output.print(&value, || {
        let rows: Vec<Vec<String>> = attachments.iter().map(Attachment::row).collect();
        let end = match decision {
            Decision::Go => "taken over",
            Decision::DryRun | Decision::Refused => "can be taken over; --yes does it",
        };
        format!("{}{taken} of {all} {end}\n", output.table(COLUMNS, &rows))
    });
    if taken == all {
        Ending::AsItShould
    } else {
        Ending::Found
    }
}

/// An attachment and its outcome.
struct Attachment<'a> {
    ask: &'a Ask,
    notes: &'a [String],
    outcome: &'a Outcome,
}

/// The columns of [`Attachment::row`].
const COLUMNS: &[&str] = &[
    "RESULT",
    "ADDRESS",
    "POOL",
    "NETWORK",
    "CONTAINER",
    "IFNAME",
    "POD",
    "NODE",
    "WHY",
];

impl Attachment<'_> {
    fn why(&self) -> Vec<String> {
        let refusal = Some(self.outcome.why.clone()).filter(|why| !why.is_empty());
        refusal
            .into_iter()
            .chain(self.notes.iter().cloned())
            .collect()
    }

    fn row(&self) -> Vec<String> {
        let Ask {
            attachment,
            wants,
            owner,
            ..
        } = self.ask;
        let mut pools: Vec<String> = wants
            .iter()
            .map(|want| want.range.pool.to_string())
            .collect();
        pools.dedup();
        let pod = match (&owner.pod_namespace, &owner.pod_name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => "-".to_owned(),
        };
        vec![
            self.outcome.what.to_owned(),
            addresses(self.ask).join(","),
            pools.join(","),
            attachment.network.to_string(),
            shown::short(attachment.container.as_str()),
            interface(self.ask).unwrap_or("-").to_owned(),
            pod,
            owner.node.clone().unwrap_or_else(|| "-".to_owned()),
            self.why().join("; "),
        ]
    }

    fn value(&self) -> Value {
        let Ask {
            attachment, owner, ..
        } = self.ask;
        let ranges = self.ask.wants.iter().map(|want| {
            json!({"range": want.range.cidr.to_string(), "pool": shown::pool(&want.range.pool)})
        });
        json!({
            "result": self.outcome.what,
            "why": self.why(),
            "addresses": addresses(self.ask),
            "ranges": ranges.collect::<Vec<_>>(),
            "network": attachment.network.as_str(),
            "container": attachment.container.as_str(),
            "interface": interface(self.ask),
            "pod": {
                "namespace": owner.pod_namespace, "name": owner.pod_name, "uid": owner.pod_uid,
            },
            "node": owner.node,
        })
    }
}

/// Prints all claims as the Kubernetes version's objects, or nothing.
fn export(options: &Migration) -> Result<Ending, String> {
    let connection = Connection::open(&options.etcd)?;
    let chosen = choose(&connection, |_| true)?;
    let claims = chosen.claims.iter();
    let claims = claims.map(|shown| (&shown.attachment, &shown.claim.value));
    let (list, unusable) = foreign::export(claims, &options.namespace);
    let unusable = unusable.iter().map(ToString::to_string);
    let reasons: Vec<String> = chosen.unreadable.into_iter().chain(unusable).collect();
    if !reasons.is_empty() {
        for reason in reasons {
            say!("cannot be given back: {reason}");
        }
        say!("Nothing is printed: without these, the addresses would be given again.");
        return Ok(Ending::Found);
    }
    match options.output.output {
        Output::Table | Output::Wide => print(&yaml(&list)),
        output => output.print(&list, String::new),
    }
    Ok(Ending::AsItShould)
}
