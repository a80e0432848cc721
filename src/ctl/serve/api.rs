//! The page's API: what is known, as JSON, in answers of bounded size. It only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};
use whereabouts_audit::occupancy::{Occupancy, Use, taken_in};
use whereabouts_core::address::{Address, Bitmap, BlockId, Interval, Pool};
use whereabouts_core::claim::RangeId;
use whereabouts_core::limits;
use whereabouts_store::keys::Seat;

use super::content::Content;
use super::lines::{Lines, Locked, Standing};
use super::watched::Watched;
use crate::commands::ranges::value;
use crate::output::shown::{Shown, pool};

/// Which range is meant, and where in it.
#[derive(Deserialize)]
pub(super) struct Chosen {
    range: IpNet,
    pool: Option<String>,
    #[serde(default)]
    own: bool,
    block: Option<IpAddr>,
    after: Option<IpAddr>,
}

impl Chosen {
    fn queue(&self) -> RangeId {
        let cidr = self.range.trunc();
        let name = self.pool.clone().filter(|name| !name.is_empty());
        let only = self.own.then_some(cidr);
        RangeId {
            pool: Pool { name, only },
            cidr,
        }
    }

    /// The rest of the range, after the part that was told already; `None` when that was all.
    fn rest(&self, whole: Interval) -> Option<Interval> {
        match self.after {
            Some(after) => Interval::new(Address::from(after).successor()?, whole.last()),
            None => Some(whole),
        }
    }
}

/// The searched text, and the key after which to go on.
#[derive(Deserialize)]
pub(super) struct Searched {
    search: String,
    after: Option<String>,
}

/// The range after which to go on, as `next` of an answer tells it.
#[derive(Deserialize)]
pub(super) struct Place {
    after: Option<String>,
}

impl Place {
    /// `next` for what comes after `range`.
    fn after(range: &RangeId) -> String {
        let pool = range.pool.name.as_deref().unwrap_or_default();
        let own = if range.pool.only.is_some() { "own" } else { "" };
        format!("{},{own},{pool}", range.cidr)
    }

    fn range(&self) -> Result<Option<RangeId>, &'static str> {
        let Some(after) = &self.after else {
            return Ok(None);
        };
        let mut parts = after.splitn(3, ',');
        let mut part = || parts.next().unwrap_or_default();
        let cidr = part().parse().map_err(|_| "this is no place in the list")?;
        let chosen = Chosen {
            range: cidr,
            own: part() == "own",
            pool: Some(part().to_owned()),
            block: None,
            after: None,
        };
        Ok(Some(chosen.queue()))
    }
}

/// The ranges and their use, and how current that is.
pub(super) fn ranges(watched: &Watched, place: &Place) -> Result<Value, &'static str> {
    let after = place.range()?;
    let state = watched.state();
    let occupancy = &state.seen.occupancy;
    let mut uses = occupancy.uses_after(&watched.configured, after.as_ref());
    let page: Vec<Use> = uses.by_ref().take(limits::PAGE_RANGES).collect();
    let last = page.last().map(|used| Place::after(&used.range));
    let next = uses.next().and(last);
    let ranges = page.iter().map(|used| {
        let mut value = value(used);
        let queue = state.seen.lines.queues.get(&used.range);
        value["queue"] = queue.map_or(0, BTreeMap::len).into();
        value
    });
    let ranges: Vec<Value> = ranges.collect();
    Ok(json!({"etcd": state.link(), "ranges": ranges, "next": next}))
}

/// How current it all is.
pub(super) fn status(watched: &Watched) -> Value {
    watched.state().link()
}

