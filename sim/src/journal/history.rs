//! The log of a history: one line an event, for people and for comparing runs.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// A log that is kept, or not. Clones are one log.
#[derive(Clone, Debug, Default)]
pub struct History(Option<Rc<RefCell<Vec<String>>>>);

impl History {
    /// A log that is kept.
    pub fn kept() -> Self {
        Self(Some(Rc::default()))
    }

    /// Writes a line, if the log is kept.
    pub fn line(&self, at: Duration, who: &dyn fmt::Display, what: fmt::Arguments<'_>) {
        if let Some(lines) = &self.0 {
            let at = at.as_micros();
            let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
            lines
                .borrow_mut()
                .push(format!("{seconds:>6}.{micros:06}  {who:<22} {what}"));
        }
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0
            .as_ref()
            .map(|lines| lines.borrow().clone())
            .unwrap_or_default()
    }
}
