//! One execution of the plugin, from its invocation to its answer.

use std::io::{self, Write};
use std::panic;
use std::path::Path;
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
use crate::telemetry::{self, Subject, Tally, Telemetry, Unreported, Unsent};
use whereabouts_apiserver::{Client, Objects};
use whereabouts_clock::{Chance, Clock};
use whereabouts_core::escaped;
use whereabouts_core::registry::Registry;
use whereabouts_core::verbs;
use whereabouts_etcd::Access;
use whereabouts_etcd::EtcdStore;
use whereabouts_etcd::SystemClock;
use whereabouts_kubernetes::{ApiServer, KubernetesRegistry};
use whereabouts_local::{LocalRegistry, LocalStore, Wait};
use whereabouts_protocol::session::Session;
use whereabouts_store::Store;
use whereabouts_store::keys::Keys;

/// The code of an error that is a bug of this plugin.
const PANIC_CODE: u32 = 100;

/// Messages of tokio's panics on a machine without free threads or descriptors. They are not bugs
/// of this plugin.
const WITHOUT_RESOURCES: [&str; 2] = [
    "OS can't spawn worker thread",
    "failed to create UnixStream",
];

/// The version for the answer to a panic, once it is known.
static VERSION: OnceLock<CniVersion> = OnceLock::new();

/// Whether the printed answer is a success; empty before it is printed.
static ANSWERED: OnceLock<bool> = OnceLock::new();

/// The answer of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text for the runtime; empty if there is none.
    pub stdout: String,
    /// The text for a person; empty if there is none.
    pub stderr: String,
    /// Whether the answer is a success.
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

    /// Prints the answer. If standard output does not accept it, the execution fails: a runtime
    /// without an answer calls DEL.
    pub fn print(&self) -> ExitCode {
        if !self.stderr.is_empty() {
            say(&escaped::lines(&self.stderr));
        }
        let printed = print(&self.stdout);
        if let Err(error) = &printed {
            error!("standard output does not accept the answer: {error}");
            say(&format!(
                "standard output does not accept the answer: {error}"
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

/// Prints a line on standard output. An empty line is not printed.
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

/// Prints a line for a person. Nothing depends on its arrival on standard error.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Turns a write beyond the largest file size (RLIMIT_FSIZE) into an error of that write. Otherwise
/// the write ends the process. A log that is too long must not end an ADD after its commit.
pub fn outlive_file_limits() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    signals.thread_block().expect("the signal exists");
}

/// Answers a panic as CNI requires: an error as JSON on stdout, and a failure. A panic after the
/// answer changes nothing.
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
            let message = "whereabouts has a bug; the config may be correct";
            (PANIC_CODE, message)
        };
        // The exit code reports the failure, even if standard output is closed.
        let _ = print(&answer::failure(version, code, message, &details));
        std::process::exit(1);
    }));
}

/// The start of an execution.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The seed of the execution's source of chance.
    pub seed: u64,
    /// The time at which the process began.
    pub begun: SystemTime,
    /// The same moment on the monotonic clock. The deadline of the verb counts from it.
    pub at: Instant,
}

/// Carries out `invocation`. The caller prints the answer first, and then sends the unsent spans.
pub fn execute(invocation: &Invocation, machine: &dyn Machine, start: Start) -> (Answer, Unsent) {
    execute_on(invocation, machine, start, &Real)
}

/// The servers behind the datastores. A test puts something between them and the plugin.
pub trait Servers {
    /// etcd.
    type Store: Store;
    /// The API server.
    type Objects: ApiServer;

    /// The etcd of `access`.
    fn store(&self, access: &Access, chance: &Chance) -> Self::Store;

    /// The API server that `objects` reaches.
    fn objects(&self, objects: Objects) -> Self::Objects;
}

/// The servers themselves.
struct Real;

impl Servers for Real {
    type Store = EtcdStore;
    type Objects = Objects;

    fn store(&self, access: &Access, chance: &Chance) -> EtcdStore {
        EtcdStore::new(access, chance)
    }

    fn objects(&self, objects: Objects) -> Objects {
        objects
    }
}

/// Carries out `invocation` on these servers.
pub fn execute_on(
    invocation: &Invocation,
    machine: &dyn Machine,
    start: Start,
    servers: &impl Servers,
) -> (Answer, Unsent) {
    let begun = start.begun;
    match request::parse(invocation, machine) {
        Ok(Outcome::About) => {
            let stderr = answer::about(&invocation.program);
            let answer = Answer {
                stderr,
                ..Answer::success(String::new())
            };
            (answer, Unsent::default())
        }
        Ok(Outcome::Version(version)) => {
            let answer = Answer::success(answer::versions(version));
            (answer, Unsent::default())
        }
        Ok(Outcome::Verb(parsed)) => {
            let subject = Subject {
                invocation,
                request: Some(&parsed.request),
                begun,
                started: start.at,
            };
            let report = Report {
                version: parsed.version,
                logging: &parsed.logging,
                tracing: parsed.tracing.as_ref(),
                metrics_socket: parsed.metrics_socket.as_deref(),
                remarks: &parsed.remarks,
            };
            let tally = Tally::default();
            told(&report, subject, &tally, || {
                carry_out(&parsed, start, &tally, servers)
            })
        }
        Err(rejected) => {
            let rejected = *rejected;
            let subject = Subject {
                invocation,
                request: None,
                begun,
                started: start.at,
            };
            let report = Report {
                version: rejected.version,
                logging: &rejected.logging,
                tracing: rejected.tracing.as_ref(),
                metrics_socket: rejected.metrics_socket.as_deref(),
                remarks: &rejected.remarks,
            };
            let error = Error::Request(Box::new(rejected.error));
            told(&report, subject, &Tally::default(), || Err(error))
        }
    }
}