/// The blocks of a range of which something is taken, from its begin on.
pub(super) fn blocks(watched: &Watched, chosen: &Chosen) -> Value {
    let state = watched.state();
    let used = use_of(watched, &chosen.queue());
    let rest = chosen.rest(Interval::of(used.range.cidr));
    let blocks = rest
        .into_iter()
        .flat_map(|rest| state.seen.occupancy.blocks(&used.range.pool, rest));
    let mut taken = blocks.filter_map(|(block, bitmap)| {
        let of_block = Interval::new(block.address(0), block.address(u8::MAX)).expect("0 to 255");
        let parts = || {
            used.intervals
                .iter()
                .filter_map(|one| common(*one, of_block))
        };
        let taken: u32 = parts().map(|part| taken_in(block, bitmap, part)).sum();
        let size: u128 = parts().map(Interval::count).sum();
        let last = block.address(u8::MAX).to_string();
        let first = block.base().to_string();
        (taken > 0).then(
            || json!({"first": first, "last": last, "taken": taken, "size": size.to_string()}),
        )
    });
    let blocks: Vec<Value> = taken.by_ref().take(limits::PAGE_BLOCKS).collect();
    let next = taken
        .next()
        .and(blocks.last().map(|block| block["last"].clone()));
    json!({"blocks": blocks, "next": next})
}

/// Each address of one block of a range, and who holds it.
pub(super) fn block(watched: &Watched, chosen: &Chosen) -> Value {
    let state = watched.state();
    let used = use_of(watched, &chosen.queue());
    let whole = Interval::of(used.range.cidr);
    let at = chosen.block.map_or(whole.first(), Address::from);
    let block = BlockId::of(at);
    let blocks = Interval::new(at, at).expect("one address");
    let mut found = state.seen.occupancy.blocks(&used.range.pool, blocks);
    let bitmap = found.next().map_or(Bitmap::EMPTY, |(_, bitmap)| *bitmap);
    let addresses = (0..=u8::MAX).map(|bit| block.address(bit));
    let inside = addresses.filter(|address| whole.contains(*address));
    let cells: Vec<Value> = inside
        .map(|address| cell(&state.seen, &used, &bitmap, address))
        .collect();
    json!({"block": block.to_string(), "addresses": cells})
}

fn cell(seen: &Content, used: &Use, bitmap: &Bitmap, address: Address) -> Value {
    let holder = seen.holder(&used.range.pool, address);
    let through_this = |shown: &Shown| {
        let mut held = shown.claim.value.held.iter();
        held.any(|held| held.address == address && held.range == used.range)
    };
    let state = match (&holder, bitmap.is_set(address.bit()), used.gives(address)) {
        (Some(shown), _, _) if through_this(shown) => "held",
        (Some(_), _, _) => "other",
        // Its claim cannot be read, or was left out, or is missing: `check` tells.
        (None, true, _) => "marked",
        (None, false, true) => "free",
        (None, false, false) => "never",
    };
    json!({
        "address": address.to_string(),
        "state": state,
        "claim": holder.as_ref().map(Shown::value),
    })
}

/// The holders of a range's addresses, lowest first.
pub(super) fn claims(watched: &Watched, chosen: &Chosen) -> Value {
    let state = watched.state();
    let range = chosen.queue();
    let rest = chosen.rest(Interval::of(range.cidr));
    let holders = rest.map(|rest| state.seen.holders(&range.pool, rest));
    let mut holders = holders.into_iter().flatten().peekable();
    let page: Vec<_> = holders.by_ref().take(limits::PAGE_CLAIMS).collect();
    let last = page.last().map(|(address, _)| address.to_string());
    let next = holders.peek().and(last);
    let claims: Vec<Value> = page.iter().map(|(_, shown)| shown.value()).collect();
    json!({"claims": claims, "next": next})
}

