//! The simulator itself: one seed gives one history, histories keep the promises, and planted bugs
//! break them.

use std::process::Command;

use whereabouts_sim::history::History;
use whereabouts_sim::planted::{Bug, first_found};
use whereabouts_sim::run::{knobs_of, run};

fn trace_of(seed: u64) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_whereabouts-sim"))
        .args(["replay", "--trace", "--seed", &seed.to_string()])
        .output()
        .expect("the simulator was built for this test");
    assert!(output.status.success(), "seed {seed}");
    output.stdout
}

#[test]
fn one_seed_gives_one_history_byte_for_byte_in_two_processes() {
    let traces: Vec<Vec<u8>> = (0..12).map(trace_of).collect();
    for (seed, trace) in (0..).zip(&traces) {
        assert!(trace.len() > 1_000, "seed {seed} has hardly a history");
        assert!(*trace == trace_of(seed), "seed {seed} has two histories");
    }
    assert!(traces.windows(2).all(|two| two[0] != two[1]));
}

#[test]
fn histories_keep_every_promise() {
    for seed in 0..80 {
        let verdict = run(seed, &knobs_of(seed), None, &History::default());
        assert_eq!(verdict.finding, None, "seed {seed}: {}", verdict.knobs);
    }
}

/// A bug, and the promises that it may be found to break.
const QUICKLY_FOUND: [(Bug, &[u8]); 14] = [
    (Bug::BlockUnchecked, &[1, 2]),
    (Bug::ClaimUnchecked, &[1, 2, 6, 9]),
    (Bug::ServedOutOfOrder, &[4]),
    (Bug::NextNotTouched, &[10]),
    (Bug::StaleReads, &[4, 8]),
    (Bug::ReleaseUnguarded, &[2, 9]),
    (Bug::TwoTransactions, &[2, 5]),
    (Bug::NextBlockNotMade, &[2]),
    (Bug::FullNotMovedBack, &[2]),
    (Bug::ZeroCountedAsFree, &[2]),
    (Bug::NetworkForgotten, &[3, 6, 9]),
    (Bug::GcWithoutList, &[9]),
    (Bug::DelSwallowsFailure, &[8]),
    (Bug::BeginsTooEarly, &[3]),
];

#[test]
fn planted_bugs_are_found_as_what_they_break() {
    for (bug, promises) in QUICKLY_FOUND {
        let found = first_found(bug, 60);
        let (seed, finding) = found.unwrap_or_else(|| panic!("not found: {}", bug.description()));
        let found = promises.contains(&finding.promise);
        assert!(found, "{bug}, seed {seed}: {finding}");
    }
}
