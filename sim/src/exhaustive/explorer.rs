//! The search: depth first over all choices, each moment once.
//!
//! Moments with one hash have one future, so the search cuts a known moment. Every choice brings some process nearer
//! to its end, so no moment comes back. When the search leaves a moment, it knows the number of interleavings that
//! lead from there to an end.

use std::time::Duration;

use super::automaton::Automata;
use super::choice::Choice;
use super::digest::{DigestSet, Digests};
use super::judge;
use super::moment::{Budget, Moment};
use super::scenario::Scenario;
use super::setting::Setting;
use super::trace;
use crate::planted::Bug;

/// How much was explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Different moments.
    pub moments: u64,
    /// Choices taken.
    pub steps: u64,
    /// Choices that led to a moment that was known, and were not followed further.
    pub cut: u64,
    /// Different ends.
    pub ends: u64,
    /// Interleavings from the beginning to an end.
    pub interleavings: u128,
    /// Choices of the longest of these.
    pub longest: usize,
    /// Different histories of answers that production code was run on.
    pub histories: u64,
    /// Executions of production code.
    pub executions: u64,
}

/// Something that must not be, and how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The broken rule.
    pub what: String,
    /// The choices that lead there, by their places among those there are.
    pub choices: Vec<usize>,
    /// The events on the way.
    pub trace: String,
}

/// The search in one scenario with one budget.
pub(super) struct Explorer<'s> {
    scenario: &'s Scenario,
    setting: Setting,
    automata: Automata,
    budget: Budget,
    counts: Counts,
    /// The stores of audited moments.
    audited: DigestSet,
}

struct Frame {
    moment: Moment,
    hash: u128,
    choices: Vec<Choice>,
    next: usize,
    interleavings: u128,
}

/// How far a search for a shorter way to a finding may go.
const SHORTENING_STEPS: u64 = 400_000;

impl<'s> Explorer<'s> {
    /// Makes `scenario` ready, perhaps with a bug.
    pub(super) fn new(scenario: &'s Scenario, budget: Budget, bug: Option<Bug>) -> Self {
        let setting = Setting::new(scenario, bug);
        let round_trip = Duration::from_millis(scenario.round_trip_ms);
        let verbs = setting.with_deadlines(scenario);
        let automata = Automata::new(verbs, round_trip, setting.keys.clone(), bug);
        Self {
            scenario,
            setting,
            automata,
            budget,
            counts: Counts::default(),
            audited: DigestSet::default(),
        }
    }

    /// Explores everything, or until something is found.
    pub(super) fn explore(mut self) -> (Counts, Option<Finding>) {
        let found = self.search(u64::MAX).map(|(what, choices)| {
            let (what, choices) = self.shorten(what, choices);
            let trace = self.trace(&choices);
            Finding {
                what,
                choices,
                trace,
            }
        });
        self.counts.histories = self.automata.histories();
        self.counts.executions = self.automata.executions();
        (self.counts, found)
    }

    /// Goes through `choices`, and tells what happens, and what is wrong in the end.
    pub(super) fn replay(mut self, choices: &[usize]) -> (String, Option<String>) {
        let trace = self.trace(choices);
        let mut moment = self.first();
        for choice in choices {
            if let Err(what) = self.step(&mut moment, *choice) {
                return (trace, Some(what));
            }
        }
        (trace, None)
    }

    /// Explores at most `most` steps: what is found first, after how many interleavings.
    pub(super) fn first_finding(mut self, most: u64) -> Option<(String, u128)> {
        let (what, _) = self.search(most)?;
        Some((what, self.counts.interleavings))
    }

    fn search(&mut self, most: u64) -> Option<(String, Vec<usize>)> {
        let mut known: Digests<u128> = Digests::default();
        let first = self.first();
        let mut frames = vec![self.frame(first)];
        self.counts.moments += 1;
        while let Some(frame) = frames.last_mut() {
            let Some(choice) = frame.choices.get(frame.next) else {
                let done = frames.pop().expect("it is there");
                known.insert(done.hash, done.interleavings);
                match frames.last_mut() {
                    Some(before) => add(&mut before.interleavings, done.interleavings),
                    None => self.counts.interleavings = done.interleavings,
                }
                continue;
            };
            if self.counts.steps == most {
                return None;
            }
            frame.next += 1;
            self.counts.steps += 1;
            let mut moment = frame.moment.clone();
            if let Err(what) = self.follow(&mut moment, *choice) {
                // Those that ended, and the one that leads here.
                let ended = frames.iter().map(|frame| frame.interleavings);
                self.counts.interleavings = ended.fold(1, u128::saturating_add);
                return Some((what, path(&frames)));
            }
            let new = self.frame(moment);
            if let Some(interleavings) = known.get(&new.hash) {
                self.counts.cut += 1;
                let before = frames.last_mut().expect("it is there");
                add(&mut before.interleavings, *interleavings);
                continue;
            }
            self.counts.moments += 1;
            self.counts.ends += u64::from(new.choices.is_empty());
            self.counts.longest = self.counts.longest.max(frames.len());
            frames.push(new);
        }
        None
    }

