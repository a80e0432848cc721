//! `hot`: one range, more and more clients, and the rivals beside them.

use std::time::Duration;

use crate::arena::{Arena, Contender, Pattern};
use crate::client::text;
use crate::report::{Found, Ratio, Row, Target};
use crate::rivals::RawKind;

/// How many clients.
pub(crate) const CLIENTS: [usize; 5] = [1, 8, 64, 256, 1_000];

const RIVALS: [Contender; 6] = [
    Contender::LockService,
    Contender::RangeLock,
    Contender::CompareRetry,
    Contender::GlobalLock,
    Contender::Raw(RawKind::Put),
    Contender::Raw(RawKind::Transaction),
];

/// How many times as fast as a rival, at so many clients.
const TARGETS: [(Contender, usize, f64); 8] = [
    (Contender::LockService, 8, 8.0),
    (Contender::LockService, 64, 4.0),
    (Contender::LockService, 256, 3.0),
    (Contender::RangeLock, 8, 8.0),
    (Contender::RangeLock, 64, 4.0),
    (Contender::RangeLock, 256, 3.0),
    (Contender::CompareRetry, 256, 15.0),
    (Contender::Raw(RawKind::Put), 256, 0.12),
];

/// Requests of an allocation at 256 clients.
const REQUESTS: f64 = 7.0;

/// So many clients are timed for as long as asked, more of them for longer: each is to be served
/// several times.
const CLIENTS_IN_WINDOW: u32 = 256;

/// Runs it.
pub(crate) fn run(
    arena: &Arena<'_>,
    window: Duration,
    clients: &[usize],
    is_alone: bool,
) -> Result<Found, String> {
    let rivals = if is_alone { &[][..] } else { &RIVALS };
    let mut rows = Vec::new();
    let row = |contender: Contender, what: &str, clients, cost| Row {
        who: contender.to_string(),
        what: what.to_owned(),
        clients,
        ranges: 1,
        cost,
    };
    let mut ratios = Vec::new();
    for clients in clients.iter().copied() {
        let longer = u32::try_from(clients)
            .map_err(text)?
            .div_ceil(CLIENTS_IN_WINDOW);
        let window = window * longer;
        for pattern in [Pattern::Burst, Pattern::Sustained(window)] {
            let (add, del) = match pattern {
                Pattern::Burst => ("ADD, burst", "DEL, burst"),
                Pattern::Sustained(_) => ("ADD", "DEL"),
            };
            let played = arena.play(pattern, clients, &arena.ranges(1))?;
            let deleted = arena.take_back(&played)?;
            rows.push(row(Contender::Whereabouts, add, clients, played.cost));
            rows.push(row(Contender::Whereabouts, del, clients, deleted));
        }
        let ours = &rows[rows.len() - 2].cost;
        let (rate, requests) = (ours.rate(), ours.each(ours.spent.all_requests()));
        if clients == 256 {
            ratios.push(Ratio {
                name: "requests of an allocation, one range, 256 clients".to_owned(),
                value: requests,
                target: Target::AtMost(REQUESTS),
            });
        }
        for rival in rivals.iter().copied() {
            let cost = arena.run(rival, Pattern::Sustained(window), clients, 1)?;
            let target = TARGETS
                .iter()
                .find(|(who, at, _)| (*who, *at) == (rival, clients));
            if let Some((_, _, least)) = target {
                ratios.push(Ratio {
                    name: format!("allocations/s, one range, {clients} clients: to {rival}"),
                    value: rate / cost.rate(),
                    target: Target::AtLeast(*least),
                });
            }
            rows.push(row(rival, "ADD", clients, cost));
        }
    }
    let complaints = arena.complaints("hot")?;
    Ok(Found {
        ratios,
        complaints,
        ..Found::of_rows(&rows)
    })
}
