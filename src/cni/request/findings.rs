//! The findings of parsing: remarks, and the facts that the answer to an error needs.

use std::path::PathBuf;

use super::error::RequestError;
use super::{CniVersion, LogLevel, Logging, Remark, Tracing};
use whereabouts_core::limits;

/// The errors of a config that a verb tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tolerance {
    /// No error. ADD and STATUS depend on the whole config.
    Strict,
    /// Errors in keys that the verb does not need. DEL, CHECK and GC must work even if somebody
    /// changed or broke the config after the ADD.
    Lenient,
    /// All errors. Each becomes a remark of level error, so a linter reports all of them.
    Collecting,
}

/// The facts about an invocation so far.
#[derive(Debug)]
pub(super) struct Findings {
    /// The version for the answer.
    pub(super) version: CniVersion,
    /// The settings of the log.
    pub(super) logging: Logging,
    /// The settings of tracing.
    pub(super) tracing: Option<Tracing>,
    /// The agent that counts executions.
    pub(super) metrics_socket: Option<PathBuf>,
    /// The remarks for a person.
    pub(super) remarks: Vec<Remark>,
    /// The tolerance of the verb.
    pub(super) tolerance: Tolerance,
}

impl Findings {
    /// No facts.
    pub(super) fn new() -> Self {
        Self {
            version: CniVersion::NEWEST,
            logging: Logging::default(),
            tracing: None,
            metrics_socket: None,
            remarks: Vec::new(),
            tolerance: Tolerance::Strict,
        }
    }

    /// Adds a remark for a person. It keeps at most [`limits::REMARKS`].
    pub(super) fn remark(&mut self, level: LogLevel, text: String) {
        if self.remarks.len() < limits::REMARKS {
            self.remarks.push(Remark { level, text });
        }
    }

    /// The value of a key that the verb does not need. A tolerated error becomes a remark, and the
    /// value becomes its default.
    pub(super) fn tolerate<T: Default>(
        &mut self,
        read: Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        match (read, self.tolerance) {
            (Err(error), Tolerance::Lenient) => {
                self.remark(LogLevel::Warn, format!("ignored: {}", error.details()));
                Ok(T::default())
            }
            (Err(error), Tolerance::Collecting) => {
                self.remark(LogLevel::Error, error.details());
                Ok(T::default())
            }
            (Ok(value), _) => Ok(value),
            (Err(error), Tolerance::Strict) => Err(error),
        }
    }
}
