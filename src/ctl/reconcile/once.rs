//! `reconcile`: every claim without a pod is judged once, and released or shown.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use whereabouts_controller::ApiServer;
use whereabouts_core::claim::Attachment;
use whereabouts_reconcile::{Evidence, Rules, Standing, Stay};

use super::EvidenceOptions;
use super::round::{Candidate, Ended, Findings, Rounds, connect};
use crate::connection::DatastoreOptions;
use crate::output::shown::Shown;
use crate::output::{Ending, Output, OutputOption, are, counted, say};

/// A round that proves nothing more is not repeated at once.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// After so many graces, and a minute, what is still being waited for is told as such.
const MOST_GRACES: u32 = 4;

/// The options of `reconcile`.
#[derive(Args)]
pub(crate) struct ReconcileOptions {
    #[command(flatten)]
    etcd: DatastoreOptions,
    #[command(flatten)]
    evidence: EvidenceOptions,
    /// Release what can be released.
    #[arg(long, required_unless_present = "dry_run")]
    once: bool,
    /// Only show what would be released.
    #[arg(long, conflicts_with = "once")]
    dry_run: bool,
    /// Release more than 50 claims, and more than a tenth of all.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputOption,
}

/// The end of a candidate.
enum Outcome {
    Released(Evidence),
    Releasable(Evidence),
    HeldBack(Evidence),
    Waiting,
    InUse(Stay),
    Stayed(Evidence, String),
}

struct Once<'o> {
    options: &'o ReconcileOptions,
    api: ApiServer,
    asking: Handle,
    rounds: Rounds,
    /// The candidates that will not change any more.
    settled: BTreeMap<Attachment, (Shown, Outcome)>,
}

/// Judges until every claim without a pod has been judged.
pub(crate) fn reconcile(options: &ReconcileOptions) -> Result<Ending, String> {
    let asking = asking_thread()?;
    let api = connect(&asking, options.evidence.kubeconfig.as_deref())?;
    let rules = Rules {
        grace: options.evidence.grace,
        run: Duration::MAX,
        force: options.force,
    };
    let once = Once {
        options,
        rounds: Rounds::new(&options.etcd, &api, &asking, rules),
        api,
        asking,
        settled: BTreeMap::new(),
    };
    once.run()
}

/// A runtime on a thread of its own: the datastore has another one, which waits for one thing after the other.
pub(super) fn asking_thread() -> Result<Handle, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let handle = runtime.handle().clone();
    let (ready, is_ready) = mpsc::channel();
    let run = move || {
        runtime.block_on(async {
            let _ = ready.send(());
            std::future::pending::<()>().await;
        });
    };
    thread::Builder::new()
        .name("api-server".to_owned())
        .spawn(run)
        .map_err(|error| error.to_string())?;
    is_ready.recv().map_err(|error| error.to_string())?;
    Ok(handle)
}

