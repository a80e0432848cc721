//! The use of each range: the number of its taken addresses. Pure.
//!
//! A claim names the range of its address: a pool and a CIDR. Only configs tell which addresses of
//! the CIDR can be given. Ranges that overlap share their addresses. So an address of one range may
//! be taken through another range.

use std::collections::{BTreeMap, BTreeSet};

use whereabouts_core::address::{
    Address, Bitmap, BlockId, BlockKey, Interval, Pool, Range, RangeSpec, size,
};
use whereabouts_core::claim::{Claim, Held, RangeId};
use whereabouts_core::durable::OwnerState;
use whereabouts_core::failure::Corrupt;
use whereabouts_store::Entry;
use whereabouts_store::keys::{Key, Keys};
use whereabouts_store::record;

/// The taken addresses of all ranges.
#[derive(Clone, Debug, Default)]
pub struct Occupancy {
    held: BTreeMap<RangeId, u64>,
    blocks: BTreeMap<BlockKey, Bitmap>,
    /// Claims and blocks that this version cannot read. They are not counted.
    pub unreadable: Vec<Corrupt>,
}

/// The use of one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The range.
    pub range: RangeId,
    /// The number of addresses that claims hold, and durable owners keep, from exactly this range.
    pub held: u64,
    /// The intervals that the range can give.
    pub intervals: Vec<Interval>,
    /// The number of addresses in `intervals`.
    pub size: u128,
    /// The number of addresses in `intervals` that are taken, through any range.
    pub taken: u128,
}

impl Use {
    /// Whether the range can give `address`. No range gives an IPv4 address that ends in `.0`.
    pub fn gives(&self, address: Address) -> bool {
        !address.ends_in_zero()
            && self
                .intervals
                .iter()
                .any(|interval| interval.contains(address))
    }
}

