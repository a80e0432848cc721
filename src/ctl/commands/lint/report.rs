//! The findings of one configuration.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};
use whereabouts_audit::occupancy::{Occupancy, Use};
use whereabouts_cni::request::{LogLevel, Remark, RequestError};
use whereabouts_core::address::Range;
use whereabouts_core::claim::RangeId;
use whereabouts_core::{escaped, limits};

use super::compare::{Compared, Network, meet, meeting};
use super::rules;
use crate::configs::{Finding, Found, FoundConfig, Origin};

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// whereabouts refuses every ADD. For a person it is an error like others.
    Refusal,
    /// ADD fails, or gives what it must not.
    Error,
    /// Somebody should look at it.
    Warning,
    /// A warning that is void if the nodes have a certain file.
    UnlessOnNodes,
    /// Good to know.
    Note,
}

/// A finding.
pub(crate) type Line = (Severity, String);

/// The findings of a part of a file.
#[derive(Debug)]
pub(crate) struct Report {
    /// Where the part stands.
    pub(crate) origin: Origin,
    /// The kind of the part.
    pub(crate) part: Part,
    /// The findings.
    pub(crate) lines: Vec<Line>,
    /// Of a config that uses the plugin, as far as it makes sense.
    pub(crate) network: Option<Network>,
}

/// The kind of a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A config that uses the plugin.
    Ours,
    /// Anything else.
    Other,
    /// A part that cannot be read.
    Unread,
}

fn of_remark(remark: &Remark) -> Line {
    let severity = match remark.level {
        LogLevel::Panic | LogLevel::Error => Severity::Refusal,
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
            Severity::UnlessOnNodes,
            format!("{text}; the nodes' flat file must"),
        ),
        RequestError::File { .. } => (
            Severity::UnlessOnNodes,
            format!("{text}, here; the nodes must have it"),
        ),
        _ => (Severity::Refusal, text),
    }
}

/// Lines of one kind, of which few are kept.
#[derive(Default)]
pub(super) struct Said {
    lines: Vec<Line>,
    count: usize,
}

impl Said {
    pub(super) fn add(&mut self, line: impl FnOnce() -> Line) {
        self.count += 1;
        if self.lines.len() < limits::FINDINGS_OF_A_KIND {
            self.lines.push(line());
        }
    }

    pub(super) fn lines(self) -> impl Iterator<Item = Line> {
        let more = self.count - self.lines.len();
        let text = format!("and {more} more of that kind");
        let rest = (more > 0).then_some((Severity::Note, text));
        self.lines.into_iter().chain(rest)
    }
}

impl Report {
    /// The findings of `found` by itself.
    pub(crate) fn of(found: Found) -> Self {
        let mut report = Self {
            origin: found.origin,
            part: Part::Other,
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
                report.part = Part::Unread;
                report.lines.push((Severity::Error, why));
            }
            Finding::Config(config) => {
                report.part = Part::Ours;
                report.say_of(*config);
            }
        }
        report
    }

    fn say_of(&mut self, found: FoundConfig) {
        let linted = match found.linted {
            Ok(linted) => linted,
            // The nodes may have a file that this machine does not have.
            Err(error @ RequestError::File { .. }) => {
                return self.lines.push((Severity::Error, error.details()));
            }
            Err(error) => return self.lines.push((Severity::Refusal, error.details())),
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

    /// The remarks on it and `others`. It may be among them.
    pub(crate) fn compare<'r>(&self, others: impl IntoIterator<Item = &'r Self>) -> Vec<Line> {
        let mut said = Compared::default();
        let is_other = |other: &&Self| !std::ptr::eq(*other, self);
        for other in others.into_iter().filter(is_other) {
            if let (Some(mine), Some(network)) = (&self.network, &other.network) {
                let of = || other.origin.seen_from(&self.origin);
                mine.compare(network, of, &mut said);
            }
        }
        said.lines()
    }

    fn ranges(&self) -> &[Range] {
        self.network.as_ref().map_or(&[], |network| &network.ranges)
    }

    pub(super) fn compare_with_use(&mut self, occupancy: &Occupancy) {
        let mut lines = Vec::new();
        for mine in self.ranges() {
            let own = RangeId::of(mine);
            let mut ranges: BTreeSet<&RangeId> = occupancy.ranges().collect();
            ranges.insert(&own);
            for range in ranges {
                if *range == own {
                    lines.push(of_use(&occupancy.use_by(mine)));
                } else if meet(&own, range) {
                    lines.push(meeting(&own, range, "in use", None));
                }
            }
        }
        self.lines.extend(lines);
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", escaped::line(&self.origin.to_string()));
        for (severity, line) in &self.lines {
            let line = escaped::line(line);
            writeln!(text, "  {}: {line}", severity.name()).expect("a text takes everything");
        }
        text
    }

    pub(super) fn value(&self) -> Value {
        let of = |wanted: Severity| {
            let lines = self
                .lines
                .iter()
                .filter(|(severity, _)| severity.name() == wanted.name());
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
            "read": self.part != Part::Unread,
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
            Self::Refusal | Self::Error => "error",
            Self::Warning | Self::UnlessOnNodes => "warning",
            Self::Note => "note",
        }
    }

    /// The place of a finding: the worst come first.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Refusal | Self::Error => 0,
            Self::Warning | Self::UnlessOnNodes => 1,
            Self::Note => 2,
        }
    }

    /// Whether the exit status tells of it.
    pub(super) fn is_error(self) -> bool {
        self.rank() == Self::Error.rank()
    }
}
