//! The promises, the scenarios in which they are checked, and the planted bugs that are found.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::etcd::{Key, Value, Verb};
use crate::{At, Faults, Plant, Process, Scenario, State, Verdict};

const UNIQUE: &str = "promise 1: unique";
const AGREE: &str = "promise 2: blocks and claims agree";
const FENCED: &str = "promise 7: fenced";
const RELEASED: &str = "promise 8: what is released stays so, unless a process was killed";
const SERVED: &str = "without faults nobody fails";
const PROGRESS: &str = "somebody can go on until all have ended";

pub(crate) fn properties(scenario: &Scenario) -> Vec<Property<Scenario>> {
    let always = vec![
        Property::<Scenario>::always(UNIQUE, |_, state| {
            let claims = || state.etcd.claims();
            claims().map(u8::count_ones).sum::<u32>()
                == claims().fold(0, |all, claim| all | claim).count_ones()
        }),
        Property::<Scenario>::always(AGREE, |_, state| {
            let all = |all, addresses| all | addresses;
            state.etcd.claims().fold(0, all) == state.etcd.blocks().fold(0, all)
        }),
        Property::<Scenario>::always(FENCED, |_, state| !state.etcd.unfenced),
        Property::<Scenario>::always(RELEASED, |scenario, state| {
            (0..).zip(scenario.held).all(|(attachment, _)| {
                let mut processes = of(scenario, state, attachment);
                let last = processes.clone().last();
                let ended = processes.all(|process| matches!(process.at, At::End(_)));
                let released = last.is_some_and(|last| last.at == At::End(Verdict::Released));
                !(ended && released) || state.etcd.get(Key::Claim(attachment)).is_none()
            })
        }),
        Property::<Scenario>::always(SERVED, |scenario, state| {
            let failed = |process: &Process| process.at == At::End(Verdict::Failed);
            state.left != scenario.faults || !state.processes.iter().any(failed)
        }),
        Property::<Scenario>::always(PROGRESS, |scenario, state| {
            let ended = |process: &Process| matches!(process.at, At::End(_) | At::Killed);
            state.processes.iter().all(ended)
                || (0..state.processes.len()).any(|p| {
                    let process = &state.processes[p];
                    process.sent.is_some()
                        || ended(process) && state.etcd.is_alive(p)
                        || scenario.step(&mut state.clone(), p).is_some()
                })
        }),
    ];
    let sometimes = vec![
        Property::<Scenario>::sometimes("an ADD is served by a holder", |scenario, state| {
            any(scenario, state, |p, process, claimed| {
                let waits = process.at == At::Line(None) && process.sent.is_none();
                waits
                    && claimed
                    && state.etcd.is_alive(p)
                    && state.etcd.get(process.ticket).is_none()
            })
        }),
        Property::<Scenario>::sometimes("the lock is handed over", |scenario, state| {
            any(scenario, state, |_, process, _| {
                let ticket = state
                    .etcd
                    .get(process.ticket)
                    .filter(|_| state.left == scenario.faults);
                let touched = ticket.is_some_and(|entry| {
                    entry.created != entry.modified && entry.value != Value::Refused
                });
                touched && process.at == At::Line(None) && state.is_oldest(process.ticket)
            })
        }),
        Property::<Scenario>::sometimes(
            "a late commit is applied before its fence",
            |scenario, state| {
                any(scenario, state, |_, process, claimed| {
                    let settles = process
                        .sent
                        .as_ref()
                        .is_some_and(|sent| sent.done == sent.refused);
                    settles && claimed && matches!(process.at, At::Try(_))
                })
            },
        ),
        Property::<Scenario>::sometimes(
            "a killed ADD's commit is applied after its DEL",
            |scenario, state| {
                let deleted = |process: &Process| process.at == At::End(Verdict::Released);
                any(scenario, state, |_, process, claimed| {
                    process.at == At::Killed && claimed && state.processes.iter().any(deleted)
                })
            },
        ),
        Property::<Scenario>::sometimes(
            "a lease ends while its holder commits",
            |scenario, state| {
                any(scenario, state, |p, process, _| {
                    let sent = process.sent.as_ref();
                    !state.etcd.is_alive(p) && sent.is_some_and(|sent| sent.txn.holder.is_some())
                })
            },
        ),
        Property::<Scenario>::sometimes("a range is full", |scenario, state| {
            any(scenario, state, |_, process, _| {
                process.at == At::End(Verdict::Full)
            })
        }),
    ];
    let reached = |property: &Property<_>| scenario.reaches.contains(&property.name);
    always
        .into_iter()
        .chain(sometimes.into_iter().filter(reached))
        .collect()
}

fn of<'a>(
    scenario: &'a Scenario,
    state: &'a State,
    attachment: u8,
) -> impl Iterator<Item = &'a Process> + Clone {
    let jobs = scenario.jobs.iter().zip(&state.processes);
    jobs.filter(move |(job, _)| job.0 == attachment)
        .map(|(_, process)| process)
}

/// Whether it is so of any process, given whether its attachment has a claim.
fn any(scenario: &Scenario, state: &State, is: impl Fn(usize, &Process, bool) -> bool) -> bool {
    state.processes.iter().enumerate().any(|(p, process)| {
        is(
            p,
            process,
            state.etcd.get(Key::Claim(scenario.jobs[p].0)).is_some(),
        )
    })
}

const fn faults(time_outs: u8, kills: u8, expiries: u8, give_ups: u8) -> Faults {
    Faults {
        time_outs,
        kills,
        expiries,
        give_ups,
    }
}

