//! Ways that a search in depth or at random reaches late, step by step. Each of them keeps all promises, and breaks one if
//! the rule that it is about is broken.

use std::collections::BTreeSet;

use whereabouts_core::address::Range;
use whereabouts_kubernetes::memory::{Model, Versions};
use whereabouts_kubernetes::protocol::Purpose::{
    self, AllOpen, Attempt, Confirm, Create, Current, Delete, DeleteOld, Existing, Give, GiveUp,
    Move, Names, SweepWrite,
};

use super::bugs::Bug;
use super::judge::{self, Broken};
use super::process::Job;
use super::state::{Choice, Planned, Run, State};
use super::worlds::{add, after, del, edge, of_pod, one, plan, range};

/// A way, and the processes that go it.
pub struct Script {
    /// The name.
    pub name: &'static str,
    jobs: fn() -> Vec<Planned>,
    faults: u32,
    way: fn(&mut Scene) -> Result<(), Broken>,
}

impl Script {
    /// Goes the way, with `bug` if there is one; the broken promise.
    pub fn play(&self, bug: Option<Bug>) -> Result<(), String> {
        let jobs = (self.jobs)();
        let mut state = State::new(Model::new(Versions::OfAll), &jobs, self.faults);
        state.start(&jobs);
        let mut scene = Scene { jobs, state, bug };
        let played = (self.way)(&mut scene).and_then(|()| scene.end());
        played.map_err(|Broken(broken)| broken)
    }
}

struct Scene {
    jobs: Vec<Planned>,
    state: State,
    bug: Option<Bug>,
}

impl Scene {
    fn take(&mut self, choice: Choice) -> Result<(), Broken> {
        self.state.take(&self.jobs, choice, self.bug)
    }

    /// The purpose of the next request of a process; `None` if the process does not run.
    fn next(&self, process: usize) -> Option<Purpose> {
        match &self.state.runs[process] {
            Run::Running { step, .. } => Some(step.purpose),
            Run::Waiting | Run::Ended => None,
        }
    }

    /// Serves the next request of a process, if it runs.
    fn serve(&mut self, process: usize) -> Result<(), Broken> {
        match self.next(process) {
            Some(_) => self.take(Choice::Serve(process)),
            None => Ok(()),
        }
    }

    /// Serves requests of a process until `purpose` is that of the next one, or the process ends.
    fn until(&mut self, process: usize, purpose: Purpose) -> Result<(), Broken> {
        while self.next(process).is_some_and(|next| next != purpose) {
            self.serve(process)?;
        }
        Ok(())
    }

    fn finish(&mut self, processes: &[usize]) -> Result<(), Broken> {
        for process in processes {
            while self.next(*process).is_some() {
                self.serve(*process)?;
            }
        }
        Ok(())
    }

    /// Ends all processes, lets late writes land, and deletes all claims.
    fn end(mut self) -> Result<(), Broken> {
        let all: Vec<usize> = (0..self.jobs.len()).collect();
        self.finish(&all)?;
        while !self.state.late.is_empty() {
            self.take(Choice::Land(0))?;
        }
        let jobs = self.jobs.iter();
        let attachments: BTreeSet<_> = jobs.map(|one| one.job.attachment().clone()).collect();
        judge::over(self.state, &attachments)
    }

    /// `own` begins at a block that `first` fills then. `helper` reads the block once it is free again, and then that
    /// `own` waits for it. At the end `own` is about to move, and `helper` to set a bit of `own`.
    fn stale_help(&mut self, own: usize, helper: usize, first: [usize; 2]) -> Result<(), Broken> {
        self.until(own, Give)?;
        self.state.model.set_now(1);
        self.until(helper, Give)?;
        self.finish(&first[..1])?;
        self.until(helper, Current)?;
        self.until(own, Move)?;
        self.finish(&first[1..])?;
        self.until(helper, Give)
    }
}

fn in_first(first: u8, last: u8) -> Range {
    let address = |bit: u8| format!("10.0.0.{bit}");
    range("10.0.0.0/16", &address(first), &address(last))
}

/// The one address of the second block of `edge`.
fn second() -> Range {
    range("10.0.0.0/16", "10.0.1.1", "10.0.1.1")
}

/// An ADD of `container`, and its DEL later.
fn passing(jobs: &mut Vec<Planned>, container: &str, range: &Range) {
    let index = jobs.len();
    jobs.push(add(container, range));
    jobs.push(after(&[index], del(container)));
}

/// `own` and `helper`, and others that come and go.
fn crowd(own: &Range, helper: &Range, others: &[(&str, Range)]) -> Vec<Planned> {
    let mut jobs = vec![add("own", own), add("helper", helper)];
    for (container, range) in others {
        passing(&mut jobs, container, range);
    }
    jobs
}

