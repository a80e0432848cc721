//! The log: one `write` to the configured file for each line, never to stdout.
//!
//! A log that cannot be opened or written never fails a verb. Only the owner can read a new log
//! file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;

use nix::fcntl::OFlag;
use nix::unistd::Uid;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber, debug, error, info, trace, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::PANIC;
use crate::invocation;
use crate::request::{LOG_FOLDERS, LogLevel, Logging, NamedBy, Remark};
use whereabouts_core::escaped::Log;

/// The log file of `logging`; `None` if nothing is logged.
pub(super) fn open(logging: &Logging) -> io::Result<Option<File>> {
    let standard = Standard::of_process();
    let open = |path| open_at(path, logging.named_by, &standard);
    logging.file.as_deref().map(open).transpose()
}

/// The files of this process' standard output and standard error, by device and inode.
struct Standard {
    output: Option<(u64, u64)>,
    error: Option<(u64, u64)>,
}

impl Standard {
    fn of_process() -> Self {
        Self {
            output: identity_of(&io::stdout()),
            error: identity_of(&io::stderr()),
        }
    }
}

fn identity_of(stream: &impl AsFd) -> Option<(u64, u64)> {
    let copy = stream.as_fd().try_clone_to_owned().ok()?;
    let metadata = File::from(copy).metadata().ok()?;
    Some(identity(&metadata))
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn open_at(path: &Path, named_by: NamedBy, standard: &Standard) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let (found, flags) = match named_by {
        NamedBy::Node => (fs::metadata(path), flags),
        NamedBy::Network => (fs::symlink_metadata(path), flags | OFlag::O_NOFOLLOW),
    };
    if named_by == NamedBy::Network {
        check_folders(path)?;
    }
    // The check precedes the opening, because the opening of a device may have an effect.
    match found {
        Ok(metadata) => check(&metadata, named_by, standard)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = options.custom_flags(flags.bits()).open(path)?;
    // Another file may have the name now.
    check(&file.metadata()?, named_by, standard)?;
    invocation::expect_stored(&file)?;
    Ok(file)
}

/// Refuses a path through a link, or through a folder in which another user could create a link.
/// The check goes from the top down, so a folder that passes cannot be replaced.
fn check_folders(path: &Path) -> io::Result<()> {
    let is_common = |folder: &Path| LOG_FOLDERS.iter().any(|one| folder == Path::new(one));
    let folders = path.ancestors().skip(1);
    let folders: Vec<&Path> = folders.take_while(|folder| !is_common(folder)).collect();
    for folder in folders.into_iter().rev() {
        let metadata = fs::symlink_metadata(folder)?;
        let is_ours = metadata.uid() == Uid::effective().as_raw();
        if !metadata.is_dir() || !is_ours || metadata.mode() & 0o022 != 0 {
            let reason = format!(
                "{} is not a folder that only this user can write to",
                folder.display()
            );
            return Err(io::Error::other(reason));
        }
    }
    Ok(())
}

fn check(metadata: &Metadata, named_by: NamedBy, standard: &Standard) -> io::Result<()> {
    let identity = Some(identity(metadata));
    if identity == standard.output {
        let reason = "it is standard output, which is for the answer alone";
        return Err(io::Error::other(reason));
    }
    match named_by {
        NamedBy::Node if identity == standard.error => Ok(()),
        NamedBy::Node => invocation::expect_regular(metadata),
        NamedBy::Network => {
            invocation::expect_regular(metadata)?;
            if metadata.uid() != Uid::effective().as_raw() {
                return Err(io::Error::other("it belongs to another user"));
            }
            if metadata.nlink() > 1 {
                return Err(io::Error::other("it has another hard link"));
            }
            Ok(())
        }
    }
}

/// The writer of the log. A line names only the span of the verb; the spans below it are for
/// traces.
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
        .with_writer(Mutex::new(Log(file)))
        // The formatter would print its errors to stderr, and panic if that fails too.
        .log_internal_errors(false)
        .with_filter(
            targets.and(not_below_the_verbs.with_max_level_hint(ours.max(LevelFilter::ERROR))),
        )
}

/// Logs the remarks about an accepted config.
pub(crate) fn log_remarks(remarks: &[Remark]) {
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
    use std::os::unix::fs::{chown, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
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

    /// Opens `path`, and returns its mode or the error.
    fn opened(path: &Path, named_by: NamedBy) -> Result<u32, String> {
        let standard = Standard {
            output: None,
            error: None,
        };
        let file = open_at(path, named_by, &standard).map_err(|error| error.to_string())?;
        Ok(file.metadata().expect("it is open").mode() & 0o777)
    }

    #[track_caller]
    fn check_refused(path: &Path, named_by: NamedBy, part: &str) {
        let error = opened(path, named_by).expect_err("it is refused");
        assert!(error.contains(part), "{}: {error}", path.display());
    }

    #[test]
    fn a_new_log_file_is_its_owners_alone_and_one_that_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for named_by in [NamedBy::Node, NamedBy::Network] {
            let path = folder.path().join(format!("{named_by:?}"));
            assert_eq!(opened(&path, named_by), Ok(0o600));
            assert_eq!(opened(&path, named_by), Ok(0o600), "it is there by now");
            check_refused(&folder.path().join("no/log"), named_by, "No such file");
        }
    }

    #[test]
    fn a_log_is_a_regular_file_whoever_names_it_and_opening_one_never_waits() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fifo = folder.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).expect("a new name");
        for named_by in [NamedBy::Node, NamedBy::Network] {
            for path in [&fifo, Path::new("/dev/full"), folder.path()] {
                check_refused(path, named_by, "not a regular file");
            }
            let kernels = Path::new("/proc/sys/kernel/hostname");
            check_refused(kernels, named_by, "the kernel makes it");
        }
    }

    #[test]
    fn a_network_configuration_names_no_link_and_no_file_with_another_name_or_owner() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "").expect("the folder can be written");
        symlink(path("file"), path("link")).expect("a new name");
        symlink(path("nothing"), path("dangling")).expect("a new name");
        assert!(opened(&path("link"), NamedBy::Node).is_ok());
        for link in ["link", "dangling"] {
            check_refused(&path(link), NamedBy::Network, "not a regular file");
        }
        assert!(!path("nothing").exists());
        fs::hard_link(path("file"), path("other")).expect("a new name");
        assert!(opened(&path("file"), NamedBy::Node).is_ok());
        check_refused(&path("file"), NamedBy::Network, "another hard link");
        fs::write(path("foreign"), "").expect("the folder can be written");
        chown(path("foreign"), Some(65534), None).expect("tests run as root");
        assert!(opened(&path("foreign"), NamedBy::Node).is_ok());
        check_refused(&path("foreign"), NamedBy::Network, "another user");
    }

    #[test]
    fn standard_output_is_no_log_under_any_name_and_standard_error_is_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["out", "err"] {
            fs::write(path(name), "").expect("the folder can be written");
        }
        symlink(path("out"), path("link")).expect("a new name");
        let of = |path: &Path| identity(&fs::metadata(path).expect("it is there"));
        let standard = Standard {
            output: Some(of(&path("out"))),
            error: Some(of(&path("err"))),
        };
        for name in ["out", "link"] {
            let refused = open_at(&path(name), NamedBy::Node, &standard);
            let error = refused.expect_err("it is the output").to_string();
            assert!(error.contains("standard output"), "{error}");
        }
        open_at(&path("err"), NamedBy::Node, &standard).expect("it is standard error");
    }
}
