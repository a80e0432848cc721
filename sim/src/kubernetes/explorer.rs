//! All moments of a small world: a search in depth, in which equal moments count once.

use std::collections::HashSet;
use std::fmt;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::bugs::Bug;
use super::judge::{self, Broken};
use super::state::{Choice, State};
use super::worlds::SmallWorld;

/// What an exploration has found.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// Different moments.
    pub moments: usize,
    /// Steps between them.
    pub steps: usize,
    /// The first broken promise, and the way to it.
    pub broken: Option<String>,
    /// Whether the bound on moments ended the exploration.
    pub is_cut: bool,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} moments, {} steps", self.moments, self.steps)?;
        if self.is_cut {
            write!(f, ", cut")?;
        }
        match &self.broken {
            Some(broken) => write!(f, "\n{broken}"),
            None => Ok(()),
        }
    }
}

/// Explores `world` with at most so many faults, until `most` moments, with `bug` if there is one.
pub fn explore(world: &SmallWorld, faults: u32, bug: Option<Bug>, most: usize) -> Explored {
    let mut explored = Explored::default();
    let begin = match world.begin(faults) {
        Ok(begin) => begin,
        Err(Broken(broken)) => {
            explored.broken = Some(broken);
            return explored;
        }
    };
    let attachments = world.attachments();
    let mut seen = HashSet::from([digest(&begin)]);
    let mut open: Vec<(State, Vec<Choice>)> = vec![(begin.clone(), begin.choices())];
    let mut way: Vec<Choice> = Vec::new();
    while let Some((state, choices)) = open.last_mut() {
        let Some(choice) = choices.pop() else {
            open.pop();
            way.pop();
            continue;
        };
        explored.steps += 1;
        let mut next = state.clone();
        way.push(choice);
        let mut taken = next.take(&world.jobs, choice, bug);
        if taken.is_ok() && next.is_over() {
            taken = judge::over(next.clone(), &attachments);
        }
        if let Err(Broken(broken)) = taken {
            explored.broken = Some(format!("{broken}\n{}", told(world, faults, &way, bug)));
            return explored;
        }
        if !seen.insert(digest(&next)) {
            way.pop();
            continue;
        }
        if seen.len() >= most {
            explored.is_cut = true;
            break;
        }
        let choices = next.choices();
        open.push((next, choices));
    }
    explored.moments = seen.len();
    explored
}

fn digest(state: &State) -> (u64, u64) {
    let mut first = DefaultHasher::new();
    state.hash(&mut first);
    let mut second = DefaultHasher::new();
    1_u8.hash(&mut second);
    state.hash(&mut second);
    (first.finish(), second.finish())
}

/// The way to a finding, a line a step.
fn told(world: &SmallWorld, faults: u32, way: &[Choice], bug: Option<Bug>) -> String {
    let mut text = String::new();
    let Ok(mut state) = world.begin(faults) else {
        return text;
    };
    for choice in way {
        let line = state.told(&world.jobs, *choice);
        let _ = writeln!(text, "  {line}");
        if state.take(&world.jobs, *choice, bug).is_err() {
            break;
        }
    }
    text
}
