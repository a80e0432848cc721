//! The use of each range: the number of its taken addresses. Pure.
//!
//! A claim names the range of its address: a pool and a CIDR. It states which addresses the range can give by the
//! configuration of its ADD. A network states the same, before any pod has used it. Configurations of one range may differ:
//! the range gives what any of them gives. Ranges that overlap share their addresses. So an address of one range may be
//! taken through another range.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::OnceLock;

use whereabouts_core::address::{
    Address, Bitmap, BlockId, BlockKey, Interval, Pool, Range, RangeSpec, size,
};
use whereabouts_core::claim::{Claim, Held, RangeId};
use whereabouts_core::durable::OwnerState;
use whereabouts_core::failure::Corrupt;
use whereabouts_core::network::StatedRange;
use whereabouts_store::Entry;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::record;

/// The taken addresses of all ranges.
#[derive(Clone, Debug, Default)]
pub struct Occupancy {
    held: BTreeMap<RangeId, HeldOf>,
    blocks: BTreeMap<BlockKey, Bitmap>,
    /// Claims and blocks that this version cannot read. They are not counted.
    pub unreadable: Vec<Corrupt>,
}

/// The addresses that are held through one range, and the statements of their claims and of networks.
#[derive(Clone, Debug, Default)]
struct HeldOf {
    /// The number of held addresses.
    count: u64,
    /// The number of statements of networks.
    networks: u64,
    /// The stated usable intervals, each list with the number of its statements. Most statements of a range agree.
    usable: BTreeMap<Vec<Interval>, u64>,
    /// The union of these lists. Thousands of networks may state different lists of one range, so it is kept until a list
    /// comes or goes.
    union: OnceLock<Vec<Interval>>,
    /// The held addresses that their own claims do not state as usable, each with the number of its holders: one, unless
    /// the store is damaged.
    beyond: BTreeMap<Address, u64>,
}

impl HeldOf {
    fn enter(&mut self, address: Address, usable: &[Interval]) {
        self.count += 1;
        self.state(usable);
        if !contains(usable, address) {
            *self.beyond.entry(address).or_default() += 1;
        }
    }

    fn leave(&mut self, address: Address, usable: &[Interval]) {
        self.count -= 1;
        self.withdraw(usable);
        if !contains(usable, address) {
            let count = self.beyond.get_mut(&address).expect("it was taken in");
            *count -= 1;
            if *count == 0 {
                self.beyond.remove(&address);
            }
        }
    }

    /// Counts a statement. An empty one states nothing.
    fn state(&mut self, usable: &[Interval]) {
        if usable.is_empty() {
            return;
        }
        if let Some(count) = self.usable.get_mut(usable) {
            *count += 1;
        } else {
            self.usable.insert(usable.to_vec(), 1);
            self.union.take();
        }
    }

    /// Removes a counted statement.
    fn withdraw(&mut self, usable: &[Interval]) {
        if usable.is_empty() {
            return;
        }
        let count = self.usable.get_mut(usable).expect("it was taken in");
        *count -= 1;
        if *count == 0 {
            self.usable.remove(usable);
            self.union.take();
        }
    }

    /// All stated addresses.
    fn stated(&self) -> &[Interval] {
        self.union
            .get_or_init(|| joined(self.usable.keys().flatten().copied().collect()))
    }

    /// Whether nothing is held and nothing is stated.
    fn is_unknown(&self) -> bool {
        self.count == 0 && self.networks == 0
    }
}

/// Whether one of these intervals, disjoint and in order, has `address`.
fn contains(intervals: &[Interval], address: Address) -> bool {
    let above = intervals.partition_point(|interval| interval.first() <= address);
    let nearest = above.checked_sub(1).map(|index| intervals[index]);
    nearest.is_some_and(|interval| interval.contains(address))
}

/// The use of one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The range.
    pub range: RangeId,
    /// The number of addresses that claims hold, and durable owners keep, from exactly this range.
    pub held: u64,
    /// The intervals that the range can give: disjoint, in order.
    pub intervals: Vec<Interval>,
    /// The number of addresses in `intervals`.
    pub size: u128,
    /// The number of addresses in `intervals` that are taken, through any range.
    pub taken: u128,
}