impl Once<'_> {
    fn run(mut self) -> Result<Ending, String> {
        let grace = self.options.evidence.grace;
        let end = Instant::now() + grace * MOST_GRACES + Duration::from_mins(1);
        let mut read = None;
        loop {
            let cache = self.asking.block_on(self.api.list_pods())?;
            let settled = &self.settled;
            let found = self
                .rounds
                .round(&cache, |shown| settled.contains_key(&shown.attachment))?;
            let (pause, unreadable) = (found.pause, found.unreadable);
            let is_first = read.is_none();
            let claims = *read.get_or_insert(found.claims);
            let open = self.settle(found);
            let Some(pause) = pause.filter(|_| Instant::now() < end && is_waiting(&open)) else {
                return Ok(self.print(claims, unreadable, open));
            };
            if is_first {
                say!(
                    "Without a pod: {}. Two answers, {grace:?} apart, are needed.",
                    counted(open.len(), "claim")
                );
            }
            thread::sleep(pause.max(LEAST_PAUSE));
        }
    }

    /// Releases what can be released. Returns what is not settled yet.
    fn settle(&mut self, found: Findings) -> Vec<(Shown, Outcome)> {
        let mut open = Vec::new();
        for candidate in found.candidates {
            let outcome = match candidate.standing.clone() {
                Standing::Waiting(_) => Outcome::Waiting,
                Standing::InUse(stay) => Outcome::InUse(stay),
                Standing::HeldBack(evidence) => Outcome::HeldBack(evidence),
                Standing::Releasable(evidence) if self.options.dry_run => {
                    Outcome::Releasable(evidence)
                }
                Standing::Releasable(evidence) => match self.rounds.release(&candidate, evidence) {
                    Ended::Released => Outcome::Released(evidence),
                    Ended::Stayed(reason) => Outcome::Stayed(evidence, reason),
                },
            };
            let Candidate { shown, .. } = candidate;
            match outcome {
                Outcome::Waiting | Outcome::InUse(_) => open.push((shown, outcome)),
                settled => {
                    self.settled
                        .insert(shown.attachment.clone(), (shown, settled));
                }
            }
        }
        open
    }

    fn print(self, claims: usize, unreadable: usize, open: Vec<(Shown, Outcome)>) -> Ending {
        let all: Vec<(Shown, Outcome)> = self.settled.into_values().chain(open).collect();
        let values: Vec<Value> = all
            .iter()
            .map(|(shown, outcome)| value(shown, outcome))
            .collect();
        let count = |is_meant: fn(&Outcome) -> bool| {
            all.iter().filter(|(_, outcome)| is_meant(outcome)).count()
        };
        let released = count(|outcome| matches!(outcome, Outcome::Released(_)));
        let releasable = count(|outcome| matches!(outcome, Outcome::Releasable(_)));
        let held_back = count(|outcome| matches!(outcome, Outcome::HeldBack(_)));
        let unsure = count(|outcome| {
            matches!(
                outcome,
                Outcome::Stayed(..) | Outcome::Waiting | Outcome::InUse(Stay::Unknown(_))
            )
        });
        let whole = json!({
            "claims": claims, "released": released, "releasable": releasable, "held_back": held_back,
            "candidates": values,
        });
        self.options.output.output.print(&whole, || {
            text(
                &all,
                claims,
                self.options.dry_run,
                self.options.output.output,
            )
        });
        if held_back > 0 {
            say!(
                "{} {} held back: a run releases at most 50, or a tenth of all. --force releases all.",
                counted(held_back, "claim"),
                are(held_back)
            );
        }
        if held_back + unsure + unreadable == 0 {
            Ending::AsItShould
        } else {
            Ending::Found
        }
    }
}

fn is_waiting(open: &[(Shown, Outcome)]) -> bool {
    open.iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Waiting))
}

impl Outcome {
    /// Its name, and the evidence or the reason.
    fn told(&self) -> (&'static str, String) {
        match self {
            Self::Released(evidence) => ("released", evidence.to_string()),
            Self::Releasable(evidence) => ("releasable", evidence.to_string()),
            Self::HeldBack(evidence) => ("held back", evidence.to_string()),
            Self::Waiting => ("waiting", "not judged twice yet".to_owned()),
            Self::InUse(Stay::PodPresent) => ("in use", "its pod exists".to_owned()),
            Self::InUse(Stay::NodeNotReady) => (
                "in use",
                "its node is not Ready, exists, and is not out of service".to_owned(),
            ),
            Self::InUse(Stay::Unknown(reason)) => ("in use", reason.clone()),
            Self::Stayed(evidence, reason) => ("stays", format!("{evidence}, but {reason}")),
        }
    }
}

fn value(shown: &Shown, outcome: &Outcome) -> Value {
    let (result, reason) = outcome.told();
    json!({"claim": shown.value(), "result": result, "reason": reason})
}

fn text(all: &[(Shown, Outcome)], claims: usize, is_dry: bool, output: Output) -> String {
    let rows = all.iter().map(|(shown, outcome)| {
        let (result, reason) = outcome.told();
        let node = shown.claim.value.owner.node.clone().unwrap_or_default();
        let held = &shown.claim.value.held;
        let addresses: Vec<String> = held.iter().map(|held| held.address.to_string()).collect();
        vec![
            addresses.join(","),
            shown.pod(),
            node,
            shown.claim.modified.to_string(),
            result.to_owned(),
            reason,
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let headers = ["ADDRESS", "POD", "NODE", "REVISION", "RESULT", "REASON"];
    let table = if rows.is_empty() {
        String::new()
    } else {
        output.table(&headers, &rows)
    };
    let note = if is_dry {
        ". Nothing is released: --dry-run"
    } else {
        ""
    };
    format!(
        "{table}{}, {} without a pod{note}\n",
        counted(claims, "claim"),
        all.len()
    )
}