const ADD: Verb = Verb::Add;
const DEL: Verb = Verb::Del;

const WORLD: Scenario = Scenario {
    name: "",
    ranges: &[0b111, 0b110],
    held: &[0; 4],
    jobs: &[],
    tries: 1,
    batch: 3,
    faults: faults(0, 0, 0, 0),
    reaches: &[],
    plant: None,
};

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "one range without faults",
        jobs: &[(0, ADD, 1), (1, ADD, 1), (2, ADD, 1), (3, ADD, 1)],
        reaches: &[
            "an ADD is served by a holder",
            "the lock is handed over",
            "a range is full",
        ],
        ..WORLD
    },
    Scenario {
        name: "one queue, with faults",
        jobs: &[(0, ADD, 1), (1, ADD, 1), (2, ADD, 1)],
        tries: 0,
        batch: 2,
        faults: faults(0, 0, 1, 1),
        reaches: &[
            "an ADD is served by a holder",
            "a lease ends while its holder commits",
        ],
        ..WORLD
    },
    Scenario {
        name: "one queue, with a request that is lost or late",
        jobs: &[(0, ADD, 1), (1, ADD, 1), (2, ADD, 1)],
        tries: 0,
        batch: 2,
        faults: faults(1, 0, 0, 0),
        ..WORLD
    },
    Scenario {
        name: "two overlapping ranges",
        jobs: &[(0, ADD, 1), (1, ADD, 2), (2, ADD, 3)],
        faults: faults(1, 0, 0, 0),
        reaches: &["a late commit is applied before its fence"],
        ..WORLD
    },
    Scenario {
        name: "ADD, DEL and ADD again",
        jobs: &[(0, ADD, 1), (0, DEL, 1), (0, ADD, 1), (1, ADD, 2)],
        tries: 2,
        faults: faults(1, 1, 0, 0),
        reaches: &[],
        ..WORLD
    },
    Scenario {
        name: "a killed ADD and its DEL",
        jobs: &[(0, ADD, 1), (0, DEL, 1), (1, ADD, 2)],
        faults: faults(2, 1, 0, 0),
        reaches: &["a killed ADD's commit is applied after its DEL"],
        ..WORLD
    },
    Scenario {
        name: "two ADDs of one attachment, and its DEL",
        jobs: &[(0, ADD, 1), (0, ADD, 1), (0, DEL, 1)],
        tries: 1,
        faults: faults(2, 0, 1, 1),
        ..WORLD
    },
    Scenario {
        name: "two DELs of one attachment",
        held: &[0b1, 0b0, 0b0],
        jobs: &[(0, DEL, 1), (0, DEL, 1), (1, ADD, 1)],
        faults: faults(1, 0, 1, 0),
        ..WORLD
    },
    Scenario {
        name: "queued DEL and ADD",
        held: &[0b1, 0b10, 0b0],
        jobs: &[(0, DEL, 1), (1, DEL, 2), (2, ADD, 3)],
        tries: 0,
        faults: faults(0, 1, 1, 0),
        ..WORLD
    },
];

#[test]
fn the_protocol_keeps_its_promises() {
    for scenario in SCENARIOS {
        let start = Instant::now();
        let checker = scenario.clone().checker().spawn_dfs().join();
        println!(
            "{}: {} states, {} steps, depth {}, {:.1?}",
            scenario.name,
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth(),
            start.elapsed()
        );
        checker.assert_properties();
    }
}

/// Each scenario is sound without its plant, and breaks this promise with it.
const PLANTED: &[(Plant, &str, Scenario)] = &[
    (
        Plant::BlockUnchecked,
        UNIQUE,
        Scenario {
            jobs: &[(0, ADD, 1), (1, ADD, 1)],
            ..WORLD
        },
    ),
    (
        Plant::TicketUnchecked,
        FENCED,
        Scenario {
            jobs: &[(0, ADD, 1), (1, ADD, 1)],
            tries: 0,
            faults: faults(0, 0, 1, 0),
            ..WORLD
        },
    ),
    (
        Plant::ClaimUnchecked,
        AGREE,
        Scenario {
            held: &[1, 0],
            jobs: &[(0, DEL, 1), (0, DEL, 1), (1, ADD, 1)],
            tries: 2,
            ..WORLD
        },
    ),
    (
        Plant::TicketOverAnother,
        SERVED,
        Scenario {
            jobs: &[(0, ADD, 1), (0, ADD, 1)],
            tries: 0,
            ..WORLD
        },
    ),
    (
        Plant::UnknownIsFailure,
        RELEASED,
        Scenario {
            jobs: &[(0, ADD, 1), (0, DEL, 1)],
            faults: faults(1, 0, 0, 0),
            ..WORLD
        },
    ),
    (
        Plant::RevocationLost,
        RELEASED,
        Scenario {
            jobs: &[(0, ADD, 1), (0, DEL, 1), (1, ADD, 1)],
            tries: 0,
            faults: faults(2, 0, 0, 0),
            ..WORLD
        },
    ),
];

#[test]
fn what_is_planted_is_found() {
    for (plant, promise, sound) in PLANTED {
        sound
            .clone()
            .checker()
            .spawn_dfs()
            .join()
            .assert_properties();
        let planted = Scenario {
            plant: Some(*plant),
            ..sound.clone()
        };
        let only = HasDiscoveries::AnyOf([*promise].into());
        let checker = planted.checker().finish_when(only).spawn_bfs().join();
        let path = checker.assert_any_discovery(promise).into_actions();
        println!(
            "{plant:?}: {promise}, {} states: {path:?}",
            checker.unique_state_count()
        );
    }
}
