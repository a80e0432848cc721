//! The hunt for planted bugs in histories.

use super::history::{knobs_of, run};
use crate::journal::History;
use crate::judge::Finding;
use crate::planted::{Bug, Home};
use crate::setup::Knobs;

/// A planted bug, found in a history.
#[derive(Clone, Debug)]
pub struct Found {
    /// The history's seed.
    pub seed: u64,
    /// Histories until then, this one included.
    pub histories: u64,
    /// The finding.
    pub finding: Finding,
}

/// The first of so many histories that finds `bug`.
pub fn first_found(bug: Bug, most: u64) -> Option<Found> {
    let suits = |knobs: &Knobs| match bug.home() {
        Some(Home::Shape(shape)) => knobs.shape == shape,
        Some(Home::FarAway | Home::World(..)) | None => true,
    };
    let drawn = |seed| match bug.home() {
        Some(Home::FarAway) => knobs_of(seed).far_away(),
        Some(Home::Shape(_) | Home::World(..)) | None => knobs_of(seed),
    };
    let seeds = (0..).map(|seed| (seed, drawn(seed)));
    let suited = seeds.filter(|(_, knobs)| suits(knobs));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    (1..)
        .zip(suited.take(most))
        .find_map(|(histories, (seed, knobs))| {
            let verdict = run(seed, &knobs, Some(bug), &History::default());
            let finding = verdict.finding?;
            Some(Found {
                seed,
                histories,
                finding,
            })
        })
}
