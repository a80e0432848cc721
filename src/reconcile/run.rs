//! The bound of a run: an error of the judgement or of the API server must not free everything at once.
//!
//! The bound counts successes. A release that fails is put off, each time for longer, and comes after all others then. So releases
//! that always fail hold up no other one.

use std::collections::BTreeMap;
use std::time::Duration;

use whereabouts_core::allocator::Revision;

use crate::judge::{Rules, Standing};

/// Records that one run may release, however few there are.
const LEAST_BOUND: usize = 50;

/// One run may release this part of all records: a tenth.
const BOUND_PART: usize = 10;

/// One run may try so many times as many releases as may succeed.
const TRIES: usize = 4;

/// How long a release is put off after its first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The present run, and the releases that have failed.
#[derive(Debug)]
pub(crate) struct Run<K> {
    length: Duration,
    force: bool,
    present: Option<Present>,
    /// Only of records that the last round has judged, so there are no more failures than records.
    failures: BTreeMap<K, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Present {
    begun: Duration,
    released: usize,
    tried: usize,
}

/// The failures of one record's releases.
#[derive(Clone, Copy, Debug)]
struct Failures {
    revision: Revision,
    count: u32,
    until: Duration,
}

/// A judged record.
pub(crate) trait Judged {
    type Key: Ord + Clone;
    type Evidence: Copy;

    /// The key of the record, and the judged revision.
    fn record(&self) -> (&Self::Key, Revision);

    fn standing(&mut self) -> &mut Standing<Self::Evidence>;
}

impl<K: Ord + Clone> Run<K> {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self {
            length: rules.run,
            force: rules.force,
            present: None,
            failures: BTreeMap::new(),
        }
    }

    /// Orders the judged records of a round, each with the moment since which it has been without use, as their releases are to be
    /// tried. Those that the run may not try now are held back or put off.
    pub(crate) fn allot<J: Judged<Key = K>>(
        &mut self,
        mut judged: Vec<(Duration, J)>,
        total: usize,
        now: Duration,
    ) -> Vec<J> {
        let keys = judged.iter().map(|(_, one)| one.record());
        let kept = keys.filter_map(|(key, revision)| {
            let failures = self.failures.get(key)?;
            (failures.revision == revision).then(|| (key.clone(), *failures))
        });
        self.failures = kept.collect();
        let failures = |one: &J| self.failures.get(one.record().0).copied();
        // The records that have been unused for longest come first.
        judged.sort_by_key(|(since, one)| (failures(one).map_or(0, |one| one.count), *since));
        let mut left = self.left(total, now);
        let judged = judged.into_iter().map(|(_, mut one)| {
            let until = self.failures.get(one.record().0).map(|one| one.until);
            self.hold_back(
                one.standing(),
                until.filter(|until| *until > now),
                &mut left,
            );
            one
        });
        judged.collect()
    }

    /// Counts a release that has succeeded.
    pub(crate) fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
        if let Some(run) = &mut self.present {
            run.released += 1;
        }
    }

    /// Puts a release off that has failed.
    pub(crate) fn failed(&mut self, key: &K, revision: Revision, now: Duration) {
        let before = self.failures.get(key).map_or(0, |failures| failures.count);
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(before));
        let failures = Failures {
            revision,
            count: before.saturating_add(1),
            until: now + pause.min(LONGEST_PAUSE),
        };
        self.failures.insert(key.clone(), failures);
    }

    /// How many releases of `total` records the run may try now.
    fn left(&mut self, total: usize, now: Duration) -> usize {
        if self.next().is_none_or(|next| now >= next) {
            self.present = Some(Present {
                begun: now,
                released: 0,
                tried: 0,
            });
        }
        if self.force {
            return usize::MAX;
        }
        let (released, tried) = self.present.map_or((0, 0), |run| (run.released, run.tried));
        let bound = LEAST_BOUND.max(total / BOUND_PART);
        let left = (bound * TRIES).saturating_sub(tried);
        bound.saturating_sub(released).min(left)
    }

    /// Counts a try, unless it is put off or none is `left`.
    fn hold_back<E: Copy>(
        &mut self,
        standing: &mut Standing<E>,
        put_off: Option<Duration>,
        left: &mut usize,
    ) {
        let Standing::Releasable(evidence) = *standing else {
            return;
        };
        if let Some(until) = put_off {
            *standing = Standing::PutOff(evidence, until);
            return;
        }
        if *left == 0 {
            *standing = Standing::HeldBack(evidence);
            return;
        }
        *left -= 1;
        if let Some(run) = &mut self.present {
            run.tried += 1;
        }
    }

    /// The moment from which on another round can prove more; `None` if nothing is being waited for.
    pub(crate) fn due<'s, E: 's>(
        &self,
        standings: impl Iterator<Item = &'s Standing<E>>,
    ) -> Option<Duration> {
        let dues = standings.filter_map(|standing| match standing {
            Standing::Waiting(due) | Standing::PutOff(_, due) => Some(*due),
            Standing::HeldBack(_) => self.next(),
            Standing::Releasable(_) | Standing::InUse(_) => None,
        });
        dues.min()
    }

    /// The begin of the next run.
    fn next(&self) -> Option<Duration> {
        let begun = self.present.map(|run| run.begun);
        begun.map(|begun| begun.saturating_add(self.length))
    }
}
