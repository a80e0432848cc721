//! One execution of the plugin, from its invocation to its answer.

use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use nix::sys::signal::{SigSet, Signal};
use tracing::{error, info};

use crate::answer;
use crate::error::Error;
use crate::invocation::{self, Invocation, Machine};
use crate::request::{
    self, AddRequest, CniVersion, Datastore, DelRequest, Logging, Outcome, Parsed, Remark, Request,
    Tracing, WhenUnreachable,
};
use crate::telemetry::{self, Subject, Telemetry, Unsent};
use whereabouts_clock::{Chance, Clock};
use whereabouts_core::escaped;
use whereabouts_core::failure::Failure;
use whereabouts_core::registry::Registry;
use whereabouts_core::verbs;
use whereabouts_etcd::Access;
use whereabouts_etcd::EtcdStore;
use whereabouts_etcd::SystemClock;
use whereabouts_local::{LocalRegistry, LocalStore};
use whereabouts_protocol::session::Session;
use whereabouts_store::Store;
use whereabouts_store::keys::Keys;

/// The code of an error that is a bug of this plugin.
const PANIC_CODE: u32 = 100;

/// The messages of tokio's panics that tell of a machine without threads or descriptors, not of a bug.
const WITHOUT_RESOURCES: [&str; 2] = [
    "OS can't spawn worker thread",
    "failed to create UnixStream",
];

/// The version in which a panic is answered, once it is known.
static VERSION: OnceLock<CniVersion> = OnceLock::new();

/// Whether the answer is a success, once it is printed.
static ANSWERED: OnceLock<bool> = OnceLock::new();

/// What the process says at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// For the runtime; nothing when empty.
    pub stdout: String,
    /// For a person; nothing when empty.
    pub stderr: String,
    /// Whether it is a success.
    pub success: bool,
}

impl Answer {
    fn success(stdout: String) -> Self {
        Self {
            stdout,
            stderr: String::new(),
            success: true,
        }
    }

    fn failure(stdout: String) -> Self {
        Self {
            stdout,
            stderr: String::new(),
            success: false,
        }
    }

