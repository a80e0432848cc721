//! `check` of the datastore kubernetes: one inventory, and a second one if a process may still be at work.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use whereabouts_core::address::BlockKey;
use whereabouts_kubernetes::inventory::{Death, Finding, Inventory};

use super::check::{RepairOption, Report};
use crate::connection::{Connection, ObjectStore, ObjectView};
use crate::output::{Decision, Ending, Output, say, say_lines};

/// Between two inventories. An ADD gets its bits, and a DEL clears them, within less.
const PAUSE: Duration = Duration::from_secs(5);

/// The repairs that findings call for.
enum Repairs {
    /// Bits of these blocks go to claims that were created anew. Dead bits stay meanwhile: the claims of others may be missing.
    Rebind(BTreeSet<BlockKey>),
    /// The dead bits of these blocks are cleared.
    Clear(BTreeSet<BlockKey>),
}

impl Repairs {
    fn of(findings: &[Finding]) -> Self {
        let dead = |is_meant: fn(Death) -> bool| {
            let dead = findings.iter().filter_map(move |finding| match finding {
                Finding::Dead { key, death, .. } if is_meant(*death) => Some(key.clone()),
                _ => None,
            });
            dead.collect::<BTreeSet<BlockKey>>()
        };
        let rebound = dead(|death| death == Death::CreatedAnew);
        if rebound.is_empty() {
            Self::Clear(dead(|_| true))
        } else {
            Self::Rebind(rebound)
        }
    }

    fn texts(&self) -> Vec<String> {
        let (words, blocks) = match self {
            Self::Rebind(blocks) => (
                "give the claims that were created anew their bits in",
                blocks,
            ),
            Self::Clear(blocks) => ("clear the dead bits of", blocks),
        };
        blocks
            .iter()
            .map(|block| format!("{words} block {block}"))
            .collect()
    }

    fn carry_out(&self, connection: &Connection, objects: &ObjectStore) -> Result<(), String> {
        let done = match self {
            Self::Rebind(blocks) => connection.wait(objects.rebind(blocks)).map(drop),
            Self::Clear(blocks) => connection.wait(objects.sweep(blocks)),
        };
        done.map_err(|error| error.to_string())
    }
}

/// Checks the objects, repairs bits if that is wanted, prints what was found, and says how that ends.
pub(super) fn check(
    connection: &Connection,
    objects: &ObjectStore,
    option: &RepairOption,
    output: Output,
) -> Result<Ending, String> {
    if !option.damaged.is_empty() {
        let instead = "it has no keys. `kubectl` edits an object that cannot be used";
        connection.store.expect_keys("--damaged", instead)?;
    }
    let (mut view, mut findings) = look(connection, objects)?;
    let mut repairs = Repairs::of(&findings);
    let texts = repairs.texts();
    if option.repair && !texts.is_empty() {
        let question = format!("Carry out {} repairs?", texts.len());
        say_lines(&report(&view.inventory, &findings, texts.clone()).text());
        if option.consent.ask(&question) == Decision::Go {
            repairs.carry_out(connection, objects)?;
            for text in texts {
                say!("done: {text}");
            }
            (view, findings) = look(connection, objects)?;
            repairs = Repairs::of(&findings);
        }
    }
    let left = if option.repair {
        repairs.texts()
    } else {
        Vec::new()
    };
    Ok(report(&view.inventory, &findings, left).print(output))
}

/// An inventory and its findings, but for those that a second inventory does not have.
fn look(
    connection: &Connection,
    objects: &ObjectStore,
) -> Result<(Rc<ObjectView>, Vec<Finding>), String> {
    let read = || {
        let view = connection.wait(objects.view());
        view.map_err(|error| error.to_string())
    };
    let first = read()?;
    let before = &first.inventory.findings;
    if !before.iter().any(Finding::may_pass) {
        return Ok((first.clone(), before.clone()));
    }
    thread::sleep(PAUSE);
    let second = read()?;
    let stays = |finding: &&Finding| !finding.may_pass() || before.contains(finding);
    let findings = second.inventory.findings.iter().filter(stays);
    let findings = findings.cloned().collect();
    Ok((second, findings))
}

fn report(inventory: &Inventory, findings: &[Finding], repairs: Vec<String>) -> Report {
    let held = inventory
        .claims
        .iter()
        .map(|(_, claim)| claim.value.held.len());
    let bits = inventory
        .blocks
        .iter()
        .map(|(_, block)| block.value.bits().count());
    Report {
        claims: inventory.claims.len(),
        addresses: held.sum(),
        blocks: inventory.blocks.len(),
        set_bits: bits.sum(),
        findings: findings.iter().map(ToString::to_string).collect(),
        repairs,
        ..Report::default()
    }
}
