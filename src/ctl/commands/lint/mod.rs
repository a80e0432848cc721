//! `lint`: what is wrong with configs, before a runtime meets it.
//!
//! ```text
//! file or object --configs--> report --compare with others--> lines
//!                               ^
//!                   rules: demands of the plugin of the interface
//! ```

mod compare;
mod report;
mod rules;

use std::path::PathBuf;

use serde_json::Value;

pub(crate) use report::{Line, Part, Report, Severity};

use super::ranges::occupancy;
use crate::configs;
use crate::connection::{Connection, DatastoreOptions};
use crate::output::{Ending, Output};

/// Looks at all configs of `files`; at what is in use too, if it is said how to reach etcd.
pub(crate) fn lint(
    etcd: &DatastoreOptions,
    files: &[PathBuf],
    output: Output,
) -> Result<Ending, String> {
    let found = files.iter().flat_map(|file| configs::read(file));
    let mut reports: Vec<Report> = found.map(Report::of).collect();
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
        report.lines.sort_by_key(|(severity, _)| severity.rank());
    }
    let values: Vec<Value> = reports.iter().map(Report::value).collect();
    output.print(&Value::Array(values), || {
        reports.iter().map(Report::text).collect()
    });
    let has_error = |report: &Report| {
        let mut lines = report.lines.iter();
        lines.any(|(severity, _)| severity.is_error())
    };
    if reports.iter().any(|report| report.part == Part::Unread) {
        return Ok(Ending::Incomplete);
    }
    Ok(if reports.iter().any(has_error) {
        Ending::Found
    } else {
        Ending::AsItShould
    })
}
