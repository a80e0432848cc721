//! The executions of the plugin on this node, as their reports tell: a bounded number of series, whatever they name.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use nix::libc::O_NOFOLLOW;
use whereabouts_cni::telemetry::report::{FullRange, Report, VERBS, lost_file};
use whereabouts_core::limits;

use super::counters::Counter;
use super::exposition::{Exposition, Kind};
use super::histogram::Histogram;

/// The codes of the answers, and as a label has them; 0 is a success. docs/OPERATIONS.md explains them. An execution that
/// ends with 100, a panic, reports nothing.
const CODES: [(u32, &str); 16] = [
    (0, "0"),
    (1, "1"),
    (4, "4"),
    (5, "5"),
    (6, "6"),
    (7, "7"),
    (11, "11"),
    (50, "50"),
    (101, "101"),
    (102, "102"),
    (103, "103"),
    (104, "104"),
    (105, "105"),
    (106, "106"),
    (107, "107"),
    (108, "108"),
];

/// The codes that have a series from the start: a rate needs one. The others get theirs when they occur.
const USUAL_CODES: [&str; 2] = ["0", "11"];

/// In place of a code or a range that has no series of its own.
const OTHERS: &str = "(others)";

/// Everything that reports tell.
pub(super) struct Executions {
    state: Mutex<State>,
    /// Datagrams that begin like a report and are none.
    pub(super) malformed: Counter,
    lost: Lost,
}

#[derive(Default)]
struct State {
    verbs: [OfVerb; VERBS.len()],
    full: BTreeMap<FullRange, u64>,
    full_elsewhere: u64,
    released: u64,
}

#[derive(Default)]
struct OfVerb {
    by_code: BTreeMap<&'static str, u64>,
    conflicts: u64,
    seconds: Histogram,
}

impl Executions {
    /// No executions yet, but those whose reports were lost while no agent read at `socket`.
    pub(super) fn new(socket: &Path) -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            malformed: Counter::default(),
            lost: Lost::open(&lost_file(socket))?,
        })
    }

    /// Counts the execution of a report.
    pub(super) fn take(&self, datagram: &[u8]) {
        match report(datagram) {
            Some((verb, report)) => self.state().count(verb, report),
            None => self.malformed.add(1),
        }
    }

    /// Adds all of it to a scrape.
    pub(super) fn tell(&self, text: &mut Exposition) {
        let state = self.state();
        state.tell_executions(text);
        state.tell_refusals(text);
        let taken: u64 = state.verbs.iter().map(|verb| verb.seconds.count()).sum();
        drop(state);
        let reports = [
            ("taken", taken),
            ("malformed", self.malformed.get()),
            ("lost", self.lost.count()),
        ];
        text.family(
            "whereabouts_agent_reports_total",
            Kind::Counter,
            "Reports of executions; lost are those that the agent did not take in time.",
            reports.map(|(result, count)| (vec![("result", result)], count.to_string())),
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, verb: usize, report: Report) {
        let of_verb = &mut self.verbs[verb];
        let known = CODES.iter().find(|(code, _)| *code == report.code);
        let code = known.map_or(OTHERS, |(_, shown)| *shown);
        *of_verb.by_code.entry(code).or_default() += 1;
        of_verb.conflicts = of_verb.conflicts.saturating_add(report.conflicts);
        of_verb.seconds.observe(report.duration());
        self.released = self.released.saturating_add(report.released);
        if let Some(range) = report.full {
            let has_room = self.full.len() < limits::REFUSING_RANGES;
            if has_room || self.full.contains_key(&range) {
                *self.full.entry(range).or_default() += 1;
            } else {
                self.full_elsewhere += 1;
            }
        }
    }

    fn tell_executions(&self, text: &mut Exposition) {
        let verbs = || VERBS.into_iter().zip(&self.verbs);
        let by_code = verbs().flat_map(|(verb, of_verb)| {
            let counts = USUAL_CODES.map(|code| (code, 0)).into_iter();
            let counts = counts.chain(of_verb.by_code.clone());
            let counts: BTreeMap<&str, u64> = counts.collect();
            let sample = move |(code, count): (&'static str, u64)| {
                (vec![("verb", verb), ("code", code)], count.to_string())
            };
            counts.into_iter().map(sample)
        });
        text.family(
            "whereabouts_executions_total",
            Kind::Counter,
            "Executions of the plugin on this node, by the code of their answer; 0 is a success.",
            by_code,
        );
        text.histogram(
            "whereabouts_execution_seconds",
            "Time from the start of the plugin's process until its answer was printed.",
            verbs().map(|(verb, of_verb)| (vec![("verb", verb)], &of_verb.seconds)),
        );
        text.family(
            "whereabouts_commit_conflicts_total",
            Kind::Counter,
            "Commits that failed because something that they rest on had changed.",
            verbs().map(|(verb, of_verb)| (vec![("verb", verb)], of_verb.conflicts.to_string())),
        );
        text.value(
            "whereabouts_gc_released_claims_total",
            Kind::Counter,
            "Claims that GC has released, as its runtime did not list them.",
            self.released,
        );
    }

    fn tell_refusals(&self, text: &mut Exposition) {
        let named = self.full.iter().map(|(range, count)| {
            let own_pool = if range.own_pool { "true" } else { "false" };
            let labels = vec![
                ("range", range.range.as_str()),
                ("pool", range.pool.as_str()),
                ("own_pool", own_pool),
            ];
            (labels, count.to_string())
        });
        let others = (vec![("range", OTHERS)], self.full_elsewhere.to_string());
        text.family(
            "whereabouts_full_range_refusals_total",
            Kind::Counter,
            "ADDs that got no address because their range was full.",
            named.chain([others]),
        );
    }
}

