//! A real Jaeger, with traces in memory, and what its users see: the answers of its query API. It ends, whatever
//! happens, when the test lets go of it.

use std::collections::BTreeMap;
use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::collector::Span;
use super::{free_port, poll};

/// The variable that says where Jaeger's program is.
const VARIABLE: &str = "JAEGER";

/// How often a start is tried: another process may take a port that was free a moment ago.
const STARTS: usize = 5;

/// More traces than a test makes.
const TRACES: usize = 1_000;

/// A running Jaeger.
pub(crate) struct Jaeger {
    process: Child,
    /// Where it takes spans, as `otlp_endpoint` has it.
    pub(crate) endpoint: String,
    query: String,
}

impl Jaeger {
    /// One that listens.
    pub(crate) fn start() -> Self {
        (0..STARTS)
            .find_map(|_| Self::try_start())
            .expect("Jaeger starts")
    }

    fn try_start() -> Option<Self> {
        let program = env::var_os(VARIABLE).unwrap_or_else(|| {
            panic!("{VARIABLE} names no Jaeger: tests/jaeger.sh builds it and sets {VARIABLE}")
        });
        let [endpoint, query, grpc] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jaeger.yaml");
        let process = Command::new(program)
            .arg("--config")
            .arg(config)
            .env("JAEGER_OTLP", &endpoint)
            .env("JAEGER_QUERY", &query)
            .env("JAEGER_QUERY_GRPC", grpc)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it is a program");
        let mut jaeger = Self {
            process,
            endpoint,
            query,
        };
        let listens = poll("Jaeger listens or ends", || {
            let ended = jaeger.process.try_wait().expect("a child can be asked");
            let listens = |address: &String| TcpStream::connect(address).is_ok();
            match (
                ended,
                [&jaeger.endpoint, &jaeger.query].into_iter().all(listens),
            ) {
                (Some(_), _) => Some(false),
                (None, true) => Some(true),
                (None, false) => None,
            }
        });
        listens.then_some(jaeger)
    }

    /// The services that it has heard of.
    pub(crate) fn services(&self) -> Value {
        self.get("/api/services")
    }

    /// The operations of the plugin, each with its kind.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let operations = self.get("/api/operations?service=whereabouts");
        let mut operations: Vec<(String, String)> = elements(&operations)
            .map(|one| (text(&one["name"]), text(&one["spanKind"])))
            .collect();
        operations.sort();
        operations
    }

    /// The spans of all traces in which one span is `operation`, if given, and has all `tags`.
    pub(crate) fn search(&self, operation: Option<&str>, tags: &Value) -> Vec<Span> {
        elements(&self.find(operation, tags))
            .flat_map(spans)
            .collect()
    }

    /// All spans, as soon as so many verbs have told of themselves.
    pub(crate) fn spans_of(&self, verbs: usize) -> Vec<Span> {
        let is_verb = |span: &&Value| {
            elements(&span["tags"]).any(|tag| tag["key"] == "span.kind" && tag["value"] == "server")
        };
        poll("the spans have arrived", || {
            let traces = self.find(None, &json!({}));
            let spans = elements(&traces).flat_map(|trace| elements(&trace["spans"]));
            (spans.filter(is_verb).count() >= verbs).then_some(())
        });
        // Only now no trace lacks a span, and Jaeger has nothing to complain of.
        self.search(None, &json!({}))
    }

    fn find(&self, operation: Option<&str>, tags: &Value) -> Value {
        let operation = operation.map_or(String::new(), |name| {
            format!("&operation={}", encoded(name))
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("it is after 1970").as_micros();
        self.get(&format!(
            "/api/traces?service=whereabouts&start=0&end={now}&limit={TRACES}{operation}&tags={}",
            encoded(&tags.to_string())
        ))
    }

    /// The answer of the query API at `path`.
    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(&self.query).expect("it listens");
        // An answer in HTTP/1.0 comes in one piece.
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("it answers in text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(head.contains(" 200 OK"), "{path}: {answer}");
        let answer: Value = serde_json::from_str(body).expect("an answer is JSON");
        assert_eq!(answer["errors"], Value::Null, "{path}");
        answer["data"].clone()
    }
}

impl Drop for Jaeger {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A value as a person reads it.
fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// The spans of a trace. Jaeger must have nothing to complain of, such as a parent that never came.
fn spans(trace: &Value) -> Vec<Span> {
    assert_eq!(trace["warnings"], Value::Null, "{trace}");
    let span = |span: &Value| {
        let process = &trace["processes"][text(&span["processID"])];
        let mut resource = tags(&process["tags"]);
        resource.insert("service.name".to_owned(), text(&process["serviceName"]));
        read(span, resource)
    };
    elements(&trace["spans"]).map(span).collect()
}

fn read(span: &Value, resource: BTreeMap<String, String>) -> Span {
    // A served process can hear of the commit sooner than its holder. Jaeger takes that for clock skew, says so of any
    // span of that trace, and changes nothing.
    let is_early = |warning: &Value| text(warning).starts_with("clock skew adjustment disabled");
    assert!(elements(&span["warnings"]).all(is_early), "{span}");
    let attributes = tags(&span["tags"]);
    let tag = |name: &str| attributes.get(name).cloned().unwrap_or_default();
    let ids = |one: &Value| (text(&one["traceID"]), text(&one["spanID"]));
    let references = |kind: &str| {
        let of_kind = |one: &&Value| one["refType"] == kind;
        elements(&span["references"])
            .filter(of_kind)
            .map(ids)
            .collect::<Vec<_>>()
    };
    let microseconds = |value: &Value| value.as_u64().expect("a time is a number");
    let start = microseconds(&span["startTime"]);
    let parent = references("CHILD_OF").pop();
    Span {
        trace: text(&span["traceID"]),
        id: text(&span["spanID"]),
        parent: parent.map(|(_, parent)| parent).unwrap_or_default(),
        name: text(&span["operationName"]),
        kind: tag("span.kind").to_uppercase(),
        status: tag("otel.status_code"),
        start,
        end: start + microseconds(&span["duration"]),
        links: references("FOLLOWS_FROM"),
        events: elements(&span["logs"]).map(ToString::to_string).collect(),
        attributes,
        resource,
    }
}

/// Tags by their keys. None comes twice, as an attribute that was recorded twice would.
fn tags(tags: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for tag in elements(tags) {
        let before = found.insert(text(&tag["key"]), text(&tag["value"]));
        assert_eq!(before, None, "{tags}");
    }
    found
}
