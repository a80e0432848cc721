//! `many`: ranges that share no block, to show that work on one never waits for another.

use std::time::Duration;

use super::arena::{Arena, Contender, Pattern};
use super::report::{Found, Ratio, Row, Target};
use super::rivals::RawKind;

/// How many clients, on however many ranges.
const CLIENTS: usize = 256;

/// How many ranges.
const RANGES: [u8; 4] = [1, 4, 16, 64];

/// To etcd's transactions alone, on the largest number of ranges.
const TO_RAW: f64 = 0.6;

/// Runs it.
pub(crate) fn run(arena: &Arena<'_>, window: Duration) -> Result<Found, String> {
    let pattern = Pattern::Sustained(window);
    let row = |contender: Contender, what: &str, ranges, cost| Row {
        who: contender.to_string(),
        what: what.to_owned(),
        clients: CLIENTS,
        ranges,
        cost,
    };
    let mut rows = Vec::new();
    for count in RANGES {
        let ranges = arena.ranges(count);
        let played = arena.play(pattern, CLIENTS, &ranges)?;
        let deleted = arena.take_back(&played)?;
        let count = usize::from(count);
        rows.push(row(Contender::Whereabouts, "ADD", count, played.cost));
        rows.push(row(Contender::Whereabouts, "DEL", count, deleted));
    }
    let ours = rows[rows.len() - 2].cost.rate();
    let raw = Contender::Raw(RawKind::Transaction);
    let cost = arena.run(raw, pattern, CLIENTS, 1)?;
    let ratio = Ratio {
        name: format!("allocations/s, 64 ranges x 4 clients: to {raw}"),
        value: ours / cost.rate(),
        target: Target::AtLeast(TO_RAW),
    };
    rows.push(row(raw, "ADD", CLIENTS, cost));
    for rival in [Contender::RangeLock, Contender::GlobalLock] {
        let ranges = RANGES[RANGES.len() - 1];
        let cost = arena.run(rival, pattern, CLIENTS, ranges)?;
        rows.push(row(rival, "ADD", usize::from(ranges), cost));
    }
    Ok(Found {
        ratios: vec![ratio],
        complaints: arena.complaints("many")?,
        ..Found::of_rows(&rows)
    })
}
