//! `lint`: what is wrong with configs, before a runtime meets it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use whereabouts::address::{Address, Interval, Name, Range};
use whereabouts::claim::QueueId;
use whereabouts::escaped;
use whereabouts::occupancy::{Occupancy, Use};
use whereabouts::request::{LogLevel, Remark, RequestError};

use crate::Ending;
use crate::configs::{self, Finding, Found, FoundConfig, Origin};
use crate::connection::{Connection, EtcdOptions};
use crate::output::Output;
use crate::ranges::occupancy;
use crate::rules;

/// Findings of one kind that a report shows; the others are counted.
const SHOWN: usize = 8;

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// ADD fails, or gives what it must not.
    Error,
    /// Somebody should look at it.
    Warning,
    /// Good to know.
    Note,
}

/// A finding.
pub(crate) type Line = (Severity, String);

/// The findings of a part of a file.
struct Report {
    origin: Origin,
    is_read: bool,
    lines: Vec<Line>,
    /// Of a config that uses the plugin, as far as it makes sense.
    network: Option<Network>,
}

/// A network, as far as others can get into its way.
struct Network {
    name: Name,
    ranges: Vec<Range>,
    gateways: BTreeSet<Address>,
    wire: Option<String>,
}

/// Looks at all configs of `files`; at what is in use too, if it is said how to reach etcd.
pub(crate) fn lint(
    etcd: &EtcdOptions,
    files: &[PathBuf],
    output: Output,
) -> Result<Ending, String> {
    let found = files.iter().flat_map(|file| configs::read(file));
    let mut reports: Vec<Report> = found.map(report).collect();
    let compared: Vec<Vec<Line>> = reports.iter().map(|mine| mine.compare(&reports)).collect();
    for (report, lines) in reports.iter_mut().zip(compared) {
        report.lines.extend(lines);
    }
    if etcd.is_given() {
        let occupancy = occupancy(&Connection::open(etcd)?)?;
        for report in &mut reports {
            report.compare_with_use(&occupancy);
        }
    }
    for report in &mut reports {
        report.lines.sort_by_key(|(severity, _)| *severity);
    }
    let values: Vec<Value> = reports.iter().map(Report::value).collect();
    output.print(&Value::Array(values), || {
        reports.iter().map(Report::text).collect()
    });
    let has_error = |report: &Report| {
        let mut lines = report.lines.iter();
        lines.any(|(severity, _)| *severity == Severity::Error)
    };
    if reports.iter().any(|report| !report.is_read) {
        return Ok(Ending::Incomplete);
    }
    Ok(if reports.iter().any(has_error) {
        Ending::Found
    } else {
        Ending::AsItShould
    })
}

fn report(found: Found) -> Report {
    let mut report = Report {
        origin: found.origin,
        is_read: true,
        lines: Vec::new(),
        network: None,
    };
    for key in found.repeated.iter().take(SHOWN) {
        let text = format!("{key} is given twice");
        report.lines.push((Severity::Error, text));
    }
    report
        .lines
        .extend(more(found.repeated.len(), Severity::Error));
    match found.finding {
        Finding::Nothing(why) => {
            let text = format!("nothing for whereabouts: {why}");
            report.lines.push((Severity::Note, text));
        }
        Finding::Wrong(why) => report.lines.push((Severity::Error, why)),
        Finding::Unread(why) => {
            report.is_read = false;
            report.lines.push((Severity::Error, why));
        }
        Finding::Config(config) => report.say_of(*config),
    }
    report
}

fn of_remark(remark: &Remark) -> Line {
    let severity = match remark.level {
        LogLevel::Panic | LogLevel::Error => Severity::Error,
        LogLevel::Warn => Severity::Warning,
        LogLevel::Info | LogLevel::Debug | LogLevel::Trace => Severity::Note,
    };
    (severity, remark.text.clone())
}

