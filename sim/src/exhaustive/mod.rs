//! All interleavings of small worlds: production code, every order of its requests, and a fault of
//! each kind at each point.
//!
//! ```text
//! scenario -> setting     what each process does, and the store at first
//! automaton, tape         production code as a function of its answers
//! moment, choice, happen  a world at one moment, what can happen, and what then happens:
//! carry_out, arrive       a request is carried out, and its answer arrives
//! late, foreign           a commit lands late, and somebody else gives up the lock
//! judge                   what must be true
//! explorer                all of it, each moment once
//! trace, report           what a person reads
//! ```
//!
//! A step is one request: it is carried out and its answer arrives at once, since what a process
//! does between its requests nobody sees. Each process has its own clock, which goes on only when
//! the process waits for nothing else: no decision rests on what two clocks have in common.

mod arrive;
mod automaton;
mod carry_out;
mod choice;
mod digest;
mod explorer;
mod foreign;
mod happen;
mod judge;
mod late;
mod linearizable;
mod moment;
mod report;
mod scenario;
mod setting;
mod tape;
mod trace;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use std::time::Instant;

use explorer::Explorer;
use moment::Budget;
pub use report::{Report, Row};
use scenario::SCENARIOS;
pub use scenario::Scenario;

use crate::planted::{Bug, Home};

/// Explores the scenarios, without faults and with as many as each says, as far as `chosen` chooses
/// them, on so many threads. `finished` gets each row as soon as it is there, because the largest
/// worlds take most of an hour.
pub fn run(
    threads: usize,
    chosen: impl Fn(&Scenario, u8) -> bool,
    finished: impl Fn(&Row) + Sync,
) -> Report {
    // The last are the largest, and are begun first.
    let jobs: Vec<(usize, u8)> = SCENARIOS
        .iter()
        .enumerate()
        .rev()
        .flat_map(|(number, scenario)| (0..=scenario.most_faults).map(move |n| (number, n)))
        .filter(|(number, faults)| chosen(&SCENARIOS[*number], *faults))
        .collect();
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, faults)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = explore(*number, *faults);
                    finished(&row);
                    rows.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|row| (row.number, row.faults));
    Report { rows }
}

/// Goes through the choices that a finding printed: what happens, and what is wrong in the end.
pub fn replay(scenario: usize, faults: u8, choices: &[usize]) -> (String, Option<String>) {
    let budget = budget(&SCENARIOS[scenario], faults);
    Explorer::new(&SCENARIOS[scenario], budget, None).replay(choices)
}

/// A planted bug, found in a small world.
#[derive(Clone, Debug)]
pub struct Found {
    /// The world.
    pub world: &'static str,
    /// Faults that could strike.
    pub faults: u8,
    /// The interleavings of this world that were gone through, with the one that shows it.
    pub interleavings: u128,
    /// The broken rule.
    pub what: String,
}

/// Steps in one world after which a planted bug is looked for in the next.
const HUNTING_STEPS: u64 = 4_000;

/// Looks for a planted bug in the world that is made for it. A bug without such a world is looked for in one world
/// after the other, first without a fault, then with one.
pub fn hunt(bug: Bug) -> Option<Found> {
    if let Some(Home::World(name, faults)) = bug.home() {
        let mut worlds = SCENARIOS.iter();
        let world = worlds.find(|world| world.name == name);
        return hunt_in(world.expect("it is one of them"), faults, bug, u64::MAX);
    }
    let worlds = [0, 1].into_iter().flat_map(|faults| {
        let worlds = SCENARIOS.iter();
        worlds
            .filter(move |world| faults <= world.most_faults)
            .map(move |world| (world, faults))
    });
    worlds
        .into_iter()
        .find_map(|(world, faults)| hunt_in(world, faults, bug, HUNTING_STEPS))
}

fn hunt_in(world: &'static Scenario, faults: u8, bug: Bug, most: u64) -> Option<Found> {
    let explorer = Explorer::new(world, budget(world, faults), Some(bug));
    let (what, interleavings) = explorer.first_finding(most)?;
    Some(Found {
        world: world.name,
        faults,
        interleavings,
        what,
    })
}

fn explore(number: usize, faults: u8) -> Row {
    let begun = Instant::now();
    let scenario = &SCENARIOS[number];
    let (counts, finding) = Explorer::new(scenario, budget(scenario, faults), None).explore();
    Row {
        name: scenario.name,
        number,
        faults,
        counts,
        finding,
        took: begun.elapsed(),
    }
}

/// Without a fault, a timer may fire early instead, where that leaves few enough moments.
fn budget(scenario: &Scenario, faults: u8) -> Budget {
    Budget {
        faults,
        early_timers: u8::from(faults == 0 && scenario.processes.len() < 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_interleaving_of_the_smallest_worlds_breaks_a_promise() {
        let chosen = |world: &Scenario, faults| world.in_tests && faults < world.large_from;
        let report = run(2, chosen, |row| println!("{row}"));
        println!("{report}");
        assert!(report.is_clean(), "{report}");
    }
}
