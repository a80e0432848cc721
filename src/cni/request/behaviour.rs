//! The behaviour of the plugin: its log, its deadlines, and its answers in cases that the
//! specification leaves open.

use std::time::Duration;

use super::env::Verb;
use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object, Text};
use super::{LogLevel, Logging, NamedBy, WhenUnreachable, file};
use whereabouts_core::limits;
use whereabouts_core::verbs::WhenFull;

/// The ancestor's `verbose`, `debug`, `error` and `panic`, and the usual names.
const LOG_LEVELS: [(&str, LogLevel); 8] = [
    ("panic", LogLevel::Panic),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("warning", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("verbose", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const WHEN_UNREACHABLE: [(&str, WhenUnreachable); 2] = [
    ("error", WhenUnreachable::Error),
    ("succeed", WhenUnreachable::Succeed),
];

const WHEN_FULL: [(&str, WhenFull); 2] = [("error", WhenFull::Error), ("ok", WhenFull::Ok)];

/// The keys of `ipam` about behaviour, not yet read.
pub(super) struct Raw {
    timeout: Option<Node>,
    del_when_unreachable: Option<Node>,
    status_when_full: Option<Node>,
}

/// The behaviour of the plugin.
pub(super) struct Behaviour {
    /// The deadline of the verb.
    pub(super) deadline: Duration,
    /// `del_when_unreachable`
    pub(super) when_unreachable: WhenUnreachable,
    /// `status_when_full`
    pub(super) when_full: WhenFull,
}

impl Raw {
    /// Takes the keys out.
    pub(super) fn take(ipam: &mut Object) -> Self {
        Self {
            timeout: ipam.take("timeout"),
            del_when_unreachable: ipam.take("del_when_unreachable"),
            status_when_full: ipam.take("status_when_full"),
        }
    }

    /// Reads the keys.
    pub(super) fn read(
        self,
        verb: Verb,
        findings: &mut Findings,
    ) -> Result<Behaviour, RequestError> {
        let seconds = self
            .timeout
            .map(|node| node.number(1, limits::TIMEOUT_S))
            .transpose();
        let timeout = findings.tolerate(seconds)?.map(Duration::from_secs);
        let when_unreachable = choose(self.del_when_unreachable, &WHEN_UNREACHABLE);
        let when_full = choose(self.status_when_full, &WHEN_FULL);
        Ok(Behaviour {
            deadline: deadline(verb, timeout),
            when_unreachable: findings
                .tolerate(when_unreachable)?
                .unwrap_or(WhenUnreachable::Error),
            when_full: findings.tolerate(when_full)?.unwrap_or(WhenFull::Error),
        })
    }
}

fn deadline(verb: Verb, timeout: Option<Duration>) -> Duration {
    let usual = Duration::from_millis(match verb {
        Verb::Add => limits::ADD_DEADLINE_MS,
        Verb::Del | Verb::Check | Verb::Gc => limits::DEL_DEADLINE_MS,
        Verb::Status => limits::STATUS_DEADLINE_MS,
    });
    match verb {
        Verb::Add | Verb::Del | Verb::Check | Verb::Gc => timeout.unwrap_or(usual),
        // A runtime waits for STATUS, so a timeout can only shorten its deadline.
        Verb::Status => timeout.map_or(usual, |timeout| timeout.min(usual)),
    }
}

/// Takes `log_file` and `log_level` out. `named_by` is the author of `log_file`.
pub(super) fn logging(
    ipam: &mut Object,
    named_by: NamedBy,
    findings: &mut Findings,
) -> Result<Logging, RequestError> {
    let path = |text: Text| file::path(&text);
    let file = ipam
        .take("log_file")
        .map(|node| node.text().and_then(path))
        .transpose();
    let level = choose(ipam.take("log_level"), &LOG_LEVELS);
    Ok(Logging {
        file: findings.tolerate(file)?,
        level: findings.tolerate(level)?.unwrap_or_default(),
        named_by,
    })
}

/// The one of `choices` that a key names, in upper or lower case.
pub(super) fn choose<T: Copy>(
    node: Option<Node>,
    choices: &[(&str, T)],
) -> Result<Option<T>, RequestError> {
    let Some(node) = node else { return Ok(None) };
    let text = node.text()?;
    let chosen = choices
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&text.text));
    if let Some((_, value)) = chosen {
        return Ok(Some(*value));
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    Err(text.wrong(format_args!("is none of {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample::{Sample, assert_found};
    use super::*;

    fn with(verb: &str, ipam: Value) -> Sample {
        let previous = json!({"prevResult": {}});
        Sample::of(verb)
            .ipam(json!({"range": "10.0.0.0/24"}))
            .ipam(ipam)
            .config(previous)
    }

    fn check_deadline(verb: &str, timeout: &Value, expected: Result<&str, (u32, &str)>) {
        let parsed = with(verb, json!({"timeout": timeout})).parsed();
        assert_found(
            parsed.map(|parsed| parsed.deadline.as_millis().to_string()),
            expected,
        );
    }

    #[test]
    fn each_verb_has_its_deadline_and_timeout_changes_it() {
        check_deadline("ADD", &Value::Null, Ok("60000"));
        check_deadline("ADD", &json!(5), Ok("5000"));
        check_deadline("ADD", &json!(3600), Ok("3600000"));
        for verb in ["DEL", "CHECK", "GC"] {
            check_deadline(verb, &Value::Null, Ok("30000"));
            check_deadline(verb, &json!(90), Ok("90000"));
        }
    }

    #[test]
    fn the_deadline_of_status_stays_below_a_second() {
        check_deadline("STATUS", &Value::Null, Ok("900"));
        check_deadline("STATUS", &json!(60), Ok("900"));
    }

    #[test]
    fn a_timeout_that_is_none_is_code_7_but_del_lives_with_it() {
        for timeout in [
            json!(0),
            json!(3601),
            json!(1.5),
            json!(-1),
            json!("60"),
            json!(1e99),
        ] {
            check_deadline("ADD", &timeout, Err((7, "ipam.timeout: ")));
            check_deadline("DEL", &timeout, Ok("30000"));
        }
    }

    fn check_logging(ipam: Value, expected: Result<&str, (u32, &str)>) {
        let parsed = with("ADD", ipam).parsed();
        let found = parsed.map(|parsed| {
            let Logging { file, level, .. } = parsed.logging;
            format!("{level:?} {}", file.unwrap_or_default().display())
        });
        assert_found(found, expected);
    }

    #[test]
    fn log_levels_are_the_ancestors_and_the_usual_ones() {
        check_logging(json!({}), Ok("Info "));
        let cases = [
            ("debug", "Debug "),
            ("error", "Error "),
            ("panic", "Panic "),
            ("trace", "Trace "),
            ("info", "Info "),
            ("warn", "Warn "),
            ("WARNING", "Warn "),
            ("verbose", "Debug "),
            ("", "Info "),
        ];
        for (level, expected) in cases {
            check_logging(json!({"log_level": level}), Ok(expected));
        }
        let expected = "ipam.log_level: \"loud\" is none of panic, error, warn, warning, info";
        check_logging(json!({"log_level": "loud"}), Err((7, expected)));
    }

    #[test]
    fn a_log_file_has_an_absolute_path() {
        check_logging(
            json!({"log_file": "/tmp/whereabouts.log"}),
            Ok("Info /tmp/whereabouts.log"),
        );
        let expected = "ipam.log_file: \"w.log\" is not an absolute path";
        check_logging(json!({"log_file": "w.log"}), Err((7, expected)));
        check_logging(
            json!({"log_file": "/tmp/whereabouts\nb"}),
            Err((7, "has control characters")),
        );
        check_logging(
            json!({"log_file": 5}),
            Err((7, "ipam.log_file: expected a string")),
        );
    }

    #[test]
    fn del_lives_with_wrong_logging() {
        let sample = with("DEL", json!({"log_file": "w.log", "log_level": "x"}));
        let logging = sample.parsed().expect("a DEL").logging;
        assert_eq!((logging.file, logging.level), (None, LogLevel::Info));
        assert!(
            sample
                .remarks()
                .contains("Warn: ignored: ipam.log_level: \"x\" is none of")
        );
    }

    #[test]
    fn del_when_unreachable_is_error_unless_it_says_succeed() {
        let of = |ipam| with("DEL", ipam).del().expect("a DEL").when_unreachable;
        assert_eq!(of(json!({})), WhenUnreachable::Error);
        assert_eq!(
            of(json!({"del_when_unreachable": "error"})),
            WhenUnreachable::Error
        );
        assert_eq!(
            of(json!({"del_when_unreachable": "succeed"})),
            WhenUnreachable::Succeed
        );
        assert_eq!(
            of(json!({"del_when_unreachable": "x"})),
            WhenUnreachable::Error
        );
        let add = with("ADD", json!({"del_when_unreachable": "x"}))
            .add()
            .expect_err("wrong");
        assert!(add.to_string().contains("\"x\" is none of error, succeed"));
    }

    #[test]
    fn status_when_full_is_error_unless_it_says_ok() {
        let of = |ipam| with("STATUS", ipam).status().map(|status| status.when_full);
        assert_eq!(of(json!({})).expect("a STATUS"), WhenFull::Error);
        assert_eq!(
            of(json!({"status_when_full": "ok"})).expect("a STATUS"),
            WhenFull::Ok
        );
        assert_eq!(
            of(json!({"status_when_full": false}))
                .expect_err("wrong")
                .code(),
            7
        );
    }
}
