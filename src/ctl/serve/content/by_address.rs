//! The claims of all pools by address, from any place on. A search goes through them in parts.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use whereabouts_core::address::{Address, Interval, Pool};

use super::{Content, Kept};
use crate::output::shown::Shown;

/// A place in the order of all held addresses.
pub(in crate::serve) type AddressInPool = (Address, Pool);

/// What is searched for.
pub(in crate::serve) struct Query<'a> {
    /// Only addresses in this interval.
    pub(in crate::serve) within: Option<Interval>,
    /// Texts that the claim's key or value has.
    pub(in crate::serve) parts: Vec<&'a [u8]>,
}

/// A part of a search.
pub(in crate::serve) struct Slice {
    /// The found claims, each at its first address that fits.
    pub(in crate::serve) found: Vec<(AddressInPool, Shown)>,
    /// The last place that was looked at, if there are more.
    pub(in crate::serve) last: Option<AddressInPool>,
}

impl Content {
    /// The claims of the query after a place, lowest address first. At most `look_at` addresses are looked at.
    pub(in crate::serve) fn search(
        &self,
        after: Option<&AddressInPool>,
        look_at: usize,
        query: &Query<'_>,
    ) -> Slice {
        self.scan(after, look_at, query.within, |key, kept| {
            has_all(key, kept, &query.parts).then(|| self.shown(key))?
        })
    }

    /// The claims after a place that are perhaps leaked.
    pub(in crate::serve) fn suspected(
        &self,
        after: Option<&AddressInPool>,
        look_at: usize,
    ) -> Slice {
        self.scan(after, look_at, None, |key, _| {
            self.shown(key)
                .filter(|shown| self.suspicion(shown).is_some())
        })
    }

    fn scan(
        &self,
        after: Option<&AddressInPool>,
        look_at: usize,
        within: Option<Interval>,
        find: impl Fn(&Arc<[u8]>, &Kept) -> Option<Shown>,
    ) -> Slice {
        let mut rest = self.by_address(after, within);
        let mut found = Vec::new();
        let mut last = None;
        for ((address, pool), key) in rest.by_ref().take(look_at) {
            last = Some((address, pool));
            let kept = self.claims.get(key);
            let shown = kept.and_then(|kept| find(key, kept));
            if let Some(shown) = shown.filter(|shown| is_first(shown, within, (address, pool))) {
                found.push(((address, pool.clone()), shown));
            }
        }
        let last = rest.next().and(last);
        let last = last.map(|(address, pool)| (address, pool.clone()));
        Slice { found, last }
    }

    /// The held addresses of all pools after a place, in order.
    fn by_address(
        &self,
        after: Option<&AddressInPool>,
        within: Option<Interval>,
    ) -> impl Iterator<Item = ((Address, &Pool), &Arc<[u8]>)> {
        let range = |pool: &Pool| {
            let begin = match after {
                Some((address, last)) if pool > last => Bound::Included(*address),
                Some((address, _)) => Bound::Excluded(*address),
                None => Bound::Unbounded,
            };
            let lowest = within.map_or(Bound::Unbounded, |one| Bound::Included(one.first()));
            let begin = match (&begin, &lowest) {
                (Bound::Included(at) | Bound::Excluded(at), Bound::Included(low)) if low > at => {
                    lowest
                }
                (Bound::Unbounded, _) => lowest,
                _ => begin,
            };
            (begin, Bound::Unbounded)
        };
        let is_inside = move |address: Address| within.is_none_or(|one| address <= one.last());
        // The next address of each pool, and what follows it there.
        let mut heads = BTreeMap::new();
        for (pool, holders) in &self.holders {
            let mut rest = holders.range(range(pool));
            if let Some((address, key)) = rest.next() {
                heads.insert((*address, pool), (key, rest));
            }
        }
        std::iter::from_fn(move || {
            let ((address, pool), (key, mut rest)) = heads.pop_first()?;
            if let Some((next, of_it)) = rest.next() {
                heads.insert((*next, pool), (of_it, rest));
            }
            is_inside(address).then_some(((address, pool), key))
        })
    }
}

/// Whether no lower address of the claim fits, so that the claim is found once.
fn is_first(shown: &Shown, within: Option<Interval>, place: (Address, &Pool)) -> bool {
    let held = shown.claim.value.held.iter();
    let places = held.map(|held| (held.address, &held.range.pool));
    let mut fitting = places.filter(|(address, _)| within.is_none_or(|one| one.contains(*address)));
    fitting.all(|other| place <= other)
}

fn has_all(key: &[u8], kept: &Kept, parts: &[&[u8]]) -> bool {
    parts
        .iter()
        .all(|part| contains(key, part) || contains(&kept.value, part))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else {
        return true;
    };
    let mut starts = (0..text.len()).filter(|start| text[*start] == *first);
    starts.any(|start| text[start..].starts_with(part))
}
