//! The bound of a run: an error of the judgement or of the API server must not free everything at once.

use std::time::Duration;

use crate::judge::{Rules, Standing};

/// Records that one run may release, however few there are.
const LEAST_BOUND: usize = 50;

/// One run may release this part of all records: a tenth.
const BOUND_PART: usize = 10;

/// The present run.
#[derive(Debug)]
pub(crate) struct Run {
    length: Duration,
    force: bool,
    present: Option<Present>,
}

#[derive(Clone, Copy, Debug)]
struct Present {
    begun: Duration,
    released: usize,
}

impl Run {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self {
            length: rules.run,
            force: rules.force,
            present: None,
        }
    }

    /// How many of `total` records the run may still release.
    pub(crate) fn left(&mut self, total: usize, now: Duration) -> usize {
        if self.next().is_none_or(|next| now >= next) {
            self.present = Some(Present {
                begun: now,
                released: 0,
            });
        }
        if self.force {
            return usize::MAX;
        }
        let released = self.present.map_or(0, |run| run.released);
        LEAST_BOUND.max(total / BOUND_PART).saturating_sub(released)
    }

    /// Counts a release, or holds it back if none is `left`.
    pub(crate) fn hold_back<E: Copy>(&mut self, standing: &mut Standing<E>, left: &mut usize) {
        let Standing::Releasable(evidence) = *standing else {
            return;
        };
        if *left == 0 {
            *standing = Standing::HeldBack(evidence);
            return;
        }
        *left -= 1;
        if let Some(run) = &mut self.present {
            run.released += 1;
        }
    }

    /// The moment from which on another round can prove more; `None` if nothing is being waited for.
    pub(crate) fn due<'s, E: 's>(
        &self,
        standings: impl Iterator<Item = &'s Standing<E>>,
    ) -> Option<Duration> {
        let dues = standings.filter_map(|standing| match standing {
            Standing::Waiting(due) => Some(*due),
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
