//! What was found on the way: remarks, and what an error can already say of its invocation.

use super::error::RequestError;
use super::{CniVersion, LogLevel, Logging, Remark, Tracing};
use whereabouts_core::limits;

/// Which errors of a config a verb lives with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tolerance {
    /// None: ADD and STATUS depend on all of the config.
    Strict,
    /// Those in keys that the verb does not depend on: DEL, CHECK and GC must work when the config
    /// was changed, or broken, after the ADD.
    Lenient,
    /// All, each noted as an error: whoever looks at a config wants to know of everything.
    Collecting,
}

/// What is known of an invocation so far.
#[derive(Debug)]
pub(super) struct Findings {
    /// In which version to answer.
    pub(super) version: CniVersion,
    /// Where to log.
    pub(super) logging: Logging,
    /// Where to send spans.
    pub(super) tracing: Option<Tracing>,
    /// What a person should know of.
    pub(super) remarks: Vec<Remark>,
    /// What to live with.
    pub(super) tolerance: Tolerance,
}

impl Findings {
    /// Nothing known.
    pub(super) fn new() -> Self {
        Self {
            version: CniVersion::NEWEST,
            logging: Logging::default(),
            tracing: None,
            remarks: Vec::new(),
            tolerance: Tolerance::Strict,
        }
    }

    /// Notes something for a person, up to [`limits::REMARKS`].
    pub(super) fn remark(&mut self, level: LogLevel, text: String) {
        if self.remarks.len() < limits::REMARKS {
            self.remarks.push(Remark { level, text });
        }
    }

    /// A value that the verb can do without: where errors are tolerated, one becomes a remark and
    /// the value its default.
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
