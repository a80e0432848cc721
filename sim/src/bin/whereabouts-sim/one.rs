//! One history: run again, or made smaller and printed as the line that runs it again.

use whereabouts_sim::journal::History;
use whereabouts_sim::planted::Bug;
use whereabouts_sim::run::{Failing, Replay, Verdict, run, shrink};

/// Prints the finding of a history, if it has one, and the smallest history that has it, too.
pub(crate) fn report(seed: u64, bug: Option<Bug>, verdict: &Verdict) {
    let Some(finding) = &verdict.finding else {
        return;
    };
    println!("\nseed {seed}: {finding}\n  {}", verdict.knobs);
    let promise = finding.promise;
    let small = shrink(Failing { seed, bug, promise }, &verdict.knobs);
    println!("  as small as it gets: {}", small.knobs);
    println!("  {}", Replay::of(seed, bug, &small.knobs));
}

/// Runs one history again; whether every promise held.
pub(crate) fn run_again(replay: &Replay, trace: bool) -> bool {
    let history = if trace {
        History::kept()
    } else {
        History::default()
    };
    let (seed, knobs) = (replay.seed, replay.knobs());
    let verdict = run(seed, &knobs, replay.bug, &history);
    for line in history.lines() {
        println!("{line}");
    }
    match &verdict.finding {
        Some(finding) => println!("seed {seed}: {finding}"),
        None => println!("seed {seed}: every promise held"),
    }
    verdict.finding.is_none()
}
