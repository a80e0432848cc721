//! One random way through a larger world: many attachments, ranges that overlap, faults, pages, and time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use whereabouts_clock::Chance;
use whereabouts_core::address::Range;
use whereabouts_core::claim::{Owner, Want};
use whereabouts_core::durable::DurableOwner;
use whereabouts_core::registry::Taken;
use whereabouts_kubernetes::memory::{Model, Versions};
use whereabouts_kubernetes::object::Object;

use super::bugs::Bug;
use super::judge::{self, Broken};
use super::process::{End, Job};
use super::state::{Choice, Planned, State};
use super::worlds::{ask, attachment, range, web};

/// Steps of one way. A way that needs more does not end.
const STEPS: usize = 20_000;

/// The end of a way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Steps.
    pub steps: usize,
    /// Faults.
    pub faults: usize,
    /// Verbs.
    pub verbs: usize,
    /// A hash of all moments: one seed has one way.
    pub digest: u64,
    /// A broken promise.
    pub broken: Option<String>,
    /// The way, a line a step, if it is asked for.
    pub way: Option<Vec<String>>,
}

/// The way that `seed` determines, with `bug` if there is one.
pub fn walk(seed: u64, bug: Option<Bug>) -> Walked {
    walk_into(seed, bug, Walked::default())
}

/// The same, with its steps.
pub fn walk_told(seed: u64, bug: Option<Bug>) -> Walked {
    let way = Some(Vec::new());
    let walked = Walked::default();
    walk_into(seed, bug, Walked { way, ..walked })
}

fn walk_into(seed: u64, bug: Option<Bug>, mut walked: Walked) -> Walked {
    let chance = Chance::new(seed);
    if let Err(Broken(broken)) = go(&chance, bug, &mut walked) {
        walked.broken = Some(format!("seed {seed}: {broken}"));
    }
    walked
}

fn ranges(chance: &Chance) -> Vec<Range> {
    let sets: &[&[(&str, &str, &str)]] = &[
        &[("10.0.0.0/16", "10.0.0.253", "10.0.1.2")],
        &[("10.0.0.0/24", "10.0.0.4", "10.0.0.7")],
        &[
            ("10.0.0.0/16", "10.0.0.255", "10.0.1.3"),
            ("10.0.0.0/16", "10.0.1.2", "10.0.1.5"),
        ],
        &[
            ("10.0.0.0/16", "10.0.0.254", "10.0.1.1"),
            ("10.0.0.0/22", "10.0.0.255", "10.0.1.3"),
        ],
        &[
            ("10.0.0.0/24", "10.0.0.9", "10.0.0.10"),
            ("fd00::/64", "fd00::1", "fd00::3"),
        ],
        &[("fd00::/64", "fd00::ff", "fd00::101")],
    ];
    let set = sets[chance.index(sets.len())];
    set.iter()
        .map(|(cidr, first, last)| range(cidr, first, last))
        .collect()
}

fn jobs(chance: &Chance, ranges: &[Range]) -> Vec<Planned> {
    let mut jobs = Vec::new();
    for number in 0..chance.below(3) {
        durable(chance, ranges, number, &mut jobs);
    }
    for number in 0..3 + chance.below(7) {
        let container = format!("c{number}");
        let owner = Owner {
            node: Some("node".to_owned()),
            // Two containers in a row perhaps have one pod.
            pod_uid: (chance.below(4) == 0).then(|| format!("pod {}", number / 2)),
            ..Owner::default()
        };
        let is_dual = ranges.len() > 1 && chance.below(3) == 0;
        let wants = if is_dual {
            ranges.iter().map(Want::lowest).collect()
        } else {
            vec![Want::lowest(&ranges[chance.index(ranges.len())])]
        };
        let mut ask = ask(&container, wants);
        ask.owner = owner;
        let mut after = Vec::new();
        for _ in 0..=chance.below(3) {
            let add = jobs.len();
            jobs.push(Planned {
                job: Job::Add(ask.clone()),
                after: after.clone(),
            });
            let mut last = vec![add];
            if chance.below(4) == 0 {
                // A second process, at once or later.
                let after = if chance.below(2) == 0 {
                    after.clone()
                } else {
                    vec![add]
                };
                last.push(jobs.len());
                jobs.push(Planned {
                    job: Job::Add(ask.clone()),
                    after,
                });
            }
            // A runtime perhaps deletes without waiting.
            let is_patient = chance.below(8) > 0;
            let del = jobs.len();
            jobs.push(Planned {
                job: Job::Del(attachment(&container)),
                after: if is_patient {
                    last.clone()
                } else {
                    after.clone()
                },
            });
            last.push(del);
            after = last;
        }
    }
    jobs
}

/// Pods of one name, one after the other, whose addresses stay; perhaps the end of their owner.
fn durable(chance: &Chance, ranges: &[Range], number: u64, jobs: &mut Vec<Planned>) {
    let range = &ranges[chance.index(ranges.len())];
    let mut after = Vec::new();
    for turn in 0..=chance.below(4) {
        let container = format!("w{number}-{turn}");
        // A sandbox is perhaps made anew in the same pod.
        let mut ask = web(&container, &format!("{}", turn / 2), range);
        ask.owner.pod_name = Some(format!("web-{number}"));
        // The network was perhaps not sticky at first.
        ask.owner.is_durable = turn > 0 || chance.below(8) > 0;
        let owner = DurableOwner {
            network: ask.attachment.network.clone(),
            namespace: "ns".to_owned(),
            pod: format!("web-{number}"),
            interface: ask.attachment.interface.clone(),
        };
        let add = jobs.len();
        let job = Job::Add(ask);
        jobs.push(Planned {
            job: job.clone(),
            after: after.clone(),
        });
        if chance.below(4) == 0 {
            let after = after.clone();
            jobs.push(Planned { job, after });
        }
        let leave = jobs.len();
        jobs.push(Planned {
            job: Job::Leave(attachment(&container), owner.clone()),
            after: vec![add],
        });
        if chance.below(4) == 0 {
            jobs.push(Planned {
                job: Job::End(attachment(&container), owner),
                after: vec![add],
            });
        }
        // The next container perhaps comes before the last one has left.
        after = if chance.below(3) == 0 {
            vec![add]
        } else {
            vec![leave]
        };
    }
}

