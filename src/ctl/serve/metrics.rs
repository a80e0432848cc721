//! The content of etcd and the counters of the reaper, as metrics: a bounded number of series,
//! however many ranges and nodes there are.

use std::collections::BTreeMap;
use std::time::Instant;

use whereabouts_audit::occupancy::Use;
use whereabouts_core::claim::RangeId;
use whereabouts_core::limits;

use super::content::Content;
use super::counters::Counter;
use super::exposition::{Exposition, Kind, Sample};
use super::watched::{Link, Watched};

/// The value of a family for one range.
type Tells<'a> = &'a dyn Fn(&Use) -> String;

/// In place of the names of all nodes that have no series of their own.
const OTHERS: &str = "(others)";

/// The counters of the reaper.
#[derive(Default)]
pub(super) struct ReaperCounters {
    /// Runs that looked at every claim and released what was not needed.
    pub(super) done: Counter,
    /// Runs that did not.
    pub(super) failed: Counter,
    /// Claims that it has released as their network namespace is gone.
    pub(super) without_netns: Counter,
    /// Claims that it has released as they are of an earlier boot of the node.
    pub(super) of_earlier_boots: Counter,
    /// Claims that are not needed, and which it could not release.
    pub(super) stayed: Counter,
    /// Claims of which it could not tell whether they are needed.
    pub(super) unjudged: Counter,
}

impl ReaperCounters {
    /// Adds them to a scrape.
    pub(super) fn tell(&self, text: &mut Exposition) {
        let runs = [("done", &self.done), ("failed", &self.failed)];
        let sample = |(result, count): (&'static str, &Counter)| {
            (vec![("result", result)], count.get().to_string())
        };
        text.family(
            "whereabouts_reaper_runs_total",
            Kind::Counter,
            "Runs of the reaper on this node.",
            runs.map(sample),
        );
        let released = [
            ("netns-gone", &self.without_netns),
            ("earlier-boot", &self.of_earlier_boots),
        ];
        let sample = |(evidence, count): (&'static str, &Counter)| {
            (vec![("evidence", evidence)], count.get().to_string())
        };
        text.family(
            "whereabouts_reaper_released_claims_total",
            Kind::Counter,
            "Claims that the reaper has released, by the evidence that they are not needed.",
            released.map(sample),
        );
        text.value(
            "whereabouts_reaper_stayed_claims_total",
            Kind::Counter,
            "Claims that are not needed and could not be released.",
            self.stayed.get(),
        );
        text.value(
            "whereabouts_reaper_unjudged_claims_total",
            Kind::Counter,
            "Claims that stay, as their namespace could not be judged.",
            self.unjudged.get(),
        );
    }
}

/// Adds what is known of etcd to a scrape.
pub(super) fn tell(watched: &Watched, text: &mut Exposition) {
    let state = watched.state();
    let is_live = u8::from(state.link == Link::Live);
    let gauge = Kind::Gauge;
    text.value(
        "whereabouts_etcd_up",
        gauge,
        "Whether what is known of the datastore is current.",
        is_live,
    );
    text.value(
        "whereabouts_etcd_revision",
        gauge,
        "The last revision that is known.",
        state.revision,
    );
    text.value(
        "whereabouts_etcd_listings_total",
        Kind::Counter,
        "How often everything was read.",
        state.listings,
    );
    text.value(
        "whereabouts_listing_age_seconds",
        gauge,
        "How old the knowledge of a datastore is that is polled; 0 of one that is followed.",
        state.freshness.age().unwrap_or_default().as_secs(),
    );
    let seen = &state.seen;
    text.value(
        "whereabouts_claims",
        gauge,
        "Claims that are known.",
        seen.claims(),
    );
    text.value(
        "whereabouts_claims_left_out",
        gauge,
        "Claims without room here.",
        seen.left_out,
    );
    text.value(
        "whereabouts_claims_bytes",
        gauge,
        "Memory that claims take, about.",
        seen.bytes(),
    );
    text.value(
        "whereabouts_unreadable_keys",
        gauge,
        "Keys or objects that cannot be read.",
        seen.unreadable(),
    );
    let suspects = [
        ("earlier-boot", seen.suspects.earlier_boots()),
        ("repeated", seen.suspects.repeated()),
    ];
    text.family(
        "whereabouts_suspected_claims",
        gauge,
        "Claims that are perhaps leaked: of an earlier boot of their node, or beside a newer one of their pod.",
        suspects.map(|(reason, count)| (vec![("reason", reason)], count.to_string())),
    );
    tell_ranges(watched, seen, text);
    tell_nodes(seen, text);
}

