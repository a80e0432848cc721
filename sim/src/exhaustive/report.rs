//! The results of a whole exploration, as a table.

use std::fmt;
use std::time::Duration;

use super::explorer::{Counts, Finding};

/// One scenario, explored with one budget.
#[derive(Clone, Debug)]
pub struct Row {
    /// The scenario.
    pub name: &'static str,
    /// Its place among the scenarios.
    pub number: usize,
    /// Faults that could strike in one run.
    pub faults: u8,
    /// How much was explored.
    pub counts: Counts,
    /// The finding, if there is one. The search ends with it.
    pub finding: Option<Finding>,
    /// How long it took.
    pub took: Duration,
}

/// All scenarios.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of the scenarios.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.rows.iter().all(|row| row.finding.is_none())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.to_string();
        line(f, self.name, &faults, self.counts, Some(self.took))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<52} {:>6} {:>9} {:>9} {:>9} {:>8} {:>9} {:>9} {:>7} {:>7}",
            "scenario",
            "faults",
            "moments",
            "steps",
            "cut",
            "ends",
            "interl.",
            "executed",
            "longest",
            "s"
        )?;
        let mut sum = Counts::default();
        for row in &self.rows {
            let counts = row.counts;
            writeln!(f, "{row}")?;
            sum.moments += counts.moments;
            sum.steps += counts.steps;
            sum.cut += counts.cut;
            sum.ends += counts.ends;
            sum.interleavings = sum.interleavings.saturating_add(counts.interleavings);
            sum.executions += counts.executions;
            sum.longest = sum.longest.max(counts.longest);
        }
        line(f, "all", "", sum, None)?;
        writeln!(f)?;
        for row in &self.rows {
            if let Some(finding) = &row.finding {
                let choices: Vec<String> = finding.choices.iter().map(usize::to_string).collect();
                writeln!(f, "\nFOUND {}\n{}", finding.what, finding.trace)?;
                writeln!(
                    f,
                    "replay: scenario {}, faults {}, choices {}",
                    row.number,
                    row.faults,
                    choices.join(",")
                )?;
            }
        }
        Ok(())
    }
}

fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    faults: &str,
    counts: Counts,
    took: Option<Duration>,
) -> fmt::Result {
    let seconds = took.map_or_else(String::new, |took| format!("{:.1}", took.as_secs_f64()));
    write!(
        f,
        "{name:<52} {faults:>6} {:>9} {:>9} {:>9} {:>8} {:>9} {:>9} {:>7} {seconds:>7}",
        counts.moments,
        counts.steps,
        counts.cut,
        counts.ends,
        rounded(counts.interleavings),
        counts.executions,
        counts.longest,
    )
}

/// A number with two digits and a power of ten, when it is large.
fn rounded(number: u128) -> String {
    let text = number.to_string();
    if text.len() <= 8 {
        return text;
    }
    format!("{}.{}e{}", &text[..1], &text[1..2], text.len() - 1)
}
