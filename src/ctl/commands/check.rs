//! `check`: everything that must be true at rest, and its repair.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};
use whereabouts_audit::invariants::{Audit, Auditor, Finding};
use whereabouts_audit::repair::{self, Repair};
use whereabouts_audit::{self as audit, Repaired};
use whereabouts_core::escaped::line;
use whereabouts_core::limits;
use whereabouts_store::At;

use super::check_objects;
use crate::connection::{Connection, ReadOptions};
use crate::output::Ending;
use crate::output::{Consent, Decision, Output, say, say_lines};
use crate::selection::selector;

/// Whether what is found is to be repaired.
#[derive(clap::Args)]
pub(crate) struct RepairOption {
    /// Show what can be repaired, ask, and repair it.
    #[arg(long)]
    pub(super) repair: bool,
    /// With --repair: the value of this key is damaged, and no program of another version can read it. A block is
    /// rebuilt from its claims; a claim is removed, and what it holds becomes free.
    #[arg(long, value_name = "KEY", requires = "repair", value_parser = selector)]
    pub(super) damaged: Vec<String>,
    /// With --repair and `datastore: kubernetes`: free the taken addresses without a claim although they are so many that
    /// pods may use them.
    #[arg(long, requires = "repair")]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) consent: Consent,
}

/// Checks what is stored, prints what was found, and says how that ends.
pub(crate) fn check(
    etcd: &ReadOptions,
    option: &RepairOption,
    output: Output,
) -> Result<Ending, String> {
    let connection = if option.repair {
        Connection::open(etcd.direct("--repair")?)?
    } else {
        Connection::open_to_read(etcd)?
    };
    if let Some(objects) = connection.object_store() {
        return check_objects::check(&connection, objects, option, output);
    }
    if option.force {
        return Err(
            "--force is of `datastore: kubernetes` alone: no repair here is held back".to_owned(),
        );
    }
    let named: BTreeSet<String> = option.damaged.iter().cloned().collect();
    let (mut audit, mut repairs) = look(&connection, &named)?;
    for key in &named {
        let is_named = |finding: &Finding| matches!(finding, Finding::Unreadable { key: one, .. } if one == key);
        if !audit.findings.iter().any(is_named) {
            return Err(format!("{key} is not among the keys that cannot be read"));
        }
    }
    if !option.repair {
        return Ok(Report::of(&audit, &[]).print(output));
    }
    if !repairs.is_empty() {
        connection.confirm_choice()?;
        say_lines(&Report::of(&audit, &repairs).text());
        let question = format!("Carry out {} repairs?", repairs.len());
        match option.consent.ask(&question) {
            Decision::DryRun | Decision::Refused => {}
            Decision::Go => (audit, repairs) = carry_out(&connection, repairs)?,
        }
    }
    Ok(Report::of(&audit, &repairs).print(output))
}

/// Repairs, and looks again, until nothing is left that can be repaired.
fn carry_out(
    connection: &Connection,
    mut repairs: Vec<Repair>,
) -> Result<(Audit, Vec<Repair>), String> {
    let mut audit = Audit::default();
    for pass in 0..limits::REPAIR_PASSES {
        // A repair that loses something was shown before it was agreed to.
        let agreed = repairs
            .iter()
            .filter(|repair| pass == 0 || repair.keeps_everything());
        for repair in agreed {
            let repaired = connection.ask(audit::repair(&connection.session(), repair))?;
            match repaired {
                Repaired::Done => say!("done: {repair}"),
                Repaired::Changed => say!("changed meanwhile, looked at again: {repair}"),
            }
        }
        (audit, repairs) = look(connection, &BTreeSet::new())?;
        if !repairs.iter().any(Repair::keeps_everything) {
            break;
        }
    }
    Ok((audit, repairs))
}

fn look(connection: &Connection, named: &BTreeSet<String>) -> Result<(Audit, Vec<Repair>), String> {
    let mut auditor = Auditor::default();
    let keys = &connection.keys;
    connection.each_page(keys.everything(), At::Now, |page| {
        for entry in page {
            auditor.enter(keys, entry);
        }
        Ok(())
    })?;
    let audit = auditor.audit();
    let repairs = repair::plan(&auditor, &audit.findings, named);
    Ok((audit, repairs))
}

/// The findings, to be printed.
#[derive(Default)]
pub(super) struct Report {
    pub(super) claims: usize,
    pub(super) addresses: usize,
    pub(super) blocks: usize,
    pub(super) set_bits: usize,
    pub(super) locks: usize,
    pub(super) tickets: usize,
    pub(super) owners: usize,
    pub(super) findings: Vec<String>,
    pub(super) repairs: Vec<String>,
}

impl Report {
    fn of(audit: &Audit, repairs: &[Repair]) -> Self {
        Self {
            claims: audit.claims,
            addresses: audit.addresses,
            blocks: audit.blocks,
            set_bits: audit.set_bits,
            locks: audit.locks,
            tickets: audit.tickets,
            owners: audit.owners,
            findings: audit.findings.iter().map(ToString::to_string).collect(),
            repairs: repairs.iter().map(ToString::to_string).collect(),
        }
    }

    /// Prints it, and says how the command ends.
    pub(super) fn print(&self, output: Output) -> Ending {
        output.print(&self.value(), || self.text());
        if self.findings.is_empty() {
            Ending::AsItShould
        } else {
            Ending::Found
        }
    }

    pub(super) fn text(&self) -> String {
        let rows = [
            ("claims", self.claims),
            ("addresses", self.addresses),
            ("blocks", self.blocks),
            ("set bits", self.set_bits),
            ("locks", self.locks),
            ("tickets", self.tickets),
            ("owners", self.owners),
            ("findings", self.findings.len()),
        ];
        let mut text = String::new();
        for (name, count) in rows {
            writeln!(text, "{name:<10} {count:>8}").expect("a text takes everything");
        }
        for finding in &self.findings {
            writeln!(text, "  {}", line(finding)).expect("a text takes everything");
        }
        for repair in &self.repairs {
            writeln!(text, "  repair: {}", line(repair)).expect("a text takes everything");
        }
        text
    }

    fn value(&self) -> Value {
        json!({
            "claims": self.claims,
            "addresses": self.addresses,
            "blocks": self.blocks,
            "set_bits": self.set_bits,
            "locks": self.locks,
            "tickets": self.tickets,
            "owners": self.owners,
            "findings": self.findings,
            "repairs": self.repairs,
        })
    }
}
