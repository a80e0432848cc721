//! A storm of pods, its report on standard output and perhaps in a file.

use std::path::Path;
use std::time::Instant;

use whereabouts_sim::storm::{Plan, storm};

/// Runs a storm; whether everything held.
pub(crate) fn run_storm(plan: &Plan, json: Option<&Path>) -> bool {
    let started = Instant::now();
    let report = storm(plan, &|text| println!("{text}"));
    println!("{report}{:.1} s", started.elapsed().as_secs_f64());
    if let Some(path) = json
        && let Err(error) = std::fs::write(path, report.to_json().to_string())
    {
        eprintln!("{}: {error}", path.display());
        return false;
    }
    report.failures().is_empty()
}