impl Use {
    /// Whether the range can give `address`. No range gives an IPv4 address that ends in `.0`.
    pub fn gives(&self, address: Address) -> bool {
        !address.ends_in_zero() && contains(&self.intervals, address)
    }
}

impl Use {
    /// The addresses of `of` that the range can give.
    pub fn parts(&self, of: Interval) -> impl Iterator<Item = Interval> {
        let before = self
            .intervals
            .partition_point(|one| one.last() < of.first());
        let rest = self.intervals[before..].iter();
        rest.map_while(move |one| one.common(of))
    }
}

impl Occupancy {
    /// Counts one more entry. Entries by nodes, locks, tickets and the identity of the cluster do not count.
    pub fn enter(&mut self, keys: &Keys, entry: &Entry) {
        let read = match keys.decode(&entry.key) {
            Ok(Key::Claim(_)) => {
                record::decode_claim(&entry.value).map(|claim| self.enter_claim(&claim))
            }
            Ok(Key::Open(slot)) => {
                record::decode_block(&entry.value).map(|bitmap| self.enter_block(slot, bitmap))
            }
            Ok(Key::Full(slot)) => record::decode_full(&entry.value).map(|()| {
                let full = Bitmap::full(slot.block.family());
                self.enter_block(slot, full);
            }),
            Ok(Key::Owner(_)) => {
                record::decode_owner(&entry.value).map(|state| self.enter_owner(&state))
            }
            Ok(Key::Network(_)) => {
                record::decode_network(&entry.value).map(|stated| self.enter_network(&stated))
            }
            Ok(Key::OnNode(..) | Key::Lock(_) | Key::Ticket(_) | Key::Cluster) => Ok(()),
            Err(error) => {
                self.unreadable.push(Corrupt {
                    key: error.key,
                    reason: error.reason.to_owned(),
                });
                return;
            }
        };
        if let Err(error) = read {
            self.unreadable.push(Corrupt {
                key: String::from_utf8_lossy(&entry.key).into_owned(),
                reason: error.to_string(),
            });
        }
    }

    /// Counts a claim.
    pub fn enter_claim(&mut self, claim: &Claim) {
        self.enter_held(&claim.held, &claim.usable);
    }

    fn enter_held(&mut self, held: &[Held], usable: &[Vec<Interval>]) {
        for (held, usable) in with_usable(held, usable) {
            self.of_range(&held.range).enter(held.address, usable);
        }
    }

    fn of_range(&mut self, range: &RangeId) -> &mut HeldOf {
        // A range is cloned only when it is new.
        if !self.held.contains_key(range) {
            self.held.insert(range.clone(), HeldOf::default());
        }
        self.held.get_mut(range).expect("it is there now")
    }

    /// Counts the statements of a network. A range that nobody has used is known by them.
    pub fn enter_network(&mut self, stated: &[StatedRange]) {
        for StatedRange { range, usable } in stated {
            let of_range = self.of_range(range);
            of_range.networks += 1;
            of_range.state(usable);
        }
    }

    /// Removes the counted statements of a network. A range of which nothing is held or stated is then forgotten.
    pub fn leave_network(&mut self, stated: &[StatedRange]) {
        for StatedRange { range, usable } in stated {
            let of_range = self.held.get_mut(range).expect("it was taken in");
            of_range.networks -= 1;
            of_range.withdraw(usable);
            if of_range.is_unknown() {
                self.held.remove(range);
            }
        }
    }

    /// Counts what a durable owner keeps.
    pub fn enter_owner(&mut self, state: &OwnerState) {
        if let OwnerState::Resting { held, .. } = state {
            self.enter_held(held, &[]);
        }
    }

    /// Removes what a counted durable owner keeps.
    pub fn leave_owner(&mut self, state: &OwnerState) {
        if let OwnerState::Resting { held, .. } = state {
            self.leave_held(held, &[]);
        }
    }

