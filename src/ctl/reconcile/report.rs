//! What `reconcile` tells at its end.

use std::fmt::Display;

use serde_json::{Value, json};
use whereabouts_reconcile::{Evidence, OwnerEvidence, Standing, Stay};

use super::round::Ended;
use crate::output::shown::Shown;
use crate::output::shown_owner::ShownOwner;
use crate::output::{Ending, Output, are, counted, say};

/// The end of a candidate.
pub(super) enum Outcome<E> {
    Released(E),
    Releasable(E),
    HeldBack(E),
    Waiting,
    InUse(Stay),
    Stayed(E, String),
}

/// All records of a kind, and the outcomes of those that were judged.
pub(super) struct Judged<R, E> {
    /// How many records there were.
    pub(super) all: usize,
    pub(super) candidates: Vec<(R, Outcome<E>)>,
}

/// The outcomes of all candidates.
pub(super) struct Report {
    pub(super) claims: Judged<Shown, Evidence>,
    pub(super) owners: Judged<ShownOwner, OwnerEvidence>,
    /// Records that cannot be read.
    pub(super) unreadable: usize,
    pub(super) is_dry: bool,
}

/// How many candidates ended in each way that somebody may have to act on.
struct Counts {
    released: usize,
    releasable: usize,
    held_back: usize,
    unsure: usize,
}

impl<E: Copy + Display> Outcome<E> {
    /// The outcome of a candidate, which `release` releases unless the run is dry.
    pub(super) fn of(
        standing: Standing<E>,
        is_dry: bool,
        release: impl FnOnce(E) -> Ended,
    ) -> Self {
        match standing {
            Standing::Waiting(_) => Self::Waiting,
            Standing::InUse(stay) => Self::InUse(stay),
            Standing::HeldBack(evidence) => Self::HeldBack(evidence),
            Standing::PutOff(evidence, _) => {
                Self::Stayed(evidence, "an earlier release has failed".to_owned())
            }
            Standing::Releasable(evidence) if is_dry => Self::Releasable(evidence),
            Standing::Releasable(evidence) => match release(evidence) {
                Ended::Released => Self::Released(evidence),
                Ended::Stayed(reason) => Self::Stayed(evidence, reason),
            },
        }
    }

    /// Whether a later round may change it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Waiting | Self::InUse(_))
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting)
    }

    /// Its name, and the evidence or the reason.
    fn told(&self) -> (&'static str, String) {
        match self {
            Self::Released(evidence) => ("released", evidence.to_string()),
            Self::Releasable(evidence) => ("releasable", evidence.to_string()),
            Self::HeldBack(evidence) => ("held back", evidence.to_string()),
            Self::Waiting => ("waiting", "not judged twice yet".to_owned()),
            Self::InUse(Stay::PodPresent) => ("in use", "its pod exists".to_owned()),
            Self::InUse(Stay::OrdinalWanted) => {
                ("in use", "its StatefulSet wants the pod".to_owned())
            }
            Self::InUse(Stay::NodeNotReady) => (
                "in use",
                "its node is not Ready, exists, and is not out of service".to_owned(),
            ),
            Self::InUse(Stay::Unknown(reason)) => ("in use", reason.clone()),
            Self::Stayed(evidence, reason) => ("stays", format!("{evidence}, but {reason}")),
        }
    }
}

impl<R, E: Copy + Display> Judged<R, E> {
    fn counts(&self) -> Counts {
        let count = |is_meant: fn(&Outcome<E>) -> bool| {
            let outcomes = self.candidates.iter().map(|(_, outcome)| outcome);
            outcomes.filter(|outcome| is_meant(outcome)).count()
        };
        Counts {
            released: count(|outcome| matches!(outcome, Outcome::Released(_))),
            releasable: count(|outcome| matches!(outcome, Outcome::Releasable(_))),
            held_back: count(|outcome| matches!(outcome, Outcome::HeldBack(_))),
            unsure: count(|outcome| {
                matches!(
                    outcome,
                    Outcome::Stayed(..) | Outcome::Waiting | Outcome::InUse(Stay::Unknown(_))
                )
            }),
        }
    }

