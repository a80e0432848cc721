//! `lint`: what is wrong with configs, before a runtime meets it.

mod rules;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::{Value, json};
use whereabouts_audit::occupancy::{Occupancy, Use};
use whereabouts_cni::request::{LogLevel, Remark, RequestError};
use whereabouts_core::address::{Address, Interval, Name, Range};
use whereabouts_core::claim::RangeId;
use whereabouts_core::escaped;
use whereabouts_core::limits;

use crate::commands::ranges::occupancy;
use crate::configs::{self, Finding, Found, FoundConfig, Origin};
use crate::connection::{Connection, DatastoreOptions};
use crate::output::Ending;
use crate::output::Output;

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
    /// The queue of each range, in their order.
    ids: Vec<RangeId>,
    gateways: BTreeSet<Address>,
    wire: Option<String>,
    /// Addresses of which its wire can have only one.
    only: BTreeSet<IpNet>,
}

/// Looks at all configs of `files`; at what is in use too, if it is said how to reach etcd.
pub(crate) fn lint(
    etcd: &DatastoreOptions,
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
    let mut repeated = Said::default();
    for key in &found.repeated {
        repeated.add(|| (Severity::Error, format!("{key} is given twice")));
    }
    report.lines.extend(repeated.lines());
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

/// Lines of one kind, of which few are kept.
#[derive(Default)]
struct Said {
    lines: Vec<Line>,
    count: usize,
}

impl Said {
    fn add(&mut self, line: impl FnOnce() -> Line) {
        self.count += 1;
        if self.lines.len() < limits::FINDINGS_OF_A_KIND {
            self.lines.push(line());
        }
    }

    fn lines(self) -> impl Iterator<Item = Line> {
        let more = self.count - self.lines.len();
        let text = format!("and {more} more of that kind");
        let rest = (more > 0).then_some((Severity::Note, text));
        self.lines.into_iter().chain(rest)
    }
}

/// Whether there is something to be said of two ranges: both have addresses that the other has.
fn meet(mine: &RangeId, other: &RangeId) -> bool {
    mine != other && Interval::of(mine.cidr).overlaps(Interval::of(other.cidr))
}

/// The consequence for two ranges that meet. `of` is the place of the other; `apart` names the
/// wires of both if they differ.
fn meeting(mine: &RangeId, other: &RangeId, of: &str, apart: Option<(&str, &str)>) -> Line {
    let (severity, what) = match (mine.pool == other.pool, apart) {
        (true, _) => (
            Severity::Note,
            "share addresses, each of which is given once".to_owned(),
        ),
        (false, None) => (
            Severity::Warning,
            "overlap in different pools: an address can be given twice".to_owned(),
        ),
        (false, Some((mine, other))) => (
            Severity::Note,
            format!(
                "overlap in different pools, which is right if {mine} and {other} are not connected"
            ),
        ),
    };
    let text = format!("range {mine} and range {other} ({of}) {what}");
    (severity, text)
}

/// All that is said of a network and of others.
#[derive(Default)]
struct Compared {
    meetings: Said,
    gateways: Said,
    names: Said,
    clashes: Said,
}

impl Network {
    /// The wires of both, if each is known and they differ.
    fn apart<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str)> {
        let both = self.wire.as_deref().zip(other.wire.as_deref());
        both.filter(|(mine, other)| mine != other)
    }

    /// An address that the wire of both cannot have beside another's.
    fn clash(&self, other: &Self) -> Option<&IpNet> {
        let first = self.only.first().filter(|_| self.wire == other.wire)?;
        let is_other = !other.only.is_empty() && !other.only.contains(first);
        is_other.then_some(first)
    }

    /// Collects the findings of both; `of` tells the place of the other.
    fn compare(&self, other: &Self, of: impl Fn() -> String, said: &mut Compared) {
        let apart = self.apart(other);
        for (mine, id) in self.ranges.iter().zip(&self.ids) {
            for other_id in other.ids.iter().filter(|other_id| meet(id, other_id)) {
                said.meetings.add(|| meeting(id, other_id, &of(), apart));
            }
            let is_shared = other.ids.iter().any(|other_id| other_id.pool == id.pool);
            if apart.is_some() || !is_shared {
                continue;
            }
            let gives = |gateway: &&Address| {
                let mut intervals = mine.intervals().iter();
                intervals.any(|interval| interval.contains(**gateway))
            };
            for gateway in other.gateways.iter().filter(gives) {
                said.gateways.add(|| {
                    let (cidr, of) = (mine.cidr(), of());
                    let text = format!("range {cidr} gives {gateway}, the gateway of {of}");
                    (Severity::Warning, text)
                });
            }
        }
        if let (Some(wire), Some(address)) = (&self.wire, self.clash(other)) {
            said.clashes.add(|| {
                let text = format!("{wire} cannot have {address} and the address of {}", of());
                (Severity::Error, text)
            });
        }
        let has = |id| other.ids.contains(id);
        let is_alike = self.ids.len() == other.ids.len() && self.ids.iter().all(has);
        if self.name == other.name && !is_alike {
            said.names.add(|| {
                let (name, of) = (&self.name, of());
                let text = format!(
                    "network {name} has other ranges in {of}: claims and GC know it by its name alone"
                );
                (Severity::Warning, text)
            });
        }
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
        if let Err(error) = &linted.datastore {
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
        let only = rules::only_addresses(&found.config, &linted);
        self.network = Some(Network {
            gateways: rules::gateways(&found.config, &linted),
            name: linted.network,
            ids: linted.ranges.iter().map(RangeId::of).collect(),
            ranges: linted.ranges,
            wire: rules::wire(&found.config),
            only,
        });
    }

    fn compare(&self, all: &[Self]) -> Vec<Line> {
        let mut said = Compared::default();
        let others = all.iter().filter(|other| !std::ptr::eq(*other, self));
        for other in others {
            if let (Some(mine), Some(network)) = (&self.network, &other.network) {
                let of = || other.origin.seen_from(&self.origin);
                mine.compare(network, of, &mut said);
            }
        }
        let kinds = [said.gateways, said.meetings, said.names, said.clashes];
        kinds.into_iter().flat_map(Said::lines).collect()
    }

    fn ranges(&self) -> &[Range] {
        self.network.as_ref().map_or(&[], |network| &network.ranges)
    }

    fn compare_with_use(&mut self, occupancy: &Occupancy) {
        let mut lines = Vec::new();
        for mine in self.ranges() {
            let uses = occupancy.uses(std::slice::from_ref(mine));
            for used in uses {
                let mine = RangeId::of(mine);
                if used.range == mine {
                    lines.push(of_use(&used));
                } else if meet(&mine, &used.range) {
                    lines.push(meeting(&mine, &used.range, "in use", None));
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