fn tell_ranges(watched: &Watched, seen: &Content, text: &mut Exposition) {
    let mut uses = seen.occupancy.uses(&watched.configured);
    let left_out = uses.len().saturating_sub(limits::METRIC_RANGES);
    if left_out > 0 {
        // Networks without a pod must not take the series of ranges that are in use.
        uses.sort_by_key(|used| used.held == 0);
    }
    uses.truncate(limits::METRIC_RANGES);
    let named: Vec<(Named, &Use)> = uses
        .iter()
        .map(|used| (Named::of(&used.range), used))
        .collect();
    let families: [(&str, &str, Tells<'_>); 6] = [
        (
            "size_addresses",
            "Addresses that the range can give.",
            &|used| used.size.to_string(),
        ),
        (
            "taken_addresses",
            "Addresses of the range that anybody holds.",
            &|used| used.taken.to_string(),
        ),
        (
            "free_addresses",
            "Addresses of the range that nobody holds.",
            &|used| used.size.saturating_sub(used.taken).to_string(),
        ),
        (
            "held_addresses",
            "Addresses that were given through this range.",
            &|used| used.held.to_string(),
        ),
        (
            "queue_length",
            "Tickets in the queue of the range.",
            &|used| {
                seen.lines
                    .queues
                    .get(&used.range)
                    .map_or(0, BTreeMap::len)
                    .to_string()
            },
        ),
        (
            "oldest_ticket_seconds",
            "For how long the oldest ticket is seen; 0 without one.",
            &|used| oldest_ticket_s(seen, &used.range).to_string(),
        ),
    ];
    for (name, help, tell) in families {
        let samples = named
            .iter()
            .map(|(named, used)| (named.labels(), tell(used)));
        text.family(
            &format!("whereabouts_range_{name}"),
            Kind::Gauge,
            help,
            samples,
        );
    }
    text.value(
        "whereabouts_ranges_left_out",
        Kind::Gauge,
        "Ranges without series of their own.",
        left_out,
    );
    text.value(
        "whereabouts_locks",
        Kind::Gauge,
        "Ranges whose lock is held or offered.",
        seen.lines.locks.len(),
    );
    text.value(
        "whereabouts_tickets",
        Kind::Gauge,
        "Tickets in all queues.",
        seen.lines.queues.values().map(BTreeMap::len).sum::<usize>(),
    );
}

fn oldest_ticket_s(seen: &Content, range: &RangeId) -> u64 {
    let tickets = seen.lines.queues.get(range).into_iter().flatten();
    let oldest = tickets.min_by_key(|(_, ticket)| ticket.created);
    oldest.map_or(0, |(_, ticket)| {
        Instant::now().duration_since(ticket.seen).as_secs()
    })
}

fn tell_nodes(seen: &Content, text: &mut Exposition) {
    let mut nodes: Vec<(&str, u64)> = seen
        .tallies
        .nodes
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    // Those with most claims have series of their own.
    nodes.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let others: u64 = nodes
        .iter()
        .skip(limits::METRIC_NODES)
        .map(|(_, count)| count)
        .sum();
    let own = nodes.iter().take(limits::METRIC_NODES).copied();
    let others = (others > 0).then_some((OTHERS, others));
    let samples = own.chain(others);
    let samples =
        samples.map(|(name, count)| -> Sample<'_> { (vec![("node", name)], count.to_string()) });
    text.family(
        "whereabouts_node_claims",
        Kind::Gauge,
        "Claims of each node.",
        samples,
    );
}

/// A range as labels name it.
struct Named {
    range: String,
    pool: String,
    own: &'static str,
}

impl Named {
    fn of(range: &RangeId) -> Self {
        Self {
            range: range.cidr.to_string(),
            pool: range.pool.name.clone().unwrap_or_default(),
            own: if range.pool.only.is_some() {
                "true"
            } else {
                "false"
            },
        }
    }

    fn labels(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("range", &self.range),
            ("pool", &self.pool),
            ("own_pool", self.own),
        ]
    }
}
