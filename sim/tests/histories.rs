//! The simulator itself: one seed gives one history, histories keep the promises, planted bugs break
//! them, and a failing history can be made small and run again.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use whereabouts_sim::exhaustive;
use whereabouts_sim::journal::History;
use whereabouts_sim::judge::Finding;
use whereabouts_sim::planted::Bug;
use whereabouts_sim::run::{Failing, Replay, Verdict, first_found, knobs_of, run, shrink};
use whereabouts_sim::setup::Shape;

fn simulator(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_whereabouts-sim"))
        .args(line.split(' '))
        .output()
        .expect("the simulator was built for this test")
}

fn trace_of(seed: u64) -> Vec<u8> {
    let output = simulator(&format!("replay --trace --seed {seed}"));
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

#[track_caller]
fn check_promises(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let verdict = run(seed, &knobs_of(seed), None, &History::default());
        assert_eq!(verdict.finding, None, "seed {seed}: {}", verdict.knobs);
    }
}

#[test]
fn histories_keep_every_promise() {
    check_promises(0..60);
}

/// Seeds that once were findings, by what was wrong.
#[test]
fn found_histories_keep_every_promise() {
    check_promises([
        // A DEL was refused for the demands of another cluster's tickets.
        7_300_000_012_624,
        // The judge took a request for another one of the same attachment.
        8_100_000_011_841,
        // After a compaction, an ADD of an old container took the claim of the newer one for the older one.
        9_600_000_424_991,
    ]);
}

#[test]
fn an_etcd_far_away_keeps_every_promise() {
    // A GC of a crowd has not the time for so many answers.
    let is_crowd = |seed: &u64| knobs_of(*seed).shape == Shape::Burst;
    for seed in (0..40).filter(|seed| !is_crowd(seed)) {
        let knobs = knobs_of(seed).far_away();
        let verdict = run(seed, &knobs, None, &History::default());
        let finding = verdict
            .finding
            .filter(|finding| !is_limit_of_distance(finding));
        assert_eq!(finding, None, "seed {seed}: {}", verdict.knobs);
    }
}

/// A limit of a round trip of two seconds: the queue of a busy range may be longer than a deadline of 30 s.
fn is_limit_of_distance(finding: &Finding) -> bool {
    finding.promise == 10 && finding.text.contains("is too long for the deadline")
}

/// GC released claims first and took abandoned tickets out after: where a release needed the lock, GC
/// served an abandoned ADD, whose claim it had passed by then.
#[test]
fn gc_leaves_no_claim_that_it_served_itself() {
    check_promises([25_726, 33_423, 36_843, 48_679]);
}

/// An owner granted a lease for a first try to acquire the lock, and used it for a second try ten seconds later. The
/// lease ended at once. The owner asked for the lock again and again until the lock was gone.
#[test]
fn a_lock_is_not_acquired_with_a_lease_at_its_end() {
    check_promises([53_066]);
}

/// Two false alarms of the judge. First, a ticket was touched while a process had the lock, and the judge took it for
/// the ticket to which the lock was offered. Second, another node's GC served an abandoned ticket of a newer version.
/// The GC of the ticket's own node came before it and could not read the ticket.
#[test]
fn nobody_is_accused_of_what_is_right() {
    check_promises([831_955, 910_572]);
}

/// Alarms of the judge: a holder that deletes an imported claim, which is not its own by name, frees its addresses before it
/// serves tickets.
#[test]
fn a_del_stands_for_the_claim_without_interface() {
    check_promises([3_279, 3_675, 3_717, 4_420, 6_831]);
}

/// An ADD could not make the put of its ticket impossible. It said that etcd is not available, and not that its
/// request may still be carried out. The put came after the DEL.
#[test]
fn what_may_still_come_is_told() {
    check_promises([166_574]);
}

/// Waiters had begun to look before they watch. Then a second ADD of an attachment took away the ticket of the first
/// ADD. That ticket had been refused, and the first ADD had not read why.
#[test]
fn a_refusal_is_left_to_be_read() {
    check_promises([3_247]);
}

