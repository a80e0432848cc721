//! One execution of a program, with a bound on its time.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Answer;

/// Longest time that an execution may take before it is ended and its test fails: more than the
/// longest deadline of a verb, on a busy machine.
const BOUND: Duration = Duration::from_secs(90);

/// An execution of a program, not yet begun.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    stdin: Vec<u8>,
}

impl Call {
    /// Of the built plugin, with nothing in its environment and nothing on stdin.
    pub(crate) fn new() -> Self {
        Self {
            program: whereabouts_fixtures::binaries::plugin().into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            stdin: Vec::new(),
        }
    }

    /// The folder of the built plugin, for `CNI_PATH`.
    pub(crate) fn folder() -> &'static Path {
        Path::new(whereabouts_fixtures::binaries::plugin())
            .parent()
            .expect("the plugin is in a folder")
    }

    /// Of another program.
    pub(crate) fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// With one more argument.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With more arguments.
    pub(crate) fn arguments(self, arguments: &[&str]) -> Self {
        let add = |call: Self, argument: &&str| call.argument(argument);
        arguments.iter().fold(self, add)
    }

    /// The same, carried out by `program`, whose arguments are `before` and then this call.
    pub(crate) fn below(mut self, program: &str, before: &[String]) -> Self {
        let inner = std::mem::replace(&mut self.program, program.into());
        let inner = inner.display().to_string();
        self.arguments = [before, &[inner], &self.arguments].concat();
        self
    }

    /// With a variable set; an empty value takes it away.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(other, _)| other != name);
        let value = value.into();
        if !value.is_empty() {
            self.variables.push((name.to_owned(), value));
        }
        self
    }

    /// With this on stdin.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Begins it.
    pub(crate) fn start(&self) -> Running {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let mut stdin = child.stdin.take().expect("it is piped");
        let bytes = self.stdin.clone();
        // A program need not read all of it, so that this may fail.
        thread::spawn(move || stdin.write_all(&bytes));
        Running(child)
    }

    /// Carries it out.
    pub(crate) fn run(&self) -> Answer {
        self.start().finish()
    }
}

/// A program that runs. It ends, whatever happens, when the test lets go of it.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        let status = self.0.try_wait().expect("a child can be asked for");
        status.is_none()
    }

    /// Waits for its end, for a bounded time.
    pub(crate) fn finish(mut self) -> Answer {
        // A script of completions is larger than a pipe.
        let stdout = read(self.0.stdout.take().expect("it is piped"));
        let stderr = read(self.0.stderr.take().expect("it is piped"));
        let end = Instant::now() + BOUND;
        let status = loop {
            if let Some(status) = self.0.try_wait().expect("a child can be asked for") {
                break status;
            }
            assert!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(1));
        };
        Answer {
            exit_code: status.code(),
            stdout: stdout.join().expect("stdout is text"),
            stderr: stderr.join().expect("stderr is text"),
        }
    }
}

/// All of `source`, read while the program runs.
fn read(mut source: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        source.read_to_string(&mut text).expect("it says text");
        text
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