    /// Removes a counted claim. A range of which nothing is held or stated is then forgotten.
    pub fn leave_claim(&mut self, claim: &Claim) {
        self.leave_held(&claim.held, &claim.usable);
    }

    fn leave_held(&mut self, held: &[Held], usable: &[Vec<Interval>]) {
        for (held, usable) in with_usable(held, usable) {
            let of_range = self.held.get_mut(&held.range);
            let of_range = of_range.expect("it was taken in");
            of_range.leave(held.address, usable);
            if of_range.is_unknown() {
                self.held.remove(&held.range);
            }
        }
    }

    /// Sets the bitmap of a block.
    pub fn enter_block(&mut self, slot: BlockKey, bitmap: Bitmap) {
        self.blocks.insert(slot, bitmap);
    }

    /// Removes a block.
    pub fn leave_block(&mut self, slot: &BlockKey) {
        self.blocks.remove(slot);
    }

    /// The number of all addresses that are marked as taken, in all pools.
    pub fn marked(&self) -> u64 {
        let counts = self.blocks.values().map(|bitmap| u64::from(bitmap.count()));
        counts.sum()
    }

    /// The blocks of a pool that have addresses of `interval`, in order.
    pub fn blocks(
        &self,
        pool: &Pool,
        interval: Interval,
    ) -> impl Iterator<Item = (BlockId, &Bitmap)> {
        let slot = |block| BlockKey {
            pool: pool.clone(),
            block,
        };
        let (first, last) = interval.blocks();
        let blocks = self.blocks.range(slot(first)..=slot(last));
        blocks.map(|(slot, bitmap)| (slot.block, bitmap))
    }

    /// The ranges through which something is held.
    pub fn ranges(&self) -> impl Iterator<Item = &RangeId> {
        let held = self.held.iter();
        held.filter_map(|(range, of_range)| (of_range.count > 0).then_some(range))
    }

    /// The same, and the ranges that networks state.
    pub fn known(&self) -> impl Iterator<Item = &RangeId> {
        self.held.keys()
    }

    /// The use of each range of a claim or a network and of each `configured` range, in order. A range gives what its
    /// configs state, without a config what its claims and networks state, and without all of them its whole CIDR.
    /// Held addresses count in any case.
    pub fn uses(&self, configured: &[Range]) -> Vec<Use> {
        self.uses_after(configured, None).collect()
    }

    /// The same for the ranges after `after`. The iterator counts each range when it reaches it.
    pub fn uses_after(
        &self,
        configured: &[Range],
        after: Option<&RangeId>,
    ) -> impl Iterator<Item = Use> {
        let is_asked = |range: &RangeId| after.is_none_or(|after| range > after);
        let mut ranges: BTreeMap<RangeId, BTreeSet<Interval>> = BTreeMap::new();
        for range in configured {
            let all = ranges.entry(RangeId::of(range)).or_default();
            all.extend(range.intervals());
        }
        for range in self.held.keys() {
            ranges.entry(range.clone()).or_default();
        }
        ranges.retain(|range, _| is_asked(range));
        ranges.into_iter().map(|(range, configured)| {
            let intervals = self.intervals(&range, configured);
            self.count(range, intervals)
        })
    }

    /// The use of `range` by its own configuration alone, whatever its claims state.
    pub fn use_by(&self, range: &Range) -> Use {
        self.count(RangeId::of(range), range.intervals().to_vec())
    }

    /// `range` without its taken addresses, also if nothing is known of it.
    pub fn outline(&self, configured: &[Range], range: &RangeId) -> Use {
        let intervals = self.intervals(range, of_range(configured, range));
        Use {
            range: range.clone(),
            held: 0,
            size: size(&intervals),
            taken: 0,
            intervals,
        }
    }

    /// The use of `range`; `None` if no claim holds an address through it, no network states it, and none of `configured` is
    /// it.
    pub fn use_of(&self, configured: &[Range], range: &RangeId) -> Option<Use> {
        let configured = of_range(configured, range);
        let is_known = !configured.is_empty() || self.held.contains_key(range);
        is_known.then(|| self.count(range.clone(), self.intervals(range, configured)))
    }