/// The log, the trace and the metrics of an execution.
struct Report<'a> {
    version: CniVersion,
    logging: &'a Logging,
    tracing: Option<&'a Tracing>,
    metrics_socket: Option<&'a Path>,
    remarks: &'a [Remark],
}

/// Runs `act`, logs, traces and reports it, and turns its result into an answer.
fn told(
    report: &Report<'_>,
    subject: Subject<'_>,
    tally: &Tally,
    act: impl FnOnce() -> Result<String, Error>,
) -> (Answer, Unsent) {
    let version = report.version;
    VERSION.get_or_init(|| version);
    let telemetry = Telemetry::start(report.logging, report.tracing, subject);
    let stderr = match &telemetry.log_error {
        None => String::new(),
        Some(error) => format!("log_file cannot be opened, so nothing is logged: {error}"),
    };
    let (answer, unreported) = telemetry.span.in_scope(|| {
        telemetry::log_remarks(report.remarks);
        let result = act();
        let failure = result.as_ref().err();
        let unreported = report
            .metrics_socket
            .and_then(|socket| Unreported::new(socket, subject, tally, failure));
        let answer = match result {
            Ok(stdout) => Answer::success(stdout),
            Err(error) => {
                let (code, message) = (error.code(), error.summary());
                let details = telemetry.failed(&error);
                Answer::failure(answer::failure(version, code, message, &details))
            }
        };
        (answer, unreported)
    });
    (Answer { stderr, ..answer }, telemetry.end(unreported))
}

fn carry_out(
    parsed: &Parsed,
    start: Start,
    tally: &Tally,
    servers: &impl Servers,
) -> Result<String, Error> {
    if matches!(parsed.request, Request::Add(_)) && invocation::is_stdout_closed() {
        return Err(Error::Unheard);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::NoRuntime(error.kind()))?;
    let result = runtime.block_on(serve(parsed, start, tally, servers));
    // The name lookup of a resolver thread has no deadline, so the runtime does not wait for it.
    runtime.shutdown_background();
    result
}

async fn serve(
    parsed: &Parsed,
    start: Start,
    tally: &Tally,
    servers: &impl Servers,
) -> Result<String, Error> {
    // Standard input and files have already used a part of the deadline.
    let deadline = parsed.deadline.saturating_sub(start.at.elapsed());
    let cluster = parsed.cluster.as_ref();
    match &parsed.datastore {
        Datastore::Etcd(access) => {
            let chance = Chance::new(start.seed);
            let store = servers.store(access, &chance);
            let keys = Keys::new(&access.prefix);
            let traced = telemetry::Traced(tally);
            let session = Session::new(&store, &SystemClock, &chance, &keys, deadline)
                .of(cluster)
                .since(start.at)
                .traced(&traced);
            answer_from(&session, parsed, tally).await
        }
        Datastore::Local(path) => {
            let store = LocalStore::new(path, Wait::Until(start.at + parsed.deadline));
            let keys = Keys::new(whereabouts_local::PREFIX);
            let now = SystemClock.since_epoch();
            let registry = LocalRegistry::new(&store, &keys, cluster, now);
            answer_from(&registry, parsed, tally).await
        }
        Datastore::Kubernetes(access) => {
            let server = servers.objects(Objects::of(Client::new(access)?));
            let chance = Chance::new(start.seed);
            let registry = KubernetesRegistry::new(&server, &SystemClock, &chance, deadline);
            let mut registry = registry.since(start.at);
            if let Some(pod) = &parsed.pod {
                registry = registry.of_pod(&pod.namespace, &pod.name);
            }
            answer_from(&registry, parsed, tally).await
        }
    }
}

/// Carries out the verb on `registry`, and returns the answer.
async fn answer_from<R: Registry>(
    registry: &R,
    parsed: &Parsed,
    tally: &Tally,
) -> Result<String, Error> {
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
            Err(verbs::Error::Failure(failure))
                if failure.is_unreachable() && *when_unreachable == WhenUnreachable::Succeed =>
            {
                error!(reason = %failure, "the datastore is unreachable: the answer is a success, but a claim may remain");
            }
            result => result?,
        },
        Request::Check(check) => verbs::check(registry, check).await?,
        Request::Gc(gc) => {
            let collected = verbs::gc(registry, gc).await;
            tally.released(match &collected {
                Ok(collected) | Err(verbs::Error::NotAllCollected { collected, .. }) => {
                    collected.released
                }
                Err(_) => 0,
            });
            let collected = collected?;
            info!(released = collected.released, "collected");
        }
        Request::Status(status) => verbs::status(registry, status).await?,
    }
    Ok(String::new())
}