/// That more were found than are shown.
fn more(count: usize, severity: Severity) -> Option<Line> {
    let more = count.checked_sub(SHOWN).filter(|more| *more > 0)?;
    Some((severity, format!("and {more} more like that")))
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

/// Whether both could be given the same address, and what that means. `of` is where the other is;
/// `apart` names the wires of both if they differ.
fn meeting(mine: &QueueId, other: &QueueId, of: &str, apart: Option<(&str, &str)>) -> Option<Line> {
    if !Interval::of(mine.cidr).overlaps(Interval::of(other.cidr)) {
        return None;
    }
    let (severity, what) = match (mine.pool == other.pool, mine.cidr == other.cidr, apart) {
        (true, true, _) => return None,
        (true, false, _) => (
            Severity::Note,
            "share addresses, each of which is given once".to_owned(),
        ),
        (false, _, None) => (
            Severity::Warning,
            "overlap in different pools: an address can be given twice".to_owned(),
        ),
        (false, _, Some((mine, other))) => (
            Severity::Note,
            format!(
                "overlap in different pools, which is right if {mine} and {other} are not connected"
            ),
        ),
    };
    Some((
        severity,
        format!("range {mine} and range {other} ({of}) {what}"),
    ))
}

impl Network {
    /// The wires of both, if each is known and they differ.
    fn apart<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str)> {
        let both = self.wire.as_deref().zip(other.wire.as_deref());
        both.filter(|(mine, other)| mine != other)
    }

    /// Collects the findings of both, by their kind.
    fn compare(&self, other: &Self, of: &str, said: &mut BTreeMap<&'static str, Vec<Line>>) {
        let mut say = |kind, line| said.entry(kind).or_default().push(line);
        for mine in &self.ranges {
            for other_range in &other.ranges {
                let (id, other_id) = (QueueId::of(mine), QueueId::of(other_range));
                if let Some(line) = meeting(&id, &other_id, of, self.apart(other)) {
                    say("meeting", line);
                }
            }
            let pools = other.ranges.iter().map(Range::pool);
            let is_shared = pools.into_iter().any(|pool| pool == mine.pool());
            if self.apart(other).is_some() || !is_shared {
                continue;
            }
            let gives = |gateway: &&Address| {
                let mut intervals = mine.intervals().iter();
                intervals.any(|interval| interval.contains(**gateway))
            };
            for gateway in other.gateways.iter().filter(gives) {
                let text = format!("range {} gives {gateway}, the gateway of {of}", mine.cidr());
                say("gateway", (Severity::Warning, text));
            }
        }
        if self.name == other.name && !self.has_ranges_of(other) {
            let text = format!(
                "network {} has other ranges in {of}: claims and GC know it by its name alone",
                self.name
            );
            say("name", (Severity::Warning, text));
        }
    }

    fn has_ranges_of(&self, other: &Self) -> bool {
        let ids = |network: &Self| -> BTreeSet<QueueId> {
            network.ranges.iter().map(QueueId::of).collect()
        };
        ids(self) == ids(other)
    }
}

impl Report {
    fn say_of(&mut self, found: FoundConfig) {
        let linted = match found.linted {
            Ok(linted) => linted,
            Err(error) => return self.lines.push((Severity::Error, error.details())),
        };
        self.lines
            .extend(rules::findings(&found.config, &found.chain, &linted));
        self.lines.extend(linted.remarks.iter().map(of_remark));
        if let Err(error) = &linted.access {
            self.lines.push(of_access(error));
        }
        for range in &linted.ranges {
            let text = format!(
                "range {} of pool {} gives {} addresses",
                range.cidr(),
                range.pool(),
                range.size()
            );
            self.lines.push((Severity::Note, text));
        }
        self.network = Some(Network {
            gateways: rules::gateways(&found.config, &linted),
            name: linted.network,
            ranges: linted.ranges,
            wire: rules::wire(&found.config),
        });
    }

    fn compare(&self, all: &[Self]) -> Vec<Line> {
        let mut said = BTreeMap::new();
        let others = all.iter().filter(|other| !std::ptr::eq(*other, self));
        for other in others {
            if let (Some(mine), Some(network)) = (&self.network, &other.network) {
                let of = other.origin.seen_from(&self.origin);
                mine.compare(network, &of, &mut said);
            }
        }
        let shown = said.into_values().flat_map(|mut lines| {
            let rest = more(lines.len(), Severity::Note);
            lines.truncate(SHOWN);
            lines.into_iter().chain(rest)
        });
        shown.collect()
    }

    fn ranges(&self) -> &[Range] {
        self.network.as_ref().map_or(&[], |network| &network.ranges)
    }

    fn compare_with_use(&mut self, occupancy: &Occupancy) {
        let mut lines = Vec::new();
        for mine in self.ranges() {
            let uses = occupancy.uses(std::slice::from_ref(mine));
            for used in uses {
                let mine = QueueId::of(mine);
                if used.range == mine {
                    lines.push(of_use(&used));
                } else {
                    lines.extend(meeting(&mine, &used.range, "in use", None));
                }
            }
        }
        self.lines.extend(lines);
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", escaped::line(&self.origin.to_string()));
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
            .ranges()
            .iter()
            .map(|range| {
                json!({"range": range.cidr().to_string(), "size": range.size().to_string()})
            })
            .collect();
        json!({
            "config": self.origin.to_string(),
            "file": self.origin.file,
            "document": self.origin.document,
            "object": self.origin.object,
            "read": self.is_read,
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
