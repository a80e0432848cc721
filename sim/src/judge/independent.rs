//! Promise 11, independent: who waits, waits for somebody whose ranges share addresses with its own.

use std::collections::BTreeMap;

use whereabouts_core::address::Interval;
use whereabouts_core::claim::RangeId;

use super::ledger::Ledger;
use super::seen::Seen;
use crate::vocabulary::ProcessId;

pub(super) fn check(
    ledger: &Ledger,
    processes: &BTreeMap<ProcessId, Seen>,
    process: ProcessId,
) -> Result<(), String> {
    let Some(seen) = processes.get(&process) else {
        return Ok(());
    };
    let shares = |theirs: &RangeId| {
        seen.ranges
            .iter()
            .any(|ours| ours.pool == theirs.pool && blocks(ours.cidr).overlaps(blocks(theirs.cidr)))
    };
    let meets = |other: &Seen| other.ranges.iter().any(shares);
    let at_once = |other: &Seen| other.ended.is_none_or(|ended| ended >= seen.started);
    let met = processes
        .iter()
        .any(|(id, other)| *id != process && at_once(other) && meets(other));
    // A lock may outlive its process by as long as its lease lives.
    if met || ledger.locks().keys().any(shares) {
        return Ok(());
    }
    Err(format!(
        "{seen} waits, and no other process shares a block with it"
    ))
}

/// The addresses of all blocks that a range has a part of.
fn blocks(cidr: ipnet::IpNet) -> Interval {
    let (first, last) = Interval::of(cidr).blocks();
    Interval::new(first.address(0), last.address(u8::MAX)).expect("blocks are in order")
}