/// A bug, and the promises that it may be found to break.
const QUICKLY_FOUND: [(Bug, &[u8]); 30] = [
    (Bug::BlockUnchecked, &[1, 2]),
    (Bug::ClaimUnchecked, &[1, 2, 6, 9]),
    (Bug::NotOnNode, &[2, 9]),
    (Bug::LeftOnNode, &[2]),
    (Bug::ServedOutOfOrder, &[4]),
    (Bug::NextNotTouched, &[10]),
    (Bug::UnknownAsSuccess, &[6, 8, 9]),
    (Bug::ReleaseUnguarded, &[1, 2, 9]),
    (Bug::TakeOverUnguarded, &[1, 2, 9]),
    (Bug::TakeOverOfOthers, &[2, 9]),
    (Bug::PodForgotten, &[6]),
    (Bug::OwnerUnchecked, &[2, 13]),
    (Bug::OwnerTakenFromLiving, &[2, 9, 13]),
    (Bug::RevivalUnguarded, &[1, 2, 13]),
    (Bug::OwnerNotAtRest, &[2]),
    (Bug::EndUnguarded, &[2, 9, 13]),
    (Bug::TwoTransactions, &[2, 5]),
    (Bug::NextBlockNotMade, &[2]),
    (Bug::FullNotMovedBack, &[2]),
    (Bug::ZeroCountedAsFree, &[2]),
    (Bug::IdentityUnchecked, &[12]),
    (Bug::GcOfOtherClusters, &[9, 12]),
    (Bug::GcWithoutList, &[9]),
    (Bug::DelSwallowsFailure, &[8]),
    // Nobody serves a DEL's ticket for an address beyond the end; a dead DEL leaves it.
    (Bug::EndsTooLate, &[3, 8, 10]),
    (Bug::BeginsTooEarly, &[3]),
    (Bug::ExclusionForgotten, &[3]),
    (Bug::DeadlineForgotten, &[10]),
    (Bug::RefusedBitsStay, &[2]),
    (Bug::NamelessTaken, &[9]),
];

#[test]
fn planted_bugs_are_found_as_what_they_break() {
    for (bug, promises) in QUICKLY_FOUND {
        let found = first_found(bug, 200);
        let found = found.unwrap_or_else(|| panic!("not found: {}", bug.description()));
        let promise = found.finding.promise;
        assert!(promises.contains(&promise), "{bug}: {found:?}");
    }
}

#[test]
fn planted_bugs_are_found_in_small_worlds() {
    for bug in [
        Bug::CancelledTicketServed,
        Bug::RemadeTicketServed,
        Bug::UnknownAsFailure,
        Bug::FenceForgotten,
        Bug::TakeOverOfTheNewer,
        Bug::RefusedBitsStay,
        Bug::NamelessTaken,
        Bug::UnknownAsUnsent,
    ] {
        assert!(exhaustive::hunt(bug).is_some(), "{}", bug.description());
    }
}

#[test]
fn a_finding_is_made_small_and_its_line_finds_it_again() {
    let made_small = [Bug::UnknownAsSuccess, Bug::TakeOverUnguarded].map(|bug| {
        let found = first_found(bug, 30).expect("it is found");
        let failing = Failing {
            seed: found.seed,
            bug: Some(bug),
            promise: found.finding.promise,
        };
        (failing, shrink(failing, &knobs_of(found.seed)))
    });
    // From some, whole kinds of faults are left out, from others, single ones.
    let count =
        |(_, small): &(Failing, Verdict)| small.knobs.only.as_ref().map_or(0, BTreeSet::len);
    let with_some = made_small.into_iter().filter(|made| count(made) > 0);
    let made = with_some.min_by_key(count).expect("from one of them");
    assert!(count(&made) <= 6, "{}", made.1.knobs);
    let (Failing { seed, bug, .. }, small) = made;
    let line = Replay::of(seed, bug, &small.knobs).to_string();
    let output = simulator(&line);
    let finding = format!("seed {seed}: {}", small.finding.expect("it fails"));
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.trim(), finding, "{line}");
    assert!(!output.status.success());
}

#[test]
fn what_is_shipped_is_built_without_the_simulator() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "whereabouts-cni",
            "--edges",
            "normal,build",
        ])
        .args(["--prefix", "none", "--offline", "--locked"])
        .output()
        .expect("cargo runs this test");
    let tree = String::from_utf8(tree.stdout).expect("text");
    let has = |package: &str| tree.lines().any(|line| line.starts_with(package));
    assert!(has("whereabouts-cni v") && has("etcd-client v"), "{tree}");
    assert!(!has("whereabouts-sim "), "{tree}");
}
