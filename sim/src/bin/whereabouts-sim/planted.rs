//! The hunt for planted bugs, in histories and in small worlds.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use whereabouts_sim::exhaustive;
use whereabouts_sim::journal::History;
use whereabouts_sim::planted::{Bug, Home};
use whereabouts_sim::run::{first_found, knobs_of, run};

use crate::cores::on_all_cores;
use crate::one::report;

/// Plants each bug, or one alone, and prints where it is found; whether each was found.
pub(crate) fn find_planted(seeds: u64, only: Option<Bug>) -> bool {
    let bugs: Vec<Bug> = match only {
        Some(bug) => vec![bug],
        None => Bug::ALL.to_vec(),
    };
    let started = Instant::now();
    println!(
        "{:<24}{:>6}{:>9}{:>14}  finding",
        "bug", "seeds", "promise", "interleavings"
    );
    let results = Mutex::new(BTreeMap::new());
    on_all_cores(bugs.len() as u64, |index| {
        let bug = bugs[usize::try_from(index).expect("below the length")];
        let in_histories = match bug.home() {
            Some(Home::World(..)) => None,
            Some(Home::Shape(_) | Home::FarAway) | None => first_found(bug, seeds),
        };
        let found = (in_histories, exhaustive::hunt(bug));
        results
            .lock()
            .expect("no thread panics with it")
            .insert(bug, found);
    });
    let results = results.into_inner().expect("no thread panics with it");
    for (bug, (history, world)) in &results {
        let nothing = || "-".to_owned();
        let seed = history
            .as_ref()
            .map_or_else(nothing, |found| found.histories.to_string());
        let promise = history
            .as_ref()
            .map_or_else(nothing, |found| found.finding.promise.to_string());
        let interleavings = world
            .as_ref()
            .map_or_else(nothing, |found| found.interleavings.to_string());
        let what = match (history, world) {
            (Some(found), _) => found.finding.text.clone(),
            (None, Some(found)) => {
                format!("{} ({}, {} faults)", found.what, found.world, found.faults)
            }
            (None, None) => format!("NOT FOUND: {}", bug.description()),
        };
        let name = bug.to_string();
        println!("{name:<24}{seed:>6}{promise:>9}{interleavings:>14}  {what}");
    }
    println!("{:.1} s", started.elapsed().as_secs_f64());
    if let (Some(bug), Some((Some(found), _))) = (only, results.values().next()) {
        let verdict = run(
            found.seed,
            &knobs_of(found.seed),
            Some(bug),
            &History::default(),
        );
        report(found.seed, Some(bug), &verdict);
    }
    let found = |(history, world): &(Option<_>, Option<_>)| history.is_some() || world.is_some();
    results.values().all(found)
}