    /// What `range` can give, if its configurations state `configured`: a claim keeps what its ADD knew, and a configuration
    /// has perhaps changed since.
    fn intervals(&self, range: &RangeId, configured: BTreeSet<Interval>) -> Vec<Interval> {
        let held = self.held.get(range);
        let stated = if !configured.is_empty() {
            joined(configured)
        } else if let Some(held) = held.filter(|held| !held.usable.is_empty()) {
            held.stated().to_vec()
        } else {
            joined(whole(range))
        };
        let beyond = held.iter().flat_map(|held| held.beyond.keys());
        let beyond = beyond.filter(|address| !contains(&stated, **address));
        let mut all: BTreeSet<Interval> = beyond
            .map(|address| Interval::new(*address, *address).expect("one address"))
            .collect();
        if all.is_empty() {
            return stated;
        }
        all.extend(stated);
        joined(all)
    }

    fn count(&self, range: RangeId, intervals: Vec<Interval>) -> Use {
        Use {
            held: self.held.get(&range).map_or(0, |held| held.count),
            size: size(&intervals),
            taken: self.taken(&range, &intervals),
            intervals,
            range,
        }
    }

    /// The number of addresses of `intervals` that are marked as taken in the pool of `range`.
    fn taken(&self, range: &RangeId, intervals: &[Interval]) -> u128 {
        let counts = intervals.iter().flat_map(|interval| {
            let blocks = self.blocks(&range.pool, *interval);
            blocks.map(|(block, bitmap)| u128::from(taken_in(block, bitmap, *interval)))
        });
        counts.sum()
    }
}

/// The number of addresses of `interval` that are marked as taken in `block`.
pub fn taken_in(block: BlockId, bitmap: &Bitmap, interval: Interval) -> u32 {
    let is_inside = |bit| interval.contains(block.address(bit));
    if is_inside(0) && is_inside(u8::MAX) {
        return bitmap.count();
    }
    let inside = bitmap.bits().filter(|bit| is_inside(*bit));
    u32::try_from(inside.count()).expect("a block has 256 addresses")
}

/// Each held address, with the usable intervals that its claim states. They are empty if it states none.
fn with_usable<'c>(
    held: &'c [Held],
    usable: &'c [Vec<Interval>],
) -> impl Iterator<Item = (&'c Held, &'c [Interval])> {
    let stated = usable
        .iter()
        .map(Vec::as_slice)
        .chain(iter::repeat(&[][..]));
    held.iter().zip(stated)
}

/// The intervals that `configured` states of `range`.
fn of_range(configured: &[Range], range: &RangeId) -> BTreeSet<Interval> {
    let of_it = configured.iter().filter(|one| RangeId::of(one) == *range);
    of_it.flat_map(Range::intervals).copied().collect()
}

/// The intervals of a config with this CIDR and nothing else. If such a config has no address to
/// give, only requested addresses can be held, and the whole CIDR counts.
fn whole(range: &RangeId) -> BTreeSet<Interval> {
    let spec = RangeSpec {
        pool: range.pool.clone(),
        ..RangeSpec::of(range.cidr)
    };
    match Range::new(spec) {
        Ok(range) => range.intervals().iter().copied().collect(),
        Err(_) => BTreeSet::from([Interval::of(range.cidr)]),
    }
}

/// The union of `intervals`, as disjoint intervals in order.
fn joined(intervals: BTreeSet<Interval>) -> Vec<Interval> {
    let mut joined: Vec<Interval> = Vec::new();
    for interval in intervals {
        match joined.last_mut() {
            Some(last) if last.overlaps(interval) || is_next(*last, interval) => {
                let end = last.last().max(interval.last());
                *last = Interval::new(last.first(), end).expect("an end is not before its begin");
            }
            Some(_) | None => joined.push(interval),
        }
    }
    joined
}

fn is_next(one: Interval, other: Interval) -> bool {
    one.last().successor() == Some(other.first())
}

#[cfg(test)]
mod tests;
