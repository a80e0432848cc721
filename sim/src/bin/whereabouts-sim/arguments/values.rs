//! The values of options, by their types.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use whereabouts_sim::planted::Bug;
use whereabouts_sim::run::Replay;
use whereabouts_sim::storm::{Plan, Service};
use whereabouts_sim::vocabulary::Fault;

use super::syntax::{Flag, Given};
use super::{Stop, Values, refusal};

/// The most nodes, pods or ranges. The ranges of a storm are parts of 10.0.0.0/8.
const MOST: u64 = 16_384;

/// The given values, read by the types of their options.
pub(super) struct Typed<'a> {
    pub(super) flags: &'static [Flag],
    pub(super) given: &'a Values,
}

impl Typed<'_> {
    /// The value of an option, or of its default, if there is one.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Stop> {
        Ok(self.all(name, parse)?.into_iter().next())
    }

    /// The value of an option that is required, or has a default.
    pub(super) fn sure<T>(
        &self,
        name: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<T, Stop> {
        let value = self.optional(name, parse)?;
        Ok(value.expect("it was required, or has a default"))
    }

    /// Whether an option without a value was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The history to run again.
    pub(super) fn replay(&self) -> Result<Replay, Stop> {
        Ok(Replay {
            seed: self.sure("seed", number)?,
            bug: self.optional("bug", bug)?,
            nodes: self.optional("nodes", number)?,
            pods: self.optional("pods", number)?,
            rounds: self.optional("rounds", number)?,
            far_away: self.has("far-away"),
            without: self.all("without", fault)?,
            faults: self.optional("faults", numbers)?,
        })
    }

    /// The storm to run.
    pub(super) fn plan(&self) -> Result<Plan, Stop> {
        let micros = |name| self.sure(name, number).map(Duration::from_micros);
        Ok(Plan {
            seed: self.sure("seed", number)?,
            nodes: self.sure("nodes", positive)?,
            pods: self.sure("pods", positive)?,
            ranges: self.sure("ranges", positive)?,
            overload: self.sure("overload", positive)?,
            service: Service {
                read: micros("read-us")?,
                commit: micros("commit-us")?,
                operation: micros("operation-us")?,
                sync: micros("sync-us")?,
                round_trip: micros("round-trip-us")?,
                ..Service::default()
            },
        })
    }

    fn all<T>(&self, name: &str, parse: fn(&str) -> Result<T, String>) -> Result<Vec<T>, Stop> {
        let mut flags = self.flags.iter();
        let flag = flags.find(|flag| flag.name == name);
        let flag = flag.expect("the command has this option");
        let parsed = |text: &str| {
            parse(text).map_err(|reason| {
                let shown = flag.shown();
                refusal(
                    &format!("invalid value '{text}' for '{shown}': {reason}"),
                    None,
                )
            })
        };
        let texts = self.texts(flag)?;
        texts.into_iter().map(parsed).collect()
    }

    /// The texts of an option: what was given, or its default.
    fn texts(&self, flag: &Flag) -> Result<Vec<&str>, Stop> {
        let given = self.given.get(flag.name).into_iter().flatten();
        let texts: Option<Vec<&str>> = given.map(|value| value.to_str()).collect();
        let texts = texts
            .ok_or_else(|| refusal("invalid UTF-8 was detected in one or more arguments", None))?;
        Ok(match flag.given {
            Given::Repeatedly => texts.iter().flat_map(|text| text.split(',')).collect(),
            Given::OrElse(default) if texts.is_empty() => vec![default],
            Given::Always | Given::AtMostOnce | Given::OrElse(_) => texts,
        })
    }
}

pub(super) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, until) = text.split_once("..").ok_or("write it as 0..1000")?;
    let number = |text: &str| number(text).map_err(|error| format!("{text:?}: {error}"));
    Ok(number(from)?..number(until)?)
}

pub(super) fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|error: std::num::ParseIntError| error.to_string())
}

/// A number of nodes, pods or ranges, or a multiple.
fn positive(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("must be 1 or more".to_owned()),
        most if most > MOST => Err(format!("must be {MOST} or less")),
        number => Ok(number),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands beside parsers that can fail"
)]
pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub(super) fn bug(text: &str) -> Result<Bug, String> {
    let mut bugs = Bug::ALL.iter().copied();
    bugs.find(|bug| bug.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("no such bug; there are {:?}", Bug::ALL))
}

fn fault(text: &str) -> Result<Fault, String> {
    let mut faults = Fault::ALL.into_iter();
    faults
        .find(|fault| fault.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("no such fault; there are {:?}", Fault::ALL))
}

fn numbers(text: &str) -> Result<BTreeSet<u64>, String> {
    if text == "none" {
        return Ok(BTreeSet::new());
    }
    let numbers = text.split(',').map(number);
    numbers
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{text:?}: {error}"))
}