/// All scripts.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn scripts() -> Vec<Script> {
    vec![
        Script {
            name: "the own dead bit fills a range",
            jobs: || crowd(&edge(), &one(), &[("first", one()), ("last", second())]),
            faults: 0,
            way: |scene| {
                scene.stale_help(0, 1, [2, 3])?;
                scene.serve(0)?;
                scene.finish(&[4])?;
                scene.until(0, Names)?;
                scene.serve(1)?;
                scene.finish(&[0])
            },
        },
        Script {
            name: "a bit for a claim that has just gone",
            jobs: || {
                let three = in_first(253, 255);
                let mut jobs = crowd(&three, &three, &[("other", three.clone())]);
                jobs.push(del("own"));
                jobs
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.until(1, Give)?;
                scene.finish(&[2])?;
                scene.until(1, Current)?;
                scene.until(1, Give)?;
                scene.finish(&[4])?;
                scene.serve(1)
            },
        },
        Script {
            name: "gives up, is killed, and again",
            jobs: || {
                let mut jobs = Vec::new();
                passing(&mut jobs, "first", &one());
                jobs.push(add("own", &one()));
                jobs.push(after(&[2], add("own", &one())));
                jobs
            },
            faults: 1,
            way: |scene| {
                scene.finish(&[0])?;
                scene.until(2, GiveUp)?;
                scene.take(Choice::KillLate(2))?;
                scene.finish(&[1, 3])
            },
        },
        Script {
            name: "gives up, and the outcome is unknown",
            jobs: || {
                let mut jobs = Vec::new();
                passing(&mut jobs, "first", &one());
                jobs.push(add("own", &one()));
                jobs
            },
            faults: 1,
            way: |scene| {
                scene.finish(&[0])?;
                scene.until(2, GiveUp)?;
                scene.take(Choice::Delay(2))?;
                scene.finish(&[1, 2])
            },
        },
        Script {
            name: "two processes, and one answers while the other still looks",
            jobs: || vec![add("own", &one()), add("own", &one())],
            faults: 0,
            way: |scene| {
                scene.until(0, Confirm)?;
                scene.finish(&[1, 0])
            },
        },
        Script {
            name: "another process moves the claim",
            jobs: || {
                let mut jobs = vec![add("own", &edge()), add("own", &edge())];
                passing(&mut jobs, "first", &one());
                jobs
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.until(1, Create)?;
                scene.finish(&[2])?;
                scene.serve(0)?;
                scene.finish(&[1, 3, 0])
            },
        },
        Script {
            name: "a block that was read before the take-over",
            jobs: || {
                let mut jobs = vec![add("own", &edge()), add("own", &edge())];
                passing(&mut jobs, "first", &one());
                jobs
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.until(1, Existing)?;
                scene.finish(&[2])?;
                scene.serve(0)?;
                scene.until(1, Attempt)?;
                scene.finish(&[3, 0, 1])
            },
        },
        Script {
            name: "a DEL that is killed, and its deletion late",
            jobs: || {
                vec![
                    add("own", &one()),
                    after(&[0], del("own")),
                    after(&[1], add("own", &one())),
                ]
            },
            faults: 1,
            way: |scene| {
                scene.finish(&[0])?;
                scene.until(1, Delete)?;
                scene.take(Choice::KillLate(1))?;
                scene.finish(&[2])
            },
        },
        Script {
            name: "the same again, when the first block is full",
            jobs: || vec![add("own", &edge()), after(&[0], add("own", &edge()))],
            faults: 0,
            way: |scene| scene.finish(&[0, 1]),
        },
        Script {
            name: "a full block whose claims change before the sweep",
            jobs: || {
                let mut jobs = Vec::new();
                passing(&mut jobs, "first", &one());
                jobs.extend([add("own", &one()), add("last", &one())]);
                jobs
            },
            faults: 0,
            way: |scene| {
                scene.finish(&[0])?;
                scene.until(2, Current)?;
                scene.serve(2)?;
                scene.finish(&[1, 3, 2])
            },
        },
        Script {
            name: "a sweep on the way while the claim moves on",
            jobs: || {
                let (low, high) = (in_first(254, 254), one());
                let own = range("10.0.0.0/16", "10.0.0.254", "10.0.1.1");
                let others = [
                    ("first", low.clone()),
                    ("second", high),
                    ("last", second()),
                    ("sweeper", low.clone()),
                ];
                crowd(&own, &low, &others)
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.state.model.set_now(1);
                scene.until(1, Give)?;
                scene.finish(&[2, 4])?;
                scene.until(1, Current)?;
                scene.until(0, Move)?;
                scene.finish(&[3, 5])?;
                scene.until(1, Give)?;
                scene.serve(0)?;
                scene.finish(&[6])?;
                scene.serve(1)?;
                scene.until(8, SweepWrite)?;
                scene.finish(&[0])?;
                scene.serve(8)
            },
        },
        Script {
            name: "a claim that another one of its name follows",
            jobs: || {
                vec![
                    add("own", &one()),
                    del("own"),
                    after(&[1], add("own", &one())),
                ]
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Confirm)?;
                scene.finish(&[1, 2, 0])
            },
        },
        Script {
            name: "two writes of one version of a block",
            jobs: || {
                let four = in_first(4, 7);
                vec![
                    add("first", &four),
                    after(&[0], add("own", &four)),
                    after(&[0], add("helper", &four)),
                ]
            },
            faults: 0,
            way: |scene| {
                scene.finish(&[0])?;
                scene.until(1, Give)?;
                scene.until(2, Give)?;
                scene.finish(&[1, 2])
            },
        },
        Script {
            name: "a sweep of the next block before the last look",
            jobs: || crowd(&edge(), &second(), &[("first", one())]),
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.finish(&[2])?;
                scene.until(0, Confirm)?;
                scene.finish(&[1, 0])
            },
        },
        Script {
            name: "a bit in a block that the claim leaves",
            jobs: || {
                let mut jobs = crowd(&edge(), &in_first(254, 255), &[("first", one())]);
                jobs.push(after(&[0], del("own")));
                jobs
            },
            faults: 0,
            way: |scene| {
                scene.stale_help(0, 1, [2, 3])?;
                scene.finish(&[1, 0, 4])
            },
        },
        Script {
            name: "a dead bit of a claim that lives elsewhere",
            jobs: || {
                let mut jobs = crowd(&edge(), &in_first(254, 255), &[("first", one())]);
                jobs.push(after(&[0], add("last", &one())));
                jobs
            },
            faults: 0,
            way: |scene| {
                scene.stale_help(0, 1, [2, 3])?;
                scene.finish(&[1, 0, 4])
            },
        },
        Script {
            name: "a claim that waits for another block",
            jobs: || {
                let helper = in_first(254, 255);
                let mut jobs = crowd(&second(), &helper, &[("first", one())]);
                jobs.push(after(&[0], del("own")));
                jobs
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.until(1, Give)?;
                scene.finish(&[2, 1, 0])
            },
        },
        Script {
            name: "a claim that has its bit and is still in the list",
            jobs: || {
                let four = in_first(4, 7);
                vec![add("own", &four), add("helper", &four)]
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.until(1, Give)?;
                scene.finish(&[0, 1])
            },
        },
        Script {
            name: "two blocks that are full in turns",
            jobs: || {
                vec![
                    add("own", &edge()),
                    add("first", &one()),
                    add("last", &second()),
                ]
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.finish(&[1])?;
                scene.until(0, AllOpen)?;
                // Its bit is dead: an address is free at each moment.
                let first = scene.jobs[1].job.attachment().clone();
                scene.state.die(&first);
                scene.finish(&[2, 0])
            },
        },
        Script {
            name: "only the block that was left has space",
            jobs: || {
                let mut jobs = vec![add("own", &edge())];
                passing(&mut jobs, "first", &one());
                passing(&mut jobs, "last", &second());
                jobs
            },
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.finish(&[1])?;
                scene.until(0, Move)?;
                scene.serve(0)?;
                scene.finish(&[2, 3, 0])
            },
        },
        Script {
            name: "the current block has the own bit before the sweep",
            jobs: || crowd(&edge(), &one(), &[("first", one()), ("last", second())]),
            faults: 0,
            way: |scene| {
                scene.until(0, Give)?;
                scene.state.model.set_now(1);
                scene.until(1, Give)?;
                scene.finish(&[2])?;
                scene.until(0, Names)?;
                scene.until(1, Current)?;
                scene.finish(&[3])?;
                scene.until(1, Give)?;
                scene.serve(1)?;
                scene.finish(&[4, 0])
            },
        },
        Script {
            name: "an old container is added again while the new one takes over",
            jobs: || {
                let pod = |container: &str| {
                    let wants = vec![whereabouts_core::claim::Want::lowest(&in_first(4, 7))];
                    plan(Job::Add(of_pod(container, wants)))
                };
                vec![pod("old"), after(&[0], pod("new")), after(&[0], pod("old"))]
            },
            faults: 0,
            way: |scene| {
                scene.finish(&[0])?;
                scene.until(1, DeleteOld)?;
                scene.finish(&[2, 1])
            },
        },
        Script {
            name: "a helper gives another address to a container that takes over",
            jobs: || {
                let range = in_first(4, 9);
                let pod = |container: &str| {
                    let wants = vec![whereabouts_core::claim::Want::lowest(&range)];
                    plan(Job::Add(of_pod(container, wants)))
                };
                vec![
                    pod("old"),
                    after(&[0], pod("new")),
                    after(&[0], add("helper", &range)),
                    after(&[0], add("other", &range)),
                ]
            },
            faults: 0,
            way: |scene| {
                scene.finish(&[0])?;
                scene.until(1, Give)?;
                scene.until(2, Give)?;
                scene.finish(&[3, 2, 1])
            },
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::explorer::explore;
    use super::super::worlds::small_worlds;
    use super::*;

    #[test]
    fn no_script_breaks_a_promise() {
        for script in scripts() {
            assert_eq!(script.play(None), Ok(()), "{}", script.name);
        }
    }

    #[test]
    fn each_bug_breaks_a_promise_in_a_script_or_in_a_small_world() {
        for bug in Bug::ALL {
            let is_scripted = scripts()
                .iter()
                .any(|script| script.play(Some(*bug)).is_err());
            let is_found = is_scripted
                || small_worlds()
                    .iter()
                    .any(|world| explore(world, 0, Some(*bug), 2_000).broken.is_some());
            assert!(is_found, "{bug:?}");
        }
    }
}
