//! `pods1000`: 1,000 pods on ten nodes, and a range of exactly 1,000 addresses. None may fail, and
//! the next one must. Beside them the global lock, and the bare requests of as many ADDs.

use whereabouts_core::verbs::Error;

use crate::arena::{Arena, Contender, Pattern};
use crate::report::{Found, Ratio, Row, Target};
use crate::rivals::RawKind;

/// How many pods, and addresses.
const PODS: u16 = 1_000;

/// The number of the pod for which nothing is left.
const ONE_TOO_MANY: u64 = u64::MAX;

/// How many times as fast as the global lock, when each round trip takes 5 ms more.
const TO_GLOBAL_LOCK: f64 = 50.0;

/// Runs it, on a network as fast as it is.
pub(crate) fn run(arena: &Arena<'_>) -> Result<Found, String> {
    let (rows, _, complaints) = play(arena)?;
    Ok(Found {
        complaints,
        ..Found::of_rows(&rows)
    })
}

/// Runs it on a network of which this is said; its ratio is judged.
pub(crate) fn run_slow(arena: &Arena<'_>, network: &str) -> Result<Found, String> {
    let (rows, faster, complaints) = play(arena)?;
    let ratio = Ratio {
        name: format!("time of 1,000 pods, {network}: the global lock's to whereabouts'"),
        value: faster,
        target: Target::AtLeast(TO_GLOBAL_LOCK),
    };
    Ok(Found {
        ratios: vec![ratio],
        complaints,
        ..Found::of_rows(&rows)
    })
}

/// The rows, how many times as long the global lock takes, and what is not as it must be.
fn play(arena: &Arena<'_>) -> Result<(Vec<Row>, f64, Vec<String>), String> {
    let pods = usize::from(PODS);
    let range = [arena.range_of(u32::from(PODS))];
    let played = arena.play(Pattern::Burst, pods, &range)?;
    let mut complaints = Vec::new();
    let one_more = arena.whereabouts(1, &range);
    match arena.runtime.block_on(one_more[0].try_add(ONE_TOO_MANY)) {
        Err(Error::Exhausted { .. }) => {}
        other => complaints.push(format!(
            "pods1000: one more than {PODS} ends with {other:?}"
        )),
    }
    let deleted = arena.take_back(&played)?;
    let cost = arena.run(Contender::GlobalLock, Pattern::Burst, pods, 1)?;
    let bare = Contender::Raw(RawKind::ReadAndTransaction);
    let bare_cost = arena.run(bare, Pattern::Burst, pods, 1)?;
    let row = |contender: Contender, what: &str, cost| Row {
        who: contender.to_string(),
        what: what.to_owned(),
        clients: pods,
        ranges: 1,
        cost,
    };
    let faster = cost.wall().as_secs_f64() / played.cost.wall().as_secs_f64();
    let rows = vec![
        row(Contender::Whereabouts, "1,000 ADDs", played.cost),
        row(Contender::Whereabouts, "1,000 DELs", deleted),
        row(Contender::GlobalLock, "1,000 ADDs", cost),
        row(bare, "1,000 ADDs", bare_cost),
    ];
    complaints.extend(arena.complaints("pods1000")?);
    Ok((rows, faster, complaints))
}