    fn values(&self, name: &str, value: impl Fn(&R) -> Value) -> Vec<Value> {
        let candidates = self.candidates.iter();
        let values = candidates.map(|(record, outcome)| {
            let (result, reason) = outcome.told();
            json!({name: value(record), "result": result, "reason": reason})
        });
        values.collect()
    }

    /// A table with a row for each candidate; the columns of `row` come before the result.
    fn table(&self, columns: &[&str], row: impl Fn(&R) -> Vec<String>, output: Output) -> String {
        let rows = self.candidates.iter().map(|(record, outcome)| {
            let (result, reason) = outcome.told();
            let mut row = row(record);
            row.extend([result.to_owned(), reason]);
            row
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if rows.is_empty() {
            return String::new();
        }
        output.table(&[columns, &["RESULT", "REASON"]].concat(), &rows)
    }
}

impl Report {
    /// Prints it.
    pub(super) fn print(&self, output: Output) -> Ending {
        let (claims, owners) = (self.claims.counts(), self.owners.counts());
        let value = json!({
            "claims": self.claims.all,
            "released": claims.released,
            "releasable": claims.releasable,
            "held_back": claims.held_back,
            "candidates": self.claims.values("claim", Shown::value),
            "owners": {
                "all": self.owners.all,
                "released": owners.released,
                "releasable": owners.releasable,
                "held_back": owners.held_back,
                "candidates": self.owners.values("owner", ShownOwner::value),
            },
        });
        output.print(&value, || self.text(output));
        for (held_back, what) in [
            (claims.held_back, "claim"),
            (owners.held_back, "durable owner"),
        ] {
            if held_back > 0 {
                say!(
                    "{} {} held back: a run releases at most 50, or a tenth of all. --force releases all.",
                    counted(held_back, what),
                    are(held_back)
                );
            }
        }
        let held_back = claims.held_back + owners.held_back;
        if held_back + claims.unsure + owners.unsure + self.unreadable == 0 {
            Ending::AsItShould
        } else {
            Ending::Found
        }
    }

    fn text(&self, output: Output) -> String {
        let Self { claims, owners, .. } = self;
        let note = self.note();
        let columns = ["ADDRESS", "POD", "NODE", "REVISION"];
        let table = claims.table(&columns, claim_row, output);
        let all = counted(claims.all, "claim");
        let judged = claims.candidates.len();
        let text = format!("{table}{all}, {judged} without a pod{note}\n");
        if owners.all == 0 {
            return text;
        }
        let columns = ["KEPT", "POD", "INTERFACE", "NETWORK", "REVISION"];
        let table = owners.table(&columns, owner_row, output);
        let all = counted(owners.all, "durable owner");
        let judged = owners.candidates.len();
        format!("{text}{table}{all}, {judged} at rest{note}\n")
    }

    fn note(&self) -> &'static str {
        if self.is_dry {
            ". Nothing is released: --dry-run"
        } else {
            ""
        }
    }
}

fn claim_row(shown: &Shown) -> Vec<String> {
    let held = &shown.claim.value.held;
    let addresses: Vec<String> = held.iter().map(|held| held.address.to_string()).collect();
    vec![
        addresses.join(","),
        shown.pod(),
        shown.claim.value.owner.node.clone().unwrap_or_default(),
        shown.claim.modified.to_string(),
    ]
}

fn owner_row(shown: &ShownOwner) -> Vec<String> {
    let owner = &shown.owner;
    vec![
        shown.addresses(),
        format!("{}/{}", owner.namespace, owner.pod),
        owner.interface.clone(),
        owner.network.to_string(),
        shown.state.modified.to_string(),
    ]
}
