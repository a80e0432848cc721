//! The page's API: what is known, as JSON, in answers of bounded size. It only reads.

mod address;
mod groups;
mod map;
mod overview;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};
use whereabouts_audit::occupancy::{Use, taken_in};
use whereabouts_core::address::{Address, Bitmap, BlockId, Interval, Pool, size};
use whereabouts_core::claim::RangeId;
use whereabouts_core::limits;
use whereabouts_store::keys::Seat;

pub(super) use self::address::address;
pub(super) use self::groups::{Grouped, groups};
pub(super) use self::map::map;
pub(super) use self::overview::{overview, suspects};
pub(super) use self::search::{Searched, search};
use super::content::{Content, Tally};
use super::lines::{Lines, Locked, Standing};
use super::watched::{State, Watched};
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
    /// Of the map: a part of the range.
    at: Option<IpNet>,
    /// Of the map: cells in a row.
    columns: Option<u32>,
    address: Option<IpAddr>,
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
            at: None,
            columns: None,
            address: None,
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
    let ranges: Vec<Value> = page.iter().map(|used| range_value(&state, used)).collect();
    Ok(json!({"etcd": state.link(), "ranges": ranges, "next": next}))
}

/// One range and its use, or null if nothing is known of it.
pub(super) fn range(watched: &Watched, chosen: &Chosen) -> Value {
    let state = watched.state();
    let occupancy = &state.seen.occupancy;
    let used = occupancy.use_of(&watched.configured, &chosen.queue());
    json!({"range": used.map(|used| range_value(&state, &used))})
}

fn range_value(state: &State, used: &Use) -> Value {
    let mut value = value(used);
    let queue = state.seen.lines.queues.get(&used.range);
    value["queue"] = queue.map_or(0, BTreeMap::len).into();
    value["history"] = state.history.of(&used.range).into();
    value["networks"] = networks(state.seen.tallies.of_ranges.get(&used.range)).into();
    value
}

/// The networks with most claims of a range.
fn networks(tally: Option<&Tally>) -> Vec<&str> {
    let mut networks: Vec<_> = tally.into_iter().flatten().collect();
    networks.sort_by(|one, other| other.1.cmp(one.1).then_with(|| one.0.cmp(other.0)));
    let names = networks.into_iter().map(|(name, _)| name.as_str());
    names.take(limits::PAGE_NETWORKS).collect()
}

/// The events after one, the newest first.
#[derive(Deserialize)]
pub(super) struct Since {
    #[serde(default)]
    after: u64,
}

/// What happened to claims and tickets.
pub(super) fn events(watched: &Watched, since: &Since) -> Value {
    json!({"events": watched.state().feed.events(since.after)})
}

/// How current it all is.
pub(super) fn status(watched: &Watched) -> Value {
    watched.state().link()
}

/// The blocks of a range of which something is taken, from its begin on.
pub(super) fn blocks(watched: &Watched, chosen: &Chosen) -> Value {
    let state = watched.state();
    let used = use_of(watched, &state.seen, &chosen.queue());
    let rest = chosen.rest(Interval::of(used.range.cidr));
    let blocks = rest
        .into_iter()
        .flat_map(|rest| state.seen.occupancy.blocks(&used.range.pool, rest));
    let mut taken = blocks.filter_map(|(block, bitmap)| {
        let parts: Vec<Interval> = used.parts(block.interval()).collect();
        let each = parts.iter().map(|part| taken_in(block, bitmap, *part));
        let (taken, size): (u32, u128) = (each.sum(), size(&parts));
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
    let used = use_of(watched, &state.seen, &chosen.queue());
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
    let is_taken = bitmap.is_set(address.bit());
    json!({
        "address": address.to_string(),
        "state": state(seen, used, holder.as_ref(), is_taken, address),
        "claim": holder.as_ref().map(Shown::value),
    })
}

/// The state of an address of a range.
fn state(
    seen: &Content,
    used: &Use,
    holder: Option<&Shown>,
    is_taken: bool,
    address: Address,
) -> &'static str {
    let through_this = |shown: &Shown| {
        let mut held = shown.claim.value.held.iter();
        held.any(|held| held.address == address && held.range == used.range)
    };
    match (holder, is_taken, used.gives(address)) {
        (Some(shown), _, _) if through_this(shown) => "held",
        (Some(_), _, _) => "other",
        (None, true, _) if seen.keeper(&used.range.pool, address).is_some() => "kept",
        // Its claim cannot be read, or was left out, or is missing: `check` tells.
        (None, true, _) => "marked",
        (None, false, true) => "free",
        (None, false, false) => "never",
    }
}

/// The holders of a range's addresses, lowest first.
pub(super) fn claims(watched: &Watched, chosen: &Chosen) -> Value {
    let state = watched.state();
    let range = chosen.queue();
    let part = chosen.at.filter(|at| range.cidr.contains(at));
    let rest = chosen.rest(Interval::of(part.unwrap_or(range.cidr)));
    let holders = rest.map(|rest| state.seen.holders(&range.pool, rest));
    let mut holders = holders.into_iter().flatten().peekable();
    let page: Vec<_> = holders.by_ref().take(limits::PAGE_CLAIMS).collect();
    let last = page.last().map(|(address, _)| address.to_string());
    let next = holders.peek().and(last);
    let claims: Vec<Value> = page.iter().map(|(_, shown)| shown.value()).collect();
    json!({"claims": claims, "next": next})
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
fn use_of(watched: &Watched, seen: &Content, range: &RangeId) -> Use {
    seen.occupancy.outline(&watched.configured, range)
}