    /// Prints it. An answer that standard output does not take is a failure: a runtime that has no
    /// answer calls DEL.
    pub fn print(&self) -> ExitCode {
        if !self.stderr.is_empty() {
            say(&escaped::lines(&self.stderr));
        }
        let printed = print(&self.stdout);
        if let Err(error) = &printed {
            error!("standard output does not take the answer: {error}");
            say(&format!(
                "standard output does not take the answer: {error}"
            ));
        }
        let success = self.success && printed.is_ok();
        ANSWERED.get_or_init(|| success);
        if success {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Prints a line on standard output, if there is one to print.
fn print(line: &str) -> io::Result<()> {
    if line.is_empty() {
        return Ok(());
    }
    if invocation::is_stdout_closed() {
        return Err(io::Error::other("it is closed"));
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Says something to a person. Nothing depends on whether standard error takes it.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Makes a write beyond the largest file size (RLIMIT_FSIZE) an error of that write, where it would end
/// the process: a log that is too long must not end an ADD after its commit.
pub fn outlive_file_limits() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    signals.thread_block().expect("the signal exists");
}

/// Answers a panic as CNI wants: an error as JSON on stdout, and a failure. One that comes when the
/// answer is out changes nothing any more.
pub fn answer_panics() {
    panic::set_hook(Box::new(|panic| {
        if let Some(success) = ANSWERED.get() {
            std::process::exit(i32::from(!success));
        }
        error!(target: telemetry::PANIC, "{panic}");
        let version = VERSION.get().copied().unwrap_or(CniVersion::NEWEST);
        let details = panic.to_string();
        let (code, message) = if WITHOUT_RESOURCES.iter().any(|one| details.contains(one)) {
            let error = Error::NoRuntime(io::ErrorKind::WouldBlock);
            (error.code(), error.summary())
        } else {
            let message = "whereabouts has a bug; nothing is known to be wrong with the config";
            (PANIC_CODE, message)
        };
        // The exit code tells of a failure in any case.
        let _ = print(&answer::failure(version, code, message, &details));
        std::process::exit(1);
    }));
}

/// What an execution depends on beside its invocation.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The seed of its chance.
    pub seed: u64,
    /// When the process began.
    pub begun: SystemTime,
    /// The same moment, from which the verb's deadline counts.
    pub at: Instant,
}

/// Carries out `invocation`. What is then left to send is to be sent when the answer is out.
pub fn execute(invocation: &Invocation, machine: &dyn Machine, start: Start) -> (Answer, Unsent) {
    execute_in(invocation, machine, start, EtcdStore::new)
}

/// The same in a store of another kind, which `open` reaches.
pub fn execute_in<S: Store>(
    invocation: &Invocation,
    machine: &dyn Machine,
    start: Start,
    open: impl FnOnce(&Access, &Chance) -> S,
) -> (Answer, Unsent) {
    let begun = start.begun;
    match request::parse(invocation, machine) {
        Ok(Outcome::About) => {
            let stderr = answer::about(&invocation.program);
            let answer = Answer {
                stderr,
                ..Answer::success(String::new())
            };
            (answer, Unsent::nothing())
        }
        Ok(Outcome::Version(version)) => {
            let answer = Answer::success(answer::versions(version));
            (answer, Unsent::nothing())
        }
        Ok(Outcome::Verb(parsed)) => {
            let subject = Subject {
                invocation,
                request: Some(&parsed.request),
                begun,
            };
            let report = Report {
                version: parsed.version,
                logging: &parsed.logging,
                tracing: parsed.tracing.as_ref(),
                remarks: &parsed.remarks,
            };
            told(&report, subject, || carry_out(&parsed, start, open))
        }
        Err(rejected) => {
            let rejected = *rejected;
            let subject = Subject {
                invocation,
                request: None,
                begun,
            };
            let report = Report {
                version: rejected.version,
                logging: &rejected.logging,
                tracing: rejected.tracing.as_ref(),
                remarks: &rejected.remarks,
            };
            let error = Error::Request(Box::new(rejected.error));
            told(&report, subject, || Err(error))
        }
    }
}

/// How an execution is told of.
struct Report<'a> {
    version: CniVersion,
    logging: &'a Logging,
    tracing: Option<&'a Tracing>,
    remarks: &'a [Remark],
}

/// Runs `act` and tells of it, and makes an answer of what comes of it.
fn told(
    report: &Report<'_>,
    subject: Subject<'_>,
    act: impl FnOnce() -> Result<String, Error>,
) -> (Answer, Unsent) {
    let version = report.version;
    VERSION.get_or_init(|| version);
    let telemetry = Telemetry::start(report.logging, report.tracing, subject);
    let stderr = match &telemetry.log_error {
        None => String::new(),
        Some(error) => format!("log_file cannot be opened, nothing is logged: {error}"),
    };
    let answer = telemetry.span.in_scope(|| {
        telemetry::log_remarks(report.remarks);
        match act() {
            Ok(stdout) => Answer::success(stdout),
            Err(error) => {
                let (code, message) = (error.code(), error.summary());
                let details = telemetry.failed(&error);
                Answer::failure(answer::failure(version, code, message, &details))
            }
        }
    });
    (Answer { stderr, ..answer }, telemetry.end())
}

fn carry_out<S: Store>(
    parsed: &Parsed,
    start: Start,
    open: impl FnOnce(&Access, &Chance) -> S,
) -> Result<String, Error> {
    if matches!(parsed.request, Request::Add(_)) && invocation::is_stdout_closed() {
        return Err(Error::Unheard);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::NoRuntime(error.kind()))?;
    let result = runtime.block_on(serve(parsed, start, open));
    // A name that is still being looked up is not waited for: no deadline reaches that thread.
    runtime.shutdown_background();
    result
}

async fn serve<S: Store>(
    parsed: &Parsed,
    start: Start,
    open: impl FnOnce(&Access, &Chance) -> S,
) -> Result<String, Error> {
    // Standard input and files have taken a part of it.
    let deadline = parsed.deadline.saturating_sub(start.at.elapsed());
    let cluster = parsed.cluster.as_ref();
    match &parsed.datastore {
        Datastore::Etcd(access) => {
            let chance = Chance::new(start.seed);
            let store = open(access, &chance);
            let keys = Keys::new(&access.prefix);
            let session = Session::new(&store, &SystemClock, &chance, &keys, deadline)
                .of(cluster)
                .traced(&telemetry::Traced);
            answer_from(&session, parsed).await
        }
        Datastore::Local(path) => {
            let store = LocalStore::new(path, deadline);
            let keys = Keys::new(whereabouts_local::PREFIX);
            let now = SystemClock.since_epoch();
            let registry = LocalRegistry::new(&store, &keys, cluster, now);
            answer_from(&registry, parsed).await
        }
    }
}

/// Carries out the verb on `registry`, and gives the answer.
async fn answer_from<R: Registry>(registry: &R, parsed: &Parsed) -> Result<String, Error> {
    match &parsed.request {
        Request::Add(AddRequest { ask, answer }) => {
            let held = match ask {
                Some(ask) => verbs::add(registry, ask).await?,
                None => Vec::new(),
            };
            telemetry::granted(&held);
            return Ok(answer::success(parsed.version, &held, answer));
        }
        Request::Del(DelRequest {
            attachment,
            queues,
            when_unreachable,
        }) => match verbs::del(registry, attachment, queues).await {
            Err(verbs::Error::Failure(unreachable @ Failure::Unreachable { .. }))
                if *when_unreachable == WhenUnreachable::Succeed =>
            {
                error!(%attachment, reason = %unreachable, "not deleted in etcd, answered as if it were");
            }
            result => result?,
        },
        Request::Check(check) => verbs::check(registry, check).await?,
        Request::Gc(gc) => {
            let collected = verbs::gc(registry, gc).await?;
            info!(released = collected.released, "collected");
        }
        Request::Status(status) => verbs::status(registry, status).await?,
    }
    Ok(String::new())
}