    /// A shorter way to something that is wrong, as far as one is found soon.
    fn shorten(&mut self, what: String, choices: Vec<usize>) -> (String, Vec<usize>) {
        let mut best = (what, choices);
        let mut steps = 0;
        'shorter: loop {
            let depth = best.1.len() - 1;
            let mut left: Digests<usize> = Digests::default();
            let first = self.first();
            let mut frames = vec![self.frame(first)];
            while let Some(frame) = frames.last_mut() {
                let at = frame.next;
                if at == frame.choices.len() {
                    frames.pop();
                    continue;
                }
                frame.next += 1;
                steps += 1;
                if steps > SHORTENING_STEPS {
                    break 'shorter;
                }
                let mut moment = frame.moment.clone();
                let choice = frame.choices[at];
                if let Err(what) = self.follow(&mut moment, choice) {
                    best = (what, path(&frames));
                    continue 'shorter;
                }
                let more = depth - frames.len();
                let new = self.frame(moment);
                if more > 0 && left.get(&new.hash).is_none_or(|known| *known < more) {
                    left.insert(new.hash, more);
                    frames.push(new);
                }
            }
            break;
        }
        best
    }

    fn first(&self) -> Moment {
        Moment::first(&self.setting, self.budget)
    }

    fn frame(&self, moment: Moment) -> Frame {
        let choices = moment.choices(&self.setting, &self.automata);
        Frame {
            hash: moment.digest(&self.setting, &self.automata, moment.stored()),
            interleavings: u128::from(choices.is_empty()),
            moment,
            choices,
            next: 0,
        }
    }

    fn step(&mut self, moment: &mut Moment, choice: usize) -> Result<(), String> {
        let choices = moment.choices(&self.setting, &self.automata);
        let choice = choices.get(choice).copied();
        let choice = choice.ok_or_else(|| "these choices are of another program".to_owned())?;
        self.follow(moment, choice)
    }

    fn follow(&mut self, moment: &mut Moment, choice: Choice) -> Result<(), String> {
        let before = moment.revision();
        moment.happen(choice, &self.setting, &mut self.automata)?;
        judge::appeared(moment, before, &self.setting)?;
        self.judge(moment)
    }

    fn judge(&mut self, moment: &Moment) -> Result<(), String> {
        if self.audited.insert(moment.stored()) {
            judge::moment(moment, &self.setting)?;
        }
        if moment.is_main_over() && !moment.is_sweeping(&self.setting) {
            judge::history(moment, &self.setting, &self.automata)?;
        }
        if moment.is_over() {
            judge::leftovers(moment, &self.setting)?;
        }
        Ok(())
    }

    fn trace(&mut self, choices: &[usize]) -> String {
        let mut lines = trace::heading(self.scenario, &self.setting);
        let mut moment = self.first();
        for (number, index) in choices.iter().enumerate() {
            let there_are = moment.choices(&self.setting, &self.automata);
            let Some(choice) = there_are.get(*index) else {
                lines.push_str("(these choices are of another program)\n");
                return lines;
            };
            let process_at = moment.clone();
            let happened = moment.happen(*choice, &self.setting, &mut self.automata);
            let result = match happened {
                Ok(seen) => {
                    trace::step(&mut lines, number, *choice, &seen, &moment, &self.setting);
                    judge::appeared(&moment, process_at.revision(), &self.setting)
                        .and_then(|()| self.judge(&moment))
                }
                Err(what) => {
                    trace::failed_step(&mut lines, number, *choice, &process_at, &self.automata);
                    Err(what)
                }
            };
            if let Err(what) = result {
                lines.push_str("FINDING ");
                lines.push_str(&what);
                lines.push('\n');
                return lines;
            }
        }
        lines
    }
}

fn path(frames: &[Frame]) -> Vec<usize> {
    frames.iter().map(|frame| frame.next - 1).collect()
}

fn add(sum: &mut u128, more: u128) {
    *sum = sum.saturating_add(more);
}
