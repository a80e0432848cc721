//! The report of one execution, for the metrics of the agent on this node: one datagram, sent after the answer is
//! printed, whether or not the execution is traced.
//!
//! Linux tells a sender on a unix socket that the queue of the reader is full, and tells the reader nothing. So the
//! sender leaves a byte in a file beside the socket, and the length of the file is the number of lost reports.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::Subject;
use crate::error::Error;
use whereabouts_core::claim::RangeId;
use whereabouts_core::limits;
use whereabouts_core::verbs;

/// The verbs that are reported.
pub const VERBS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

/// The result of one execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// `CNI_COMMAND`: one of [`VERBS`].
    pub verb: String,
    /// The code of the CNI error; 0 is a success.
    pub code: u32,
    /// Microseconds from the start of the process until its answer was printed.
    pub micros: u64,
    /// Commits that failed because something that they rest on had changed.
    #[serde(default)]
    pub conflicts: u64,
    /// Claims that a GC released.
    #[serde(default)]
    pub released: u64,
    /// The range that had no address for an ADD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<FullRange>,
}

/// A range as labels of metrics name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FullRange {
    /// The CIDR.
    pub range: String,
    /// The name of the pool; empty for the shared pool.
    pub pool: String,
    /// Whether the pool is the range's own.
    pub own_pool: bool,
}

impl From<&RangeId> for FullRange {
    fn from(range: &RangeId) -> Self {
        Self {
            range: range.cidr.to_string(),
            pool: range.pool.name.clone().unwrap_or_default(),
            own_pool: range.pool.only.is_some(),
        }
    }
}

/// The counts of a running execution.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    conflicts: Cell<u64>,
    released: Cell<u64>,
}

impl Tally {
    /// Counts a commit that failed its compares.
    pub(super) fn conflict(&self) {
        self.conflicts.set(self.conflicts.get() + 1);
    }

    /// Notes the claims that a GC released.
    pub(crate) fn released(&self, count: usize) {
        self.released.set(count as u64);
    }
}

/// A report whose execution still prints its answer.
#[derive(Debug)]
pub(crate) struct Unreported {
    socket: PathBuf,
    started: Instant,
    report: Report,
}

impl Unreported {
    /// The report for the agent at `socket`; `None` for an unknown verb.
    pub(crate) fn new(
        socket: &Path,
        subject: Subject<'_>,
        tally: &Tally,
        failure: Option<&Error>,
    ) -> Option<Self> {
        let verb = subject.invocation.variable("CNI_COMMAND")?.to_str()?;
        let is_known = VERBS.contains(&verb);
        is_known.then(|| Self {
            socket: socket.to_owned(),
            started: subject.started,
            report: Report {
                verb: verb.to_owned(),
                code: failure.map_or(0, Error::code),
                micros: 0,
                conflicts: tally.conflicts.get(),
                released: tally.released.get(),
                full: failure.and_then(full_range),
            },
        })
    }

    /// Sends the report without waiting. A report that the agent does not take is lost.
    pub(super) fn send(self) {
        let micros = self.started.elapsed().as_micros();
        let report = Report {
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
            ..self.report
        };
        let text = serde_json::to_vec(&report).expect("a report is JSON");
        let sent = connect(&self.socket).and_then(|agent| agent.send(&text));
        if let Err(error) = sent {
            let socket = self.socket.display();
            let counted = count_lost(&lost_file(&self.socket));
            debug!(?counted, "the report is lost: {socket}: {error}");
        }
    }
}

/// The range of an ADD that ended because the range is full. A STATUS refuses nobody.
fn full_range(error: &Error) -> Option<FullRange> {
    let Error::Verb(error) = error else {
        return None;
    };
    match &**error {
        verbs::Error::Exhausted { range, .. } => Some(range.into()),
        _ => None,
    }
}

/// A socket to the agent that never waits.
pub(super) fn connect(socket: &Path) -> io::Result<UnixDatagram> {
    let agent = UnixDatagram::unbound()?;
    agent.set_nonblocking(true)?;
    agent.connect(socket)?;
    Ok(agent)
}

/// The file beside the agent's socket with a byte for each lost report.
pub fn lost_file(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lost");
    name.into()
}

/// Adds a byte to the file, if the agent has made one. A node whose agent never comes back must not fill its memory.
fn count_lost(file: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        .open(file)?;
    let found = file.metadata()?;
    if found.is_file() && found.len() < limits::LOST_REPORTS {
        file.write_all(b".")?;
    }
    Ok(())
}

impl Report {
    /// The time from the start of the process until its answer was printed.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_report_is_a_byte_in_the_file_that_the_agent_made_and_in_no_other() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("trace.sock");
        let file = lost_file(&socket);
        assert!(count_lost(&file).is_err(), "no agent has made it");
        assert!(!file.exists(), "and no plugin does");
        std::fs::write(&file, "").expect("a file");
        for _ in 0..3 {
            count_lost(&file).expect("it is there");
        }
        assert_eq!(std::fs::read(&file).expect("it is there"), b"...");
        let link = lost_file(&folder.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        assert!(count_lost(&link).is_err(), "a link may lead anywhere");
    }

    #[test]
    fn lost_reports_fill_no_memory() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("lost");
        let made = std::fs::File::create(&file).expect("a file");
        made.set_len(limits::LOST_REPORTS).expect("it is sparse");
        count_lost(&file).expect("nothing fails");
        let length = std::fs::metadata(&file).expect("it is there").len();
        assert_eq!(length, limits::LOST_REPORTS);
    }

    #[test]
    fn a_report_of_a_newer_plugin_can_be_read() {
        let text = br#"{"verb":"ADD","code":0,"micros":7,"later":[1]}"#;
        let report: Report = serde_json::from_slice(text).expect("it is a report");
        assert_eq!(report.duration(), Duration::from_micros(7));
        assert_eq!(report.full, None);
    }
}