fn go(chance: &Chance, bug: Option<Bug>, walked: &mut Walked) -> Result<(), Broken> {
    let ranges = ranges(chance);
    let jobs = jobs(chance, &ranges);
    walked.verbs = jobs.len();
    let faults = u32::try_from(chance.below(6)).unwrap_or(0);
    let often = 4 + chance.below(40);
    let mut state = State::new(Model::new(Versions::OfAll), &jobs, faults);
    state.since = Some(BTreeMap::new());
    state.start(&jobs);
    let mut now = 0;
    while !(state.is_over() && state.late.is_empty()) {
        walked.steps += 1;
        if walked.steps > STEPS {
            return Err(Broken("the processes do not end".to_owned()));
        }
        if chance.below(20) == 0 {
            now += 1;
            state.model.set_now(now);
        }
        if chance.below(200) == 0 {
            state.model.compact();
        }
        match chance.below(30) {
            0 => state.model.stop_cache(),
            1 => state.model.catch_up(),
            _ => {}
        }
        let choices = state.choices();
        let (strikes, honest): (Vec<Choice>, Vec<Choice>) = choices
            .into_iter()
            .partition(|choice| !matches!(choice, Choice::Serve(_) | Choice::Land(_)));
        // A late write waits for a while.
        let soon: Vec<Choice> = honest
            .iter()
            .copied()
            .filter(|choice| matches!(choice, Choice::Serve(_)) || chance.below(10) == 0)
            .collect();
        let honest = if soon.is_empty() { honest } else { soon };
        let is_struck = !strikes.is_empty() && (honest.is_empty() || chance.below(often) == 0);
        let chosen = if is_struck { &strikes } else { &honest };
        walked.faults += usize::from(is_struck);
        let choice = chosen[chance.index(chosen.len())];
        let told = walked.way.is_some().then(|| state.told(&jobs, choice));
        let taken = state.take(&jobs, choice, bug);
        if let Some((way, told)) = walked.way.as_mut().zip(told) {
            way.push(format!("{told}; {}", state.told_bits()));
        }
        taken?;
        walked.digest = digest(walked.digest, &state);
    }
    state.model.catch_up();
    let containers = jobs.iter().map(|planned| planned.job.attachment().clone());
    let containers = containers.collect::<BTreeSet<_>>();
    judge::over(state.clone(), &containers)?;
    judge::end_all(&mut state, &containers)?;
    refill(&mut state, &ranges)
}

/// After all DELs each address can be given again: nothing is lost for good, and the lowest free address comes first.
fn refill(state: &mut State, ranges: &[Range]) -> Result<(), Broken> {
    for (index, range) in ranges.iter().enumerate() {
        let mut given = 0_u32;
        loop {
            let taken = State::bits(&state.model);
            let ask = ask(&format!("r{index}-{given}"), vec![Want::lowest(range)]);
            match state.run_alone(&Job::Add(ask), &format!("r{given}"))? {
                End::Added(Ok(Taken::Granted(held))) => {
                    given += 1;
                    lowest(&taken, range, &held[0])?;
                }
                End::Added(Ok(Taken::Short(_))) => break,
                other => return Err(Broken(format!("an ADD alone ends with {other:?}"))),
            }
        }
        if u128::from(given) != range.size() {
            let size = range.size();
            return Err(Broken(format!(
                "{given} of {size} addresses are given at the end"
            )));
        }
        for number in 0..given {
            let attachment = attachment(&format!("r{index}-{number}"));
            state.run_alone(&Job::Del(attachment), "end")?;
        }
    }
    Ok(())
}

/// That no lower address had a free bit, if any address had one.
fn lowest(
    taken: &BTreeSet<(String, u8, String)>,
    range: &Range,
    held: &whereabouts_core::claim::Held,
) -> Result<(), Broken> {
    use whereabouts_core::address::BlockKey;
    use whereabouts_kubernetes::names;
    let is_free = |address: whereabouts_core::address::Address| {
        let name = names::block(&BlockKey::of(range.pool(), address));
        !taken
            .iter()
            .any(|(block, bit, _)| *block == name && *bit == address.bit())
    };
    if !is_free(held.address) {
        return Ok(());
    }
    let all = range.intervals().iter().flat_map(|interval| {
        std::iter::successors(Some(interval.first()), |address| address.successor())
            .take_while(|address| interval.contains(*address))
    });
    let mut lower = all.take_while(|address| *address < held.address);
    match lower.find(|address| !address.ends_in_zero() && is_free(*address)) {
        Some(lower) => Err(Broken(format!(
            "{} is given, but {lower} was free",
            held.address
        ))),
        None => Ok(()),
    }
}

fn digest(before: u64, state: &State) -> u64 {
    // The text is the same in each build and on each machine.
    let mut text = String::new();
    let _ = write!(
        text,
        "{:?}",
        state
            .model
            .objects()
            .map(Object::metadata)
            .collect::<Vec<_>>()
    );
    text.bytes()
        .fold(before ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
