//! What an operator wants to see first: ranges that run out, claims that are perhaps leaked, queues that stand.

use std::time::Instant;

use serde_json::{Value, json};
use whereabouts_audit::occupancy::Use;
use whereabouts_core::limits;

use crate::output::shown::{Shown, pool};
use crate::serve::lines::Lines;
use crate::serve::watched::Watched;

/// Ranges that are named.
const NAMED: usize = 20;

/// Everything of the top of the page.
pub(in crate::serve) fn overview(watched: &Watched) -> Value {
    let state = watched.state();
    let seen = &state.seen;
    let (mut count, mut full, mut nearly_full) = (0, 0, 0);
    let mut named = Vec::new();
    for used in seen.occupancy.uses_after(&watched.configured, None) {
        count += 1;
        let is_full = used.taken >= used.size;
        if is_full {
            full += 1;
        } else if is_nearly_full(&used) {
            nearly_full += 1;
        } else {
            continue;
        }
        named.push(used);
    }
    named.sort_by_key(|used| used.size.saturating_sub(used.taken));
    let named: Vec<Value> = named.iter().take(NAMED).map(range).collect();
    json!({
        "etcd": state.link(),
        "ranges": {"count": count, "full": full, "nearly_full": nearly_full, "named": named},
        "queues": queues(&seen.lines),
        "suspected": {
            "marked_alone": seen.marked_alone(),
            "earlier_boot": seen.suspects.earlier_boots(),
            "repeated": seen.suspects.repeated(),
        },
        "groups": {
            "node": seen.tallies.nodes.len(),
            "network": seen.tallies.networks.len(),
            "namespace": seen.tallies.namespaces.len(),
        },
    })
}

/// Whether at most a tenth is free.
fn is_nearly_full(used: &Use) -> bool {
    used.size.saturating_sub(used.taken) <= used.size / 10
}

fn range(used: &Use) -> Value {
    json!({
        "range": used.range.cidr.to_string(),
        "pool": pool(&used.range.pool),
        "taken": used.taken.to_string(),
        "size": used.size.to_string(),
    })
}

fn queues(lines: &Lines) -> Value {
    let tickets = || lines.queues.values().flatten();
    let oldest = tickets().map(|(_, ticket)| ticket.seen).min();
    json!({
        "busy": lines.queues.len(),
        "waiting": tickets().count(),
        "oldest_seconds": oldest.map(|seen| Instant::now().duration_since(seen).as_secs()),
    })
}

/// The claims that are perhaps leaked, with the reason. Others get their turn while it goes through many.
pub(in crate::serve) async fn suspects(watched: &Watched) -> Value {
    let mut after = None;
    let mut found: Vec<Shown> = Vec::new();
    loop {
        let slice = {
            let seen = &watched.state().seen;
            seen.suspected(after.as_ref(), limits::PAGE_SEARCH_SLICE)
        };
        found.extend(slice.found.into_iter().map(|(_, shown)| shown));
        match slice.last {
            Some(place) if found.len() <= limits::PAGE_CLAIMS => after = Some(place),
            last => {
                let has_more = last.is_some() || found.len() > limits::PAGE_CLAIMS;
                let seen = &watched.state().seen;
                let claims = found.iter().take(limits::PAGE_CLAIMS).map(|shown| {
                    let mut value = shown.value();
                    value["suspicion"] = seen.suspicion(shown).into();
                    value
                });
                return json!({"claims": claims.collect::<Vec<_>>(), "has_more": has_more});
            }
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use whereabouts_core::address::Pool;
    use whereabouts_core::claim::RangeId;

    use super::*;

    #[test]
    fn a_range_is_nearly_full_when_at_most_a_tenth_is_free() {
        for (taken, size, expected) in [
            (12, 14, false),
            (13, 14, true),
            (228, 254, false),
            (229, 254, true),
            (0, 6, false),
            (5, 6, false),
            (1 << 63, u128::from(u64::MAX), false),
            (u128::MAX - 1, u128::MAX, true),
        ] {
            let used = Use {
                range: RangeId {
                    pool: Pool::default(),
                    cidr: "10.0.0.0/8".parse().expect("a CIDR"),
                },
                held: 0,
                intervals: Vec::new(),
                size,
                taken,
            };
            assert_eq!(is_nearly_full(&used), expected, "{taken} of {size}");
        }
    }
}
