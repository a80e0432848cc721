//! Random worlds, two controllers in each, and a judge that knows the truth: no claim of a living sandbox is ever
//! released, and every leaked claim is released in the end.

mod controller;
mod world;

use controller::{Bug, Controller};
use whereabouts_clock::Chance;
use world::World;

/// Seconds of faults, and seconds after them in which everything must come to rest.
const FAULTS: u64 = 1_500;
const REST: u64 = 900;

/// Worlds without a planted bug; with one, more are searched if need be.
const SEEDS: u64 = 60;

/// Runs a world, and tells the first thing that is wrong.
fn run(seed: u64, bug: Option<Bug>) -> Result<u64, String> {
    let chance = Chance::new(seed);
    let mut world = World::new(&chance);
    let mut controllers = [Controller::new(bug, &chance), Controller::new(bug, &chance)];
    for now in 0..FAULTS + REST {
        if now < FAULTS {
            world.suffer(&chance);
        } else if now == FAULTS {
            world.recover();
        }
        world.tick(&chance);
        for controller in &mut controllers {
            controller.tick(&mut world, &chance, now < FAULTS)?;
        }
    }
    world.expect_no_leak()?;
    Ok(world.released)
}

#[test]
fn no_living_sandbox_loses_its_claim_and_every_leaked_claim_is_released() {
    let mut released = 0;
    for seed in 0..SEEDS {
        released += run(seed, None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
    // Worlds without a leak would prove nothing.
    assert!(released > 10 * SEEDS, "only {released} claims leaked");
}

#[test]
fn the_same_seed_has_the_same_history() {
    assert_eq!(run(7, None), run(7, None));
}

#[test]
fn every_planted_bug_is_found() {
    for (bug, finding) in [
        (Bug::ClaimsAfterPods, "lives"),
        (Bug::NameWithoutUid, "leaked"),
        (Bug::ErrorAsAbsence, "lives"),
        (Bug::CacheAsEvidence, "lives"),
        (Bug::MissingAtOnce, "lives"),
        (Bug::ReleaseUnguarded, "lives"),
        (Bug::OneLook, "lives"),
    ] {
        let mut findings =
            (0..10 * SEEDS).filter_map(|seed| Some((seed, run(seed, Some(bug)).err()?)));
        let found = findings.find(|(_, found)| found.contains(finding));
        let (seed, found) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?} is found in world {seed}: {found}");
    }
}
