//! `check` of the datastore kubernetes: one inventory, and a second one if a process may still be at work.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use whereabouts_core::address::BlockKey;
use whereabouts_kubernetes::inventory::{Finding, Inventory};

use super::check::{RepairOption, Report};
use crate::connection::{Connection, ObjectStore, ObjectView};
use crate::output::{Decision, Ending, Output, counted, say, say_lines};

/// Between two inventories. An ADD gets its bits, and a DEL clears them, within less.
const PAUSE: Duration = Duration::from_secs(5);

/// Checks the objects, clears dead bits if that is wanted, prints what was found, and says how that ends.
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
    let blocks = with_dead_bits(&findings);
    if option.repair && !blocks.is_empty() {
        let repairs = blocks.iter().map(clears).collect();
        say_lines(&report(&view.inventory, &findings, repairs).text());
        let question = format!("Clear the dead bits of {}?", counted(blocks.len(), "block"));
        if option.consent.ask(&question) == Decision::Go {
            let swept = connection.wait(objects.sweep(&blocks));
            swept.map_err(|error| error.to_string())?;
            for block in &blocks {
                say!("done: {}", clears(block));
            }
            (view, findings) = look(connection, objects)?;
        }
    }
    let left = with_dead_bits(&findings);
    let repairs = left.iter().filter(|_| option.repair).map(clears);
    Ok(report(&view.inventory, &findings, repairs.collect()).print(output))
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

fn with_dead_bits(findings: &[Finding]) -> BTreeSet<BlockKey> {
    let dead = findings.iter().filter_map(|finding| match finding {
        Finding::Dead { key, .. } => Some(key.clone()),
        _ => None,
    });
    dead.collect()
}

fn clears(block: &BlockKey) -> String {
    format!("clear the dead bits of block {block}")
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