impl Occupancy {
    /// The occupancy of a range without any claim or block.
    pub fn holding(range: &RangeId) -> Self {
        Self {
            held: BTreeMap::from([(range.clone(), 0)]),
            ..Self::default()
        }
    }

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
        self.enter_held(&claim.held);
    }

    fn enter_held(&mut self, held: &[Held]) {
        for held in held {
            *self.held.entry(held.range.clone()).or_default() += 1;
        }
    }

    /// Counts what a durable owner keeps.
    pub fn enter_owner(&mut self, state: &OwnerState) {
        if let OwnerState::Resting { held, .. } = state {
            self.enter_held(held);
        }
    }

    /// Removes what a counted durable owner keeps.
    pub fn leave_owner(&mut self, state: &OwnerState) {
        if let OwnerState::Resting { held, .. } = state {
            self.leave_held(held);
        }
    }

    /// Removes a counted claim. A range without a claim is then forgotten.
    pub fn leave_claim(&mut self, claim: &Claim) {
        self.leave_held(&claim.held);
    }

    fn leave_held(&mut self, held: &[Held]) {
        for held in held {
            let count = self.held.get_mut(&held.range);
            let count = count.expect("it was taken in");
            *count -= 1;
            if *count == 0 {
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

    /// The use of each range of a claim and of each `configured` range, in order. A range without a
    /// config counts as one that gives its whole CIDR.
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
        let mut intervals: BTreeMap<RangeId, BTreeSet<Interval>> = BTreeMap::new();
        for range in configured {
            let all = intervals.entry(RangeId::of(range)).or_default();
            all.extend(range.intervals());
        }
        for range in self.held.keys().filter(|range| is_asked(range)) {
            intervals
                .entry(range.clone())
                .or_insert_with(|| whole(range));
        }
        intervals.retain(|range, _| is_asked(range));
        intervals
            .into_iter()
            .map(|(range, intervals)| self.count(range, intervals))
    }

    /// The use of `range`; `None` if no claim holds an address through it, and none of `configured` is it.
    pub fn use_of(&self, configured: &[Range], range: &RangeId) -> Option<Use> {
        let of_it = configured.iter().filter(|one| RangeId::of(one) == *range);
        let intervals: BTreeSet<Interval> = of_it.flat_map(Range::intervals).copied().collect();
        if !intervals.is_empty() {
            return Some(self.count(range.clone(), intervals));
        }
        let is_held = self.held.contains_key(range);
        is_held.then(|| self.count(range.clone(), whole(range)))
    }

    fn count(&self, range: RangeId, intervals: BTreeSet<Interval>) -> Use {
        let intervals = joined(intervals);
        Use {
            held: self.held.get(&range).copied().unwrap_or_default(),
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
            Some(last) if last.overlaps(interval) => {
                let end = last.last().max(interval.last());
                *last = Interval::new(last.first(), end).expect("an end is not before its begin");
            }
            Some(_) | None => joined.push(interval),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use whereabouts_core::address::Name;
    use whereabouts_core::claim::{Attachment, Held, Owner};

    fn queue(cidr: &str) -> RangeId {
        RangeId {
            pool: Pool::default(),
            cidr: cidr.parse().expect("a CIDR"),
        }
    }

    fn address(text: &str) -> Address {
        text.parse::<std::net::IpAddr>().expect("an address").into()
    }

    /// Claims with these ranges and addresses, and the blocks that mark them.
    fn occupied(held: &[(&str, &str)]) -> Occupancy {
        let keys = Keys::new("/x/");
        let mut occupancy = Occupancy::default();
        let entry = |key: &Key, value| Entry {
            key: keys.encode(key),
            value,
            created: 1,
            modified: 1,
            lease: 0,
        };
        let mut blocks: BTreeMap<BlockKey, Bitmap> = BTreeMap::new();
        for (number, (cidr, text)) in held.iter().enumerate() {
            let held = Held {
                range: queue(cidr),
                address: address(text),
            };
            blocks
                .entry(held.slot())
                .or_default()
                .set(held.address.bit());
            let claim = Claim {
                held: vec![held],
                usable: Vec::new(),
                owner: Owner::default(),
                created: Duration::ZERO,
            };
            let key = Key::Claim(Attachment {
                network: Name::new("net").expect("a name"),
                container: Name::new(&format!("c{number}")).expect("a name"),
                interface: "eth0".to_owned(),
            });
            occupancy.enter(&keys, &entry(&key, record::encode_claim(&claim)));
        }
        for (slot, bitmap) in blocks {
            let value = record::encode_block(&bitmap);
            occupancy.enter(&keys, &entry(&Key::Open(slot), value));
        }
        occupancy
    }

    #[test]
    fn what_overlaps_is_taken_of_both_and_held_of_one() {
        let occupancy = occupied(&[
            ("10.0.0.0/16", "10.0.0.1"),
            ("10.0.0.0/24", "10.0.0.2"),
            ("10.0.0.0/16", "10.0.9.9"),
        ]);
        let uses = occupancy.uses(&[]);
        let counts = |used: &Use| {
            (
                used.range.cidr.to_string(),
                used.held,
                used.taken,
                used.size,
            )
        };
        let expected = [
            ("10.0.0.0/16".to_owned(), 2, 3, 65_534 - 255),
            ("10.0.0.0/24".to_owned(), 1, 2, 254),
        ];
        assert_eq!(uses.iter().map(counts).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_configured_range_counts_exactly_and_also_when_nothing_is_held() {
        let configured = |cidr: &str, hole: &str| {
            Range::new(RangeSpec {
                exclusions: vec![Interval::of(hole.parse().expect("a CIDR"))],
                ..RangeSpec::of(cidr.parse().expect("a CIDR"))
            })
            .expect("a range")
        };
        let configured = [
            configured("10.0.0.0/24", "10.0.0.0/25"),
            configured("10.1.0.0/30", "10.1.0.1/32"),
        ];
        let occupancy = occupied(&[("10.0.0.0/24", "10.0.0.1"), ("10.0.0.0/24", "10.0.0.200")]);
        let uses = occupancy.uses(&configured);
        let counts = |used: &Use| (used.held, used.taken, used.size);
        assert_eq!(
            uses.iter().map(counts).collect::<Vec<_>>(),
            [(2, 1, 127), (0, 0, 1)]
        );
    }

    #[test]
    fn a_range_gives_no_address_that_ends_in_zero_is_reserved_or_is_excluded() {
        let range = Range::new(RangeSpec {
            exclusions: vec![Interval::of("10.0.2.128/25".parse().expect("a CIDR"))],
            ..RangeSpec::of("10.0.0.0/16".parse().expect("a CIDR"))
        });
        let uses = occupied(&[]).uses(&[range.expect("a range")]);
        let gives = |text: &str| uses[0].gives(address(text));
        for never in [
            "10.0.0.0",
            "10.0.1.0",
            "10.0.255.255",
            "10.0.2.200",
            "10.1.0.1",
        ] {
            assert!(!gives(never), "{never}");
        }
        for given in ["10.0.0.1", "10.0.0.255", "10.0.1.1", "10.0.2.127"] {
            assert!(gives(given), "{given}");
        }
    }

    #[test]
    fn the_use_of_one_range_is_that_of_the_list() {
        let configured =
            [Range::new(RangeSpec::of("10.1.0.0/30".parse().expect("a CIDR"))).expect("a range")];
        let occupancy = occupied(&[("10.0.0.0/16", "10.0.0.1"), ("10.0.0.0/24", "10.0.0.2")]);
        let uses = occupancy.uses(&configured);
        assert_eq!(uses.len(), 3);
        for used in uses {
            assert_eq!(occupancy.use_of(&configured, &used.range), Some(used));
        }
        assert_eq!(occupancy.use_of(&configured, &queue("10.9.0.0/24")), None);
    }

    #[test]
    fn two_configs_of_one_range_give_what_either_gives() {
        let part = |first: &str, last: &str| {
            Range::new(RangeSpec {
                first: Some(address(first)),
                last: Some(address(last)),
                ..RangeSpec::of("10.0.0.0/24".parse().expect("a CIDR"))
            })
            .expect("a range")
        };
        let both = [
            part("10.0.0.1", "10.0.0.20"),
            part("10.0.0.11", "10.0.0.30"),
        ];
        assert_eq!(occupied(&[]).uses(&both)[0].size, 30);
    }
}