/// The claims that hold an address, or have a text in the name of their network, container, pod,
/// namespace or node. Others get their turn while it goes through many.
pub(super) async fn search(watched: &Watched, searched: &Searched) -> Result<Value, &'static str> {
    let text = searched.search.trim();
    if text.is_empty() || text.len() > limits::PAGE_SEARCH_BYTES {
        return Err("what is searched for is empty or too long");
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let seen = &watched.state().seen;
        let holders = seen
            .pools()
            .filter_map(|pool| seen.holder(pool, address.into()));
        let claims: Vec<Value> = holders
            .take(limits::PAGE_CLAIMS)
            .map(|one| one.value())
            .collect();
        return Ok(json!({"claims": claims, "next": null}));
    }
    let parts: Vec<&[u8]> = text.split('/').map(str::as_bytes).collect();
    let mut after = searched.after.clone().unwrap_or_default().into_bytes();
    let mut claims: Vec<Value> = Vec::new();
    loop {
        let slice = {
            let seen = &watched.state().seen;
            seen.search(&after, limits::PAGE_SEARCH_SLICE, &parts)
        };
        for (key, shown) in slice
            .found
            .into_iter()
            .filter(|(_, shown)| fits(shown, text))
        {
            if claims.len() == limits::PAGE_CLAIMS {
                return Ok(json!({"claims": claims, "next": String::from_utf8_lossy(&after)}));
            }
            claims.push(shown.value());
            after = key;
        }
        match slice.last {
            Some(key) => after = key,
            None => return Ok(json!({"claims": claims, "next": null})),
        }
        tokio::task::yield_now().await;
    }
}

fn fits(shown: &Shown, text: &str) -> bool {
    let node = shown.claim.value.owner.node.as_deref().unwrap_or_default();
    let attachment = &shown.attachment;
    shown.pod().contains(text)
        || node.contains(text)
        || attachment.container.as_str().contains(text)
        || attachment.network.as_str().contains(text)
}

/// The ranges that are busy: who holds the lock, if anybody does, and who waits.
pub(super) fn queues(watched: &Watched) -> Value {
    let state = watched.state();
    let Lines { locks, queues } = &state.seen.lines;
    let busy: BTreeSet<&RangeId> = locks.keys().chain(queues.keys()).collect();
    let queues = busy.into_iter().take(limits::PAGE_QUEUES).map(|range| {
        let lock = locks.get(range);
        let mut tickets: Vec<(&Seat, &Standing)> =
            queues.get(range).into_iter().flatten().collect();
        tickets.sort_by_key(|(_, standing)| standing.created);
        let told = tickets.iter().take(limits::PAGE_TICKETS);
        json!({
            "range": range.cidr.to_string(),
            "pool": pool(&range.pool),
            "holder": lock.filter(|lock| !lock.is_offered()).map(holder),
            "offered": lock.is_some_and(Locked::is_offered),
            "offered_to": lock.filter(|lock| lock.is_offered()).map(holder),
            "length": tickets.len(),
            "tickets": told.map(|(seat, standing)| ticket(seat, standing)).collect::<Vec<_>>(),
        })
    });
    Value::Array(queues.collect())
}

fn holder(locked: &Locked) -> Value {
    let holder = locked.holder.as_ref();
    let attachment = holder.map(|lock| &lock.attachment);
    json!({
        "verb": holder.map(|lock| lock.verb.as_str()),
        "network": attachment.map(|one| one.network.as_str()),
        "container": attachment.map(|one| one.container.as_str()),
        "interface": attachment.map(|one| &one.interface),
        "revision": locked.revision,
        "seen_seconds": seconds_since(locked.seen),
    })
}

fn ticket(seat: &Seat, standing: &Standing) -> Value {
    let whose = standing.whose.as_ref();
    json!({
        "verb": seat.verb.as_str(),
        "network": whose.map(|one| one.network.as_str()),
        "container": whose.map(|one| one.container.as_str()),
        "interface": whose.map(|one| &one.interface),
        "revision": standing.created,
        "refused": standing.refused,
        "seen_seconds": seconds_since(standing.seen),
    })
}

fn seconds_since(seen: Instant) -> u64 {
    Instant::now().duration_since(seen).as_secs()
}

/// The addresses that one range can give, without the taken ones.
fn use_of(watched: &Watched, range: &RangeId) -> Use {
    let of_it = watched
        .configured
        .iter()
        .filter(|one| RangeId::of(one) == *range);
    let configured: Vec<_> = of_it.cloned().collect();
    let mut uses = Occupancy::holding(range).uses(&configured);
    uses.pop().expect("it is about one range")
}

fn common(one: Interval, other: Interval) -> Option<Interval> {
    one.overlaps(other)
        .then(|| Interval::new(one.first().max(other.first()), one.last().min(other.last())))
        .flatten()
}
