//! One execution of the plugin, from its invocation to its answer.

use std::panic;
use std::process::ExitCode;
use std::sync::OnceLock;

use tracing::{Instrument, error, info, info_span};

use crate::answer;
use crate::claim::Ask;
use crate::clock::{Chance, SystemClock};
use crate::commands;
use crate::error::Error;
use crate::invocation::{Invocation, Machine};
use crate::request::{
    self, Access, AddRequest, CheckRequest, CniVersion, DelRequest, GcRequest, Logging, Outcome,
    Parsed, Rejected, Remark, Request, WhenUnreachable,
};
use crate::session::{Failure, Session};
use crate::store::etcd::EtcdStore;
use crate::store::keys::Keys;
use crate::store::{Store, Unavailable};
use crate::telemetry;

/// The code of an error that is a bug of this plugin.
const PANIC_CODE: u32 = 100;

/// The version in which a panic is answered, once it is known.
static VERSION: OnceLock<CniVersion> = OnceLock::new();

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

    /// Prints it.
    pub fn print(&self) -> ExitCode {
        if !self.stderr.is_empty() {
            eprintln!("{}", self.stderr);
        }
        if !self.stdout.is_empty() {
            println!("{}", self.stdout);
        }
        if self.success {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Answers a panic as CNI wants: an error as JSON on stdout, and a failure.
pub fn answer_panics() {
    panic::set_hook(Box::new(|panic| {
        error!(target: telemetry::PANIC, "{panic}");
        let version = VERSION.get().copied().unwrap_or(CniVersion::NEWEST);
        let details = panic.to_string();
        let message = "whereabouts has a bug; nothing is known to be wrong with the config";
        println!(
            "{}",
            answer::failure(version, PANIC_CODE, message, &details)
        );
        std::process::exit(1);
    }));
}

/// Carries out `invocation`, with `seed` for its chance.
pub fn execute(invocation: &Invocation, machine: &dyn Machine, seed: u64) -> Answer {
    execute_in(invocation, machine, seed, EtcdStore::new)
}

/// The same in a store of another kind, which `open` reaches.
pub fn execute_in<S: Store>(
    invocation: &Invocation,
    machine: &dyn Machine,
    seed: u64,
    open: impl FnOnce(&Access, &Chance) -> S,
) -> Answer {
    match request::parse(invocation, machine) {
        Ok(Outcome::About) => {
            let stderr = answer::about(&invocation.program);
            Answer {
                stderr,
                ..Answer::success(String::new())
            }
        }
        Ok(Outcome::Version(version)) => Answer::success(answer::versions(version)),
        Ok(Outcome::Verb(parsed)) => {
            let (version, logging, remarks) = (parsed.version, &parsed.logging, &parsed.remarks);
            logged(version, logging, remarks, || carry_out(&parsed, seed, open))
        }
        Err(rejected) => {
            let Rejected {
                version,
                logging,
                remarks,
                error,
            } = *rejected;
            logged(version, &logging, &remarks, || {
                let error = Error::Request(Box::new(error));
                log(&error);
                Err(error)
            })
        }
    }
}

/// Runs `act` with its log open, and makes an answer of what comes of it.
fn logged(
    version: CniVersion,
    logging: &Logging,
    remarks: &[Remark],
    act: impl FnOnce() -> Result<String, Error>,
) -> Answer {
    VERSION.get_or_init(|| version);
    let stderr = match telemetry::start(logging) {
        Ok(()) => String::new(),
        Err(error) => format!("log_file cannot be opened, nothing is logged: {error}"),
    };
    telemetry::log_remarks(remarks);
    let answer = match act() {
        Ok(stdout) => Answer::success(stdout),
        Err(error) => {
            let (code, message, details) = (error.code(), error.summary(), error.details());
            Answer::failure(answer::failure(version, code, message, &details))
        }
    };
    Answer { stderr, ..answer }
}

fn carry_out<S: Store>(
    parsed: &Parsed,
    seed: u64,
    open: impl FnOnce(&Access, &Chance) -> S,
) -> Result<String, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::NoRuntime(error.kind()))?;
    let span = match &parsed.request {
        Request::Add(AddRequest {
            ask: Some(Ask { attachment, .. }),
            ..
        }) => {
            info_span!("ADD", %attachment)
        }
        Request::Add(AddRequest { ask: None, .. }) => info_span!("ADD"),
        Request::Del(DelRequest { attachment, .. }) => info_span!("DEL", %attachment),
        Request::Check(CheckRequest { attachment, .. }) => info_span!("CHECK", %attachment),
        Request::Gc(GcRequest { network, .. }) => info_span!("GC", %network),
        Request::Status(_) => info_span!("STATUS"),
    };
    let result = runtime.block_on(serve(parsed, seed, open).instrument(span.clone()));
    if let Err(error) = &result {
        span.in_scope(|| log(error));
    }
    result
}

fn log(error: &Error) {
    error!(
        code = error.code(),
        "{}: {}",
        error.summary(),
        error.details()
    );
}

async fn serve<S: Store>(
    parsed: &Parsed,
    seed: u64,
    open: impl FnOnce(&Access, &Chance) -> S,
) -> Result<String, Error> {
    let chance = Chance::new(seed);
    let store = open(&parsed.access, &chance);
    let keys = Keys::new(&parsed.access.prefix);
    let session = Session::new(&store, &SystemClock, &chance, &keys, parsed.deadline);
    match &parsed.request {
        Request::Add(AddRequest { ask, answer }) => {
            let held = match ask {
                Some(ask) => commands::add(&session, ask).await?,
                None => Vec::new(),
            };
            return Ok(answer::success(parsed.version, &held, answer));
        }
        Request::Del(DelRequest {
            attachment,
            queues,
            when_unreachable,
        }) => match commands::del(&session, attachment, queues).await {
            Err(Error::Failure(Failure::Unavailable(Unavailable::Later(reason))))
                if *when_unreachable == WhenUnreachable::Succeed =>
            {
                error!(%attachment, reason, "not deleted in etcd, answered as if it were");
            }
            result => result?,
        },
        Request::Check(check) => commands::check(&session, check).await?,
        Request::Gc(gc) => {
            let collected = commands::gc(&session, gc).await?;
            info!(released = collected.released, "collected");
        }
        Request::Status(status) => commands::status(&session, status).await?,
    }
    Ok(String::new())
}
