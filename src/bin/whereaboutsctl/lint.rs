//! `lint`: what is wrong with configs, before a runtime meets it.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use whereabouts::address::{Interval, Range};
use whereabouts::claim::QueueId;
use whereabouts::escaped;
use whereabouts::occupancy::{Occupancy, Use};
use whereabouts::request::{LogLevel, RequestError};

use crate::Ending;
use crate::configs::{self, FoundConfig};
use crate::connection::{Connection, EtcdOptions};
use crate::output::{Output, print};
use crate::ranges::occupancy;

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// ADD fails, or gives what it must not.
    Error,
    /// Somebody should look at it.
    Warning,
    /// Good to know.
    Note,
}

/// What is to be said of one config.
struct Report {
    origin: String,
    lines: Vec<(Severity, String)>,
    ranges: Vec<Range>,
}

/// Looks at all configs of `files`; at what is in use too, if it is said how to reach etcd.
pub(crate) fn lint(
    etcd: &EtcdOptions,
    files: &[PathBuf],
    output: Output,
) -> Result<Ending, String> {
    let mut reports = Vec::new();
    for file in files {
        reports.extend(configs::read(file)?.into_iter().map(report));
    }
    let others: Vec<Vec<(String, Range)>> = (0..reports.len())
        .map(|mine| others_than(&reports, mine))
        .collect();
    for (report, others) in reports.iter_mut().zip(others) {
        report.compare_with(&others);
    }
    if etcd.is_given() {
        let occupancy = occupancy(&Connection::open(etcd)?)?;
        for report in &mut reports {
            report.compare_with_use(&occupancy);
        }
    }
    let values: Vec<Value> = reports.iter().map(Report::value).collect();
    match output {
        Output::Table => print(&reports.iter().map(Report::text).collect::<String>()),
        Output::Json | Output::Yaml => output.print(&Value::Array(values), String::new),
    }
    let has_error = |report: &Report| {
        let mut lines = report.lines.iter();
        lines.any(|(severity, _)| *severity == Severity::Error)
    };
    Ok(if reports.iter().any(has_error) {
        Ending::Found
    } else {
        Ending::AsItShould
    })
}

fn report(config: FoundConfig) -> Report {
    let mut lines = Vec::new();
    let mut ranges = Vec::new();
    match config.linted {
        Err(error) => lines.push((Severity::Error, error.details())),
        Ok(linted) => {
            for remark in linted.remarks {
                let severity = match remark.level {
                    LogLevel::Panic | LogLevel::Error => Severity::Error,
                    LogLevel::Warn => Severity::Warning,
                    LogLevel::Info | LogLevel::Debug | LogLevel::Trace => Severity::Note,
                };
                lines.push((severity, remark.text));
            }
            if let Err(error) = linted.access {
                lines.push(of_access(&error));
            }
            ranges = linted.ranges;
        }
    }
    for range in &ranges {
        let text = format!(
            "range {} of pool {} gives {} addresses",
            range.cidr(),
            range.pool(),
            range.size()
        );
        lines.push((Severity::Note, text));
    }
    Report {
        origin: config.origin,
        lines,
        ranges,
    }
}

/// Where etcd is may stand in the nodes' flat file, and a certificate may be on the nodes alone.
fn of_access(error: &RequestError) -> (Severity, String) {
    let text = error.details();
    match error {
        RequestError::MissingKey { .. } => (
            Severity::Warning,
            format!("{text}; the nodes' flat file must"),
        ),
        RequestError::File { .. } => (
            Severity::Warning,
            format!("{text}, here; the nodes must have it"),
        ),
        _ => (Severity::Error, text),
    }
}

fn others_than(reports: &[Report], mine: usize) -> Vec<(String, Range)> {
    let others = reports
        .iter()
        .enumerate()
        .filter(|(number, _)| *number != mine);
    let ranges = others.flat_map(|(_, report)| {
        let named = |range: &Range| (report.origin.clone(), range.clone());
        report.ranges.iter().map(named)
    });
    ranges.collect()
}

/// Whether both could be given the same address, and what that means.
fn meeting(mine: &QueueId, other: &QueueId, of: &str) -> Option<(Severity, String)> {
    if !Interval::of(mine.cidr).overlaps(Interval::of(other.cidr)) {
        return None;
    }
    let (severity, what) = match (mine.pool == other.pool, mine.cidr == other.cidr) {
        (true, true) => return None,
        (true, false) => (
            Severity::Note,
            "share addresses, each of which is given once",
        ),
        (false, _) => (
            Severity::Warning,
            "overlap in different pools: an address can be given twice",
        ),
    };
    Some((
        severity,
        format!("range {mine} and range {other} ({of}) {what}"),
    ))
}

impl Report {
    fn compare_with(&mut self, others: &[(String, Range)]) {
        for mine in &self.ranges {
            let met = others.iter().filter_map(|(origin, other)| {
                meeting(&QueueId::of(mine), &QueueId::of(other), origin)
            });
            self.lines.extend(met);
        }
    }

    fn compare_with_use(&mut self, occupancy: &Occupancy) {
        let mut lines = Vec::new();
        for mine in &self.ranges {
            let uses = occupancy.uses(std::slice::from_ref(mine));
            for used in uses {
                let mine = QueueId::of(mine);
                if used.range == mine {
                    lines.push(of_use(&used));
                } else {
                    lines.extend(meeting(&mine, &used.range, "in use"));
                }
            }
        }
        self.lines.extend(lines);
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", escaped::line(&self.origin));
        for (severity, line) in &self.lines {
            let line = escaped::line(line);
            writeln!(text, "  {}: {line}", severity.name()).expect("a text takes everything");
        }
        text
    }

    fn value(&self) -> Value {
        let of = |wanted: Severity| {
            let lines = self
                .lines
                .iter()
                .filter(|(severity, _)| *severity == wanted);
            lines.map(|(_, line)| line.clone()).collect::<Vec<_>>()
        };
        let ranges: Vec<Value> = self
            .ranges
            .iter()
            .map(|range| {
                json!({"range": range.cidr().to_string(), "size": range.size().to_string()})
            })
            .collect();
        json!({
            "config": self.origin,
            "ranges": ranges,
            "errors": of(Severity::Error),
            "warnings": of(Severity::Warning),
            "notes": of(Severity::Note),
        })
    }
}

fn of_use(used: &Use) -> (Severity, String) {
    let free = used.size.saturating_sub(used.taken);
    let severity = if free == 0 {
        Severity::Warning
    } else {
        Severity::Note
    };
    let text = format!(
        "range {}: {} of {} addresses are taken, {free} are free",
        used.range, used.taken, used.size
    );
    (severity, text)
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}
