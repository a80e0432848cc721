//! `pods1000`: 1,000 pods on ten nodes, and a range of exactly 1,000 addresses. None may fail, and
//! the next one must.

use whereabouts::error::Error;

use super::arena::{Arena, Contender, Pattern};
use super::report::{Found, Row};

/// How many pods, and addresses.
const PODS: u16 = 1_000;

/// The number of the pod for which nothing is left.
const ONE_TOO_MANY: u64 = u64::MAX;

/// Runs it.
pub(crate) fn run(arena: &Arena<'_>) -> Result<Found, String> {
    let pods = usize::from(PODS);
    let range = [arena.range_of(u32::from(PODS))];
    let played = arena.play(Pattern::Burst, pods, &range)?;
    let mut complaints = Vec::new();
    let one_more = arena.whereabouts(1, &range);
    match arena.runtime.block_on(one_more[0].try_add(ONE_TOO_MANY)) {
        Err(Error::Exhausted { .. }) => {}
        other => complaints.push(format!("pods1000: one more than {PODS} ends with {other:?}")),
    }
    let deleted = arena.take_back(&played)?;
    let cost = arena.run(Contender::GlobalLock, Pattern::Burst, pods, 1)?;
    let row = |contender: Contender, what: &str, cost| Row {
        who: contender.to_string(),
        what: what.to_owned(),
        clients: pods,
        ranges: 1,
        cost,
    };
    let rows = [
        row(Contender::Whereabouts, "1,000 ADDs", played.cost),
        row(Contender::Whereabouts, "1,000 DELs", deleted),
        row(Contender::GlobalLock, "1,000 ADDs", cost),
    ];
    complaints.extend(arena.complaints("pods1000")?);
    Ok(Found {
        complaints,
        ..Found::of_rows(&rows)
    })
}
