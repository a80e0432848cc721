//! A real collector of OTLP, Rotel, which prints the spans that it is sent. It ends, whatever
//! happens, when the test lets go of it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{free_port, poll};

/// The variable that says where the collector's program is, if not in `PATH`.
const VARIABLE: &str = "ROTEL_AGENT";

/// How often a start is tried: another process may take a port that was free a moment ago.
const STARTS: usize = 5;

/// A running collector.
pub(crate) struct Collector {
    process: Child,
    /// Where it listens, as `otlp_endpoint` has it.
    pub(crate) endpoint: String,
    output: PathBuf,
    _folder: TempDir,
}

/// A span as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a span without a parent.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Names of its events.
    pub(crate) events: Vec<String>,
    /// Trace and span of each link.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) resource: BTreeMap<String, String>,
}

impl Collector {
    /// One that listens.
    pub(crate) fn start() -> Self {
        let endpoint = || format!("127.0.0.1:{}", free_port());
        (0..STARTS)
            .find_map(|_| Self::try_start(endpoint()))
            .expect("the collector starts")
    }

    /// One that listens at an endpoint where nobody else does.
    pub(crate) fn start_at(endpoint: &str) -> Self {
        Self::try_start(endpoint.to_owned()).expect("the collector starts")
    }

    fn try_start(endpoint: String) -> Option<Self> {
        let program = env::var_os(VARIABLE).unwrap_or_else(|| OsString::from("rotel-agent"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = folder.path().join("output");
        let file = File::create(&output).expect("a new file");
        let http = format!("127.0.0.1:{}", free_port());
        let process = Command::new(&program)
            .args(["start", "--exporter", "blackhole", "--disable-batching"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-grpc-endpoint", &endpoint])
            .args(["--otlp-http-endpoint", &http])
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!(
                "{}: {error}. The tests need a collector: tests/run.sh installs it and sets {VARIABLE}",
                program.display()
            )
        });
        let mut collector = Self {
            process,
            endpoint,
            output,
            _folder: folder,
        };
        let listens = poll("the collector listens or ends", || {
            let ended = collector.process.try_wait().expect("a child can be asked");
            match (ended, TcpStream::connect(&collector.endpoint)) {
                (Some(_), _) => Some(false),
                (None, Ok(_)) => Some(true),
                (None, Err(_)) => None,
            }
        });
        listens.then_some(collector)
    }

    /// All that it has printed.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.output).expect("it prints text")
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        parse(&self.text())
    }

    /// The spans, as soon as `complete` says that they are all there.
    pub(crate) fn spans_when(&self, complete: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        poll("the spans have arrived", || {
            let spans = self.spans();
            complete(&spans).then_some(spans)
        })
    }

    /// The spans, as soon as so many verbs have told of themselves.
    pub(crate) fn spans_of(&self, verbs: usize) -> Vec<Span> {
        // A verb's own span is the last of its request.
        self.spans_when(|spans| spans.iter().filter(|span| span.is_verb()).count() >= verbs)
    }

    /// Makes it hang: its connections stay and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Span {
    /// Whether it is that of a whole verb.
    pub(crate) fn is_verb(&self) -> bool {
        self.kind == "SERVER"
    }

    /// One of its attributes; empty if it has none of this name.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// The owner of attributes in the output.
#[derive(Clone, Copy)]
enum Part {
    Resource,
    Span,
    Event,
    Link,
}

/// The spans in the collector's output.
fn parse(text: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut resource = BTreeMap::new();
    let mut part = Part::Resource;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("ResourceSpans #") {
            (part, resource) = (Part::Resource, BTreeMap::new());
        } else if line.starts_with("Span #") {
            part = Part::Span;
            spans.push(Span {
                resource: resource.clone(),
                ..Span::default()
            });
        } else if line.starts_with("SpanEvent #") {
            part = Part::Event;
        } else if line.starts_with("SpanLink #") {
            part = Part::Link;
        }
        let (entry, is_entry) = match line.strip_prefix("-> ") {
            Some(entry) => (entry, true),
            None => (line, false),
        };
        let Some((name, value)) = entry.split_once(':') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        match (part, spans.last_mut(), is_entry) {
            (Part::Resource, _, true) => {
                resource.insert(name.to_owned(), content(value));
            }
            (Part::Span, Some(span), true) => {
                span.attributes.insert(name.to_owned(), content(value));
            }
            (Part::Span, Some(span), false) => span.set(name, value),
            (Part::Event, Some(span), true) if name == "Name" => span.events.push(value.to_owned()),
            (Part::Link, Some(span), true) if name == "Trace ID" => {
                span.links.push((value.to_owned(), String::new()));
            }
            (Part::Link, Some(span), true) if name == "ID" => {
                let last = span.links.last_mut().expect("the trace comes first");
                value.clone_into(&mut last.1);
            }
            (Part::Resource | Part::Span | Part::Event | Part::Link, _, _) => {}
        }
    }
    spans
}

/// `x` of `Str(x)`.
fn content(value: &str) -> String {
    let inner = value
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(value).to_owned()
}

impl Span {
    fn set(&mut self, name: &str, value: &str) {
        let number = || value.parse().expect("a time is a number");
        match name {
            "Trace ID" => value.clone_into(&mut self.trace),
            "Parent ID" => value.clone_into(&mut self.parent),
            "ID" => value.clone_into(&mut self.id),
            "Name" => value.clone_into(&mut self.name),
            "Kind" => self.kind = value.replace("SPAN_KIND_", ""),
            "Status code" => self.status = value.replace("STATUS_CODE_", ""),
            "Start time" => self.start = number(),
            "End time" => self.end = number(),
            _ => {}
        }
    }
}
