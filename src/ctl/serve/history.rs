//! The use of each range in the last hour: one sample a minute, from the start of this process on. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use whereabouts_audit::occupancy::Use;
use whereabouts_core::claim::RangeId;
use whereabouts_core::limits;

/// Between two samples.
pub(super) const EVERY: Duration = Duration::from_mins(1);

/// Samples of one range: an hour.
const SAMPLES: usize = 60;

/// The samples of the ranges, the oldest first.
#[derive(Default)]
pub(super) struct History(BTreeMap<RangeId, VecDeque<u128>>);

impl History {
    /// Adds a sample of each range that was ever in use. Ranges that are known no more are forgotten.
    pub(super) fn sample(&mut self, uses: impl Iterator<Item = Use>) {
        let mut before = std::mem::take(&mut self.0);
        for used in uses {
            if self.0.len() == limits::PAGE_SAMPLED_RANGES {
                break;
            }
            let samples = before.remove(&used.range);
            // Networks without a pod must not take the place of ranges that are in use.
            if samples.is_none() && used.taken == 0 {
                continue;
            }
            let mut samples = samples.unwrap_or_default();
            if samples.len() == SAMPLES {
                samples.pop_front();
            }
            samples.push_back(used.taken);
            self.0.insert(used.range, samples);
        }
    }

    /// The numbers of taken addresses of a range, as text.
    pub(super) fn of(&self, range: &RangeId) -> Vec<String> {
        let samples = self.0.get(range).into_iter().flatten();
        samples.map(u128::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(cidr: &str, taken: u128) -> Use {
        let range = RangeId {
            pool: whereabouts_core::address::Pool::default(),
            cidr: cidr.parse().expect("a CIDR"),
        };
        Use {
            range,
            held: 0,
            intervals: Vec::new(),
            size: 254,
            taken,
        }
    }

    #[test]
    fn an_hour_is_kept_of_each_range_that_is_still_used() {
        let mut history = History::default();
        for minute in 0..70 {
            history.sample([used("10.0.0.0/24", minute), used("10.1.0.0/24", 1)].into_iter());
        }
        let kept = history.of(&used("10.0.0.0/24", 0).range);
        assert_eq!(kept.len(), SAMPLES);
        assert_eq!((kept[0].as_str(), kept[59].as_str()), ("10", "69"));
        history.sample([used("10.0.0.0/24", 0)].into_iter());
        assert!(history.of(&used("10.1.0.0/24", 0).range).is_empty());
    }

    #[test]
    fn a_range_without_use_takes_no_place_before_its_first_address() {
        let mut history = History::default();
        let unused = (0..=limits::PAGE_SAMPLED_RANGES)
            .map(|number| used(&format!("10.{}.{}.0/24", number / 256, number % 256), 0));
        history.sample(unused.chain([used("11.0.0.0/24", 3)]));
        assert_eq!(history.of(&used("11.0.0.0/24", 0).range), ["3"]);
        assert_eq!(history.0.len(), 1);
        history.sample([used("11.0.0.0/24", 0)].into_iter());
        assert_eq!(history.of(&used("11.0.0.0/24", 0).range), ["3", "0"]);
    }

    #[test]
    fn no_more_ranges_are_sampled_than_are_allowed() {
        let mut history = History::default();
        let range = |number: usize| used(&format!("10.{}.{}.0/24", number / 256, number % 256), 1);
        history.sample((0..=limits::PAGE_SAMPLED_RANGES).map(range));
        assert_eq!(history.0.len(), limits::PAGE_SAMPLED_RANGES);
    }
}