/// The report in a datagram, and the place of its verb.
fn report(datagram: &[u8]) -> Option<(usize, Report)> {
    let is_short = datagram.len() <= limits::REPORT_BYTES;
    let report = is_short.then(|| serde_json::from_slice::<Report>(datagram).ok())??;
    let verb = VERBS.iter().position(|verb| *verb == report.verb)?;
    let is_range = |full: &FullRange| full.range.parse::<IpNet>().is_ok();
    report
        .full
        .as_ref()
        .is_none_or(is_range)
        .then_some((verb, report))
}

/// The file in which plugins count the reports that the agent did not take.
struct Lost {
    file: File,
    /// The length that the file had when this agent began.
    before: u64,
}

impl Lost {
    /// Makes the file, or begins it anew.
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW)
            .open(path)?;
        let before = file.metadata()?.len();
        file.set_len(0)?;
        Ok(Self { file, before })
    }

    fn count(&self) -> u64 {
        // It fails only for a file that is not open.
        self.before + self.file.metadata().map_or(0, |found| found.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn none(folder: &Path) -> Executions {
        Executions::new(&folder.join("agent.sock")).expect("the folder is there")
    }

    fn told(executions: &Executions) -> String {
        let mut text = Exposition::default();
        executions.tell(&mut text);
        text.text()
    }

    fn assert_told(executions: &Executions, lines: &[&str]) {
        let text = told(executions);
        for line in lines {
            assert!(
                text.lines().any(|told| told == *line),
                "{line} is not in {text}"
            );
        }
    }

    fn full(range: &str) -> Vec<u8> {
        let full = json!({"range": range, "pool": "", "own_pool": false});
        let report = json!({"verb": "ADD", "code": 101, "micros": 1, "full": full});
        report.to_string().into_bytes()
    }

    #[test]
    fn executions_are_counted_by_verb_and_code() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let executions = none(folder.path());
        executions.take(br#"{"verb":"ADD","code":0,"micros":3000,"conflicts":2}"#);
        executions.take(br#"{"verb":"ADD","code":999,"micros":70000000}"#);
        executions.take(br#"{"verb":"GC","code":107,"micros":1,"released":5}"#);
        assert_told(
            &executions,
            &[
                "whereabouts_executions_total{verb=\"ADD\",code=\"0\"} 1",
                "whereabouts_executions_total{verb=\"ADD\",code=\"(others)\"} 1",
                "whereabouts_executions_total{verb=\"GC\",code=\"107\"} 1",
                "whereabouts_executions_total{verb=\"DEL\",code=\"0\"} 0",
                "whereabouts_execution_seconds_bucket{verb=\"ADD\",le=\"0.0025\"} 0",
                "whereabouts_execution_seconds_bucket{verb=\"ADD\",le=\"0.005\"} 1",
                "whereabouts_execution_seconds_bucket{verb=\"ADD\",le=\"60\"} 1",
                "whereabouts_execution_seconds_bucket{verb=\"ADD\",le=\"+Inf\"} 2",
                "whereabouts_execution_seconds_sum{verb=\"ADD\"} 70.003000",
                "whereabouts_execution_seconds_count{verb=\"ADD\"} 2",
                "whereabouts_commit_conflicts_total{verb=\"ADD\"} 2",
                "whereabouts_gc_released_claims_total 5",
                "whereabouts_agent_reports_total{result=\"taken\"} 3",
            ],
        );
    }

    #[test]
    fn what_is_no_report_is_malformed_and_makes_no_series() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let executions = none(folder.path());
        let long = format!(r#"{{"verb":"{}","code":0,"micros":1}}"#, "A".repeat(5000));
        for datagram in [
            b"{".to_vec(),
            br#"{"verb":"PUSH","code":0,"micros":1}"#.to_vec(),
            br#"{"verb":"ADD","code":-1,"micros":1}"#.to_vec(),
            full("no range"),
            long.into_bytes(),
        ] {
            executions.take(&datagram);
        }
        assert_told(
            &executions,
            &["whereabouts_agent_reports_total{result=\"malformed\"} 5"],
        );
        assert!(!told(&executions).contains("no range"));
    }

    #[test]
    fn ranges_beyond_the_bound_are_one_series() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let executions = none(folder.path());
        let ranges = limits::REFUSING_RANGES + 3;
        for number in 0..ranges {
            executions.take(&full(&format!("10.{number}.0.0/24")));
        }
        executions.take(&full("10.0.0.0/24"));
        assert_told(
            &executions,
            &[
                "whereabouts_full_range_refusals_total{range=\"10.0.0.0/24\",pool=\"\",own_pool=\"false\"} 2",
                "whereabouts_full_range_refusals_total{range=\"(others)\"} 3",
            ],
        );
    }

    #[test]
    fn an_agent_counts_what_was_lost_before_it_came_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = lost_file(&folder.path().join("agent.sock"));
        std::fs::write(&file, "...").expect("a file");
        let lost = |count| format!("whereabouts_agent_reports_total{{result=\"lost\"}} {count}");
        let first = none(folder.path());
        assert_told(&first, &[&lost(3)]);
        std::fs::write(&file, ".").expect("a file");
        assert_told(&first, &[&lost(4)]);
        drop(first);
        std::fs::write(&file, "").expect("a file");
        assert_told(&none(folder.path()), &[&lost(0)]);
    }
}
