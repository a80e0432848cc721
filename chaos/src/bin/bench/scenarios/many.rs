//! `many`: ranges that share no block, to show that work on one never waits for another.

use std::time::Duration;

use crate::arena::{Arena, Contender, Pattern};
use crate::report::{Found, Ratio, Row, Target};
use crate::rivals::RawKind;

/// How many clients, on however many ranges.
const CLIENTS: usize = 256;

/// How many ranges. With as many as clients nobody meets anybody.
const RANGES: [u16; 5] = [1, 4, 16, JUDGED, 256];

/// On how many ranges it is judged, and the rivals are.
const JUDGED: u16 = 64;

/// To etcd's transactions alone.
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
    let raw = Contender::Raw(RawKind::Transaction);
    let raw_cost = arena.run(raw, pattern, CLIENTS, 1)?;
    let (mut rows, mut ratios) = (Vec::new(), Vec::new());
    for count in RANGES {
        let ranges = arena.ranges(count);
        let played = arena.play(pattern, CLIENTS, &ranges)?;
        let deleted = arena.take_back(&played)?;
        if count == JUDGED {
            ratios.push(Ratio {
                name: format!("allocations/s, {JUDGED} ranges x 4 clients: to {raw}"),
                value: played.cost.rate() / raw_cost.rate(),
                target: Target::AtLeast(TO_RAW),
            });
        }
        let count = usize::from(count);
        rows.push(row(Contender::Whereabouts, "ADD", count, played.cost));
        rows.push(row(Contender::Whereabouts, "DEL", count, deleted));
    }
    for rival in [Contender::RangeLock, Contender::GlobalLock] {
        let cost = arena.run(rival, pattern, CLIENTS, JUDGED)?;
        rows.push(row(rival, "ADD", usize::from(JUDGED), cost));
    }
    let whole = Contender::Raw(RawKind::ReadAndTransaction);
    let whole_cost = arena.run(whole, pattern, CLIENTS, 1)?;
    for (rival, cost) in [(raw, raw_cost), (whole, whole_cost)] {
        rows.push(row(rival, "ADD", CLIENTS, cost));
    }
    Ok(Found {
        ratios,
        complaints: arena.complaints("many")?,
        ..Found::of_rows(&rows)
    })
}
