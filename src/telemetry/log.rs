//! Logs: to the configured file, one `write` for each line, never to stdout.
//!
//! A log that cannot be opened never fails a verb. A new log file can be read by its owner alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber, debug, error, info, trace, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::PANIC;
use crate::request::{LogLevel, Logging, Remark};

/// The log that `logging` says; `None` logs nothing.
pub(super) fn open(logging: &Logging) -> io::Result<Option<File>> {
    let open = |path| {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600).open(path)
    };
    logging.file.as_ref().map(open).transpose()
}

/// What writes to the log. Of spans, a line names the verb's alone: those below it are for traces.
pub(super) fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(
    file: File,
    level: LogLevel,
) -> impl Layer<S> {
    let ours = match level {
        LogLevel::Panic => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let targets = Targets::new()
        .with_target("whereabouts", ours)
        .with_target(PANIC, LevelFilter::ERROR);
    let not_below_the_verbs =
        filter_fn(|metadata| metadata.is_event() || *metadata.level() <= Level::INFO);
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(Mutex::new(file))
        .with_filter(
            targets.and(not_below_the_verbs.with_max_level_hint(ours.max(LevelFilter::ERROR))),
        )
}

/// Logs what was accepted but a person should know of.
pub fn log_remarks(remarks: &[Remark]) {
    for Remark { level, text } in remarks {
        match level {
            LogLevel::Panic => error!(target: PANIC, "{text}"),
            LogLevel::Error => error!("{text}"),
            LogLevel::Warn => warn!("{text}"),
            LogLevel::Info => info!("{text}"),
            LogLevel::Debug => debug!("{text}"),
            LogLevel::Trace => trace!("{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    use tracing::{debug_span, info_span};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn logged(level: LogLevel, act: impl FnOnce()) -> String {
        let mut file = tempfile::tempfile().expect("a temporary file");
        let copy = file.try_clone().expect("a second handle");
        let subscriber = tracing_subscriber::registry().with(layer(copy, level));
        tracing::subscriber::with_default(subscriber, act);
        let mut text = String::new();
        io::Seek::rewind(&mut file).expect("files can be rewound");
        file.read_to_string(&mut text).expect("logs are text");
        text
    }

    #[test]
    fn levels_let_through_what_they_name() {
        let act = || {
            debug!("one");
            info!("two");
            error!("three");
            error!(target: PANIC, "four");
            error!(target: "h2", "five");
        };
        let check = |level, expected: &[&str]| {
            let text = logged(level, act);
            let words: Vec<&str> = text
                .lines()
                .filter_map(|line| line.split_whitespace().last())
                .collect();
            assert_eq!(words, expected, "{level:?}");
        };
        check(LogLevel::Panic, &["four"]);
        check(LogLevel::Error, &["three", "four"]);
        check(LogLevel::Warn, &["three", "four"]);
        check(LogLevel::Info, &["two", "three", "four"]);
        check(LogLevel::Debug, &["one", "two", "three", "four"]);
        check(LogLevel::Trace, &["one", "two", "three", "four"]);
    }

    #[test]
    fn a_line_names_the_span_of_the_verb_alone() {
        let act = || {
            let _verb = info_span!("ADD", attachment = "a").entered();
            let _step = debug_span!("commit", attempts = 1).entered();
            debug!("one");
        };
        let text = logged(LogLevel::Debug, act);
        assert!(text.contains("ADD{attachment=\"a\"}: one"), "{text}");
    }

    #[test]
    fn a_new_log_file_is_its_owners_alone_and_one_that_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let logging = Logging {
            file: Some(path.clone()),
            level: LogLevel::Info,
        };
        open(&logging).expect("the folder can be written to");
        let mode = std::fs::metadata(path).expect("the file is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        let nowhere = Logging {
            file: Some(folder.path().join("no/log")),
            ..logging
        };
        assert_eq!(
            open(&nowhere).expect_err("no folder").kind(),
            io::ErrorKind::NotFound
        );
    }
}
