//! `reconcile`: every claim without a pod, and every durable owner at rest, is judged once, and released or shown.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::runtime::Handle;
use whereabouts_controller::ApiServer;
use whereabouts_core::claim::Attachment;
use whereabouts_core::durable::DurableOwner;
use whereabouts_reconcile::{Evidence, OwnerEvidence, Standing};

use super::EvidenceOptions;
use super::report::{Judged, Outcome, Report};
use super::round::{Findings, Rounds, connect};
use crate::connection::DatastoreOptions;
use crate::output::shown::Shown;
use crate::output::shown_owner::ShownOwner;
use crate::output::{Ending, OutputOption, counted, say};

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
    /// Release more than 50 claims, and more than a tenth of all; also of durable owners.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputOption,
}

struct Once<'o> {
    options: &'o ReconcileOptions,
    api: ApiServer,
    asking: Handle,
    rounds: Rounds,
    /// The candidates that will not change any more.
    claims: BTreeMap<Attachment, (Shown, Outcome<Evidence>)>,
    owners: BTreeMap<DurableOwner, (ShownOwner, Outcome<OwnerEvidence>)>,
}

/// The candidates that may still change.
#[derive(Default)]
struct Open {
    claims: Vec<(Shown, Outcome<Evidence>)>,
    owners: Vec<(ShownOwner, Outcome<OwnerEvidence>)>,
}

/// Judges until every claim without a pod and every durable owner at rest has been judged.
pub(crate) fn reconcile(options: &ReconcileOptions) -> Result<Ending, String> {
    let asking = asking_thread()?;
    let api = connect(&asking, &options.etcd)?;
    let rules = options.evidence.rules(Duration::MAX, options.force);
    let once = Once {
        options,
        rounds: Rounds::new(
            &options.etcd.sharing_kubeconfig(),
            &api,
            &asking,
            &rules,
            options.evidence.grace,
        ),
        api,
        asking,
        claims: BTreeMap::new(),
        owners: BTreeMap::new(),
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
        let EvidenceOptions {
            grace, owner_grace, ..
        } = self.options.evidence;
        let end = Instant::now() + grace.max(owner_grace) * MOST_GRACES + Duration::from_mins(1);
        let mut read = None;
        loop {
            let cache = self.asking.block_on(self.api.list_pods())?;
            let found = self.rounds.round(
                &cache,
                |shown| self.claims.contains_key(&shown.attachment),
                |shown| self.owners.contains_key(&shown.owner),
            )?;
            let (pause, unreadable) = (found.pause, found.unreadable);
            let is_first = read.is_none();
            let (claims, owners) = *read.get_or_insert((found.claims, found.owners));
            let open = self.settle(found);
            self.rounds.tell_all();
            let Some(pause) = pause.filter(|_| Instant::now() < end && open.is_waiting()) else {
                let output = self.options.output.output;
                let report = self.report((claims, owners), unreadable, open);
                return Ok(report.print(output));
            };
            if is_first {
                say!(
                    "Without a pod: {}. Two answers, {grace:?} apart, are needed.",
                    counted(open.claims.len(), "claim")
                );
                open.say_owners(owner_grace);
            }
            thread::sleep(pause.max(LEAST_PAUSE));
        }
    }

    /// Releases what can be released. Returns what is not settled yet.
    fn settle(&mut self, found: Findings) -> Open {
        let is_dry = self.options.dry_run;
        let mut open = Open::default();
        for candidate in found.candidates {
            if is_dry && matches!(candidate.standing, Standing::Releasable(_)) {
                self.rounds.count(&candidate);
            }
            let release = |evidence| self.rounds.release(&candidate, evidence);
            let outcome = Outcome::of(candidate.standing.clone(), is_dry, release);
            let shown = candidate.shown;
            if outcome.is_open() {
                open.claims.push((shown, outcome));
            } else {
                let key = shown.attachment.clone();
                self.claims.insert(key, (shown, outcome));
            }
        }
        for candidate in found.owner_candidates {
            if is_dry && matches!(candidate.standing, Standing::Releasable(_)) {
                self.rounds.count_end(&candidate);
            }
            let end = |evidence| self.rounds.end(&candidate, evidence);
            let outcome = Outcome::of(candidate.standing.clone(), is_dry, end);
            let shown = candidate.shown;
            if outcome.is_open() {
                open.owners.push((shown, outcome));
            } else {
                let key = shown.owner.clone();
                self.owners.insert(key, (shown, outcome));
            }
        }
        open
    }

    fn report(self, (claims, owners): (usize, usize), unreadable: usize, open: Open) -> Report {
        Report {
            claims: Judged {
                all: claims,
                candidates: self.claims.into_values().chain(open.claims).collect(),
            },
            owners: Judged {
                all: owners,
                candidates: self.owners.into_values().chain(open.owners).collect(),
            },
            unreadable,
            is_dry: self.options.dry_run,
        }
    }
}

impl Open {
    fn is_waiting(&self) -> bool {
        let mut claims = self.claims.iter();
        claims.any(|(_, outcome)| outcome.is_waiting()) || self.waiting_owners() > 0
    }

    fn waiting_owners(&self) -> usize {
        let owners = self.owners.iter();
        owners.filter(|(_, outcome)| outcome.is_waiting()).count()
    }

    fn say_owners(&self, grace: Duration) {
        let count = self.waiting_owners();
        if count > 0 {
            say!(
                "Unwanted: {}. Two answers, {grace:?} apart, are needed.",
                counted(count, "durable owner")
            );
        }
    }
}
