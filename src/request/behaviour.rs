//! How the plugin behaves: where and how much it logs, how long it may take, and what it answers
//! where the specification leaves a choice.

use std::time::Duration;

use super::env::Verb;
use super::error::RequestError;
use super::findings::Findings;
use super::json::{Node, Object, Text};
use super::{LogLevel, Logging, WhenFull, WhenUnreachable, file};
use crate::limits;

/// The ancestor's `debug`, `error` and `panic`, and the usual names.
const LOG_LEVELS: [(&str, LogLevel); 7] = [
    ("panic", LogLevel::Panic),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("warning", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const WHEN_UNREACHABLE: [(&str, WhenUnreachable); 2] = [
    ("error", WhenUnreachable::Error),
    ("succeed", WhenUnreachable::Succeed),
];

const WHEN_FULL: [(&str, WhenFull); 2] = [("error", WhenFull::Error), ("ok", WhenFull::Ok)];

/// The keys of `ipam` about behaviour, not yet looked at.
pub(super) struct Raw {
    timeout: Option<Node>,
    del_when_unreachable: Option<Node>,
    status_when_full: Option<Node>,
}

/// How the plugin behaves.
pub(super) struct Behaviour {
    /// How long the verb may take.
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

    /// What they say.
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
        // A runtime waits for it; a timeout can only shorten it.
        Verb::Status => timeout.map_or(usual, |timeout| timeout.min(usual)),
    }
}

/// Takes `log_file` and `log_level` out.
pub(super) fn logging(ipam: &mut Object, findings: &mut Findings) -> Result<Logging, RequestError> {
    let path = |text: Text| file::path(&text);
    let file = ipam
        .take("log_file")
        .map(|node| node.text().and_then(path))
        .transpose();
    let level = choose(ipam.take("log_level"), &LOG_LEVELS);
    Ok(Logging {
        file: findings.tolerate(file)?,
        level: findings.tolerate(level)?.unwrap_or_default(),
    })
}

/// The one of `choices` that a key names, in any case.
fn choose<T: Copy>(node: Option<Node>, choices: &[(&str, T)]) -> Result<Option<T>, RequestError> {
    let Some(node) = node else { return Ok(None) };
    let text = node.text()?;
    let chosen = choices
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&text.text));
    match chosen {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            Err(text.wrong(format_args!("is none of {}", names.join(", "))))
        }
    }
}
