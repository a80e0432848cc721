//! The agent of a node: what plugins hand over in datagrams arrives, and no plugin waits for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::verbs::FLUSH_MS;
use crate::plugin::{Network, Pod, Site};
use crate::support::collector::Collector;
use crate::support::{dead_endpoint, poll};

/// A running agent.
pub(super) struct Agent {
    process: Child,
    _folder: Option<TempDir>,
    socket: PathBuf,
    /// Where it serves HTTP.
    address: String,
}

impl Agent {
    fn start(otlp_endpoint: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("trace.sock");
        Self::with(Some(folder), &socket, &["--otlp-endpoint", otlp_endpoint])
    }

    /// An agent that passes no spans on.
    pub(super) fn without_collector() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("trace.sock");
        Self::with(Some(folder), &socket, &[])
    }

    /// The same, in a folder of the caller's.
    pub(super) fn at(socket: &Path) -> Self {
        Self::with(None, socket, &[])
    }

    fn with(folder: Option<TempDir>, socket: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new(whereabouts_fixtures::binaries::tool())
            .args(["serve", "--listen", "127.0.0.1:0", "--trace-socket"])
            .arg(socket)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is built");
        let stdout = process.stdout.take().expect("it is piped");
        let lines = BufReader::new(stdout).lines();
        let address = lines
            .map(|line| line.expect("it prints text"))
            .find_map(|line| Some(line.strip_prefix("listening on http://")?.to_owned()));
        Self {
            process,
            _folder: folder,
            socket: socket.to_owned(),
            address: address.expect("it listens"),
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// A network whose plugins hand their spans to it.
    pub(super) fn traced(&self, network: &Network) -> Network {
        network.clone().ipam(json!({"trace_socket": self.socket()}))
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("it answers in text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        body.to_owned()
    }

    /// The value of a metric.
    pub(super) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.parse().expect("it is a number")
    }

    pub(super) fn await_metric(&self, name: &str, least: u64) {
        poll(name, || (self.metric(name) >= least).then_some(()));
    }

    fn tell_to_end(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it runs");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const TAKEN: &str = "whereabouts_agent_datagrams_total{result=\"taken\"}";
const MALFORMED: &str = "whereabouts_agent_datagrams_total{result=\"malformed\"}";
const SENT: &str = "whereabouts_agent_spans_total{result=\"sent\"}";
const FAILED: &str = "whereabouts_agent_exports_total{result=\"failed\"}";

#[test]
fn what_a_plugin_hands_over_arrives_and_is_counted() {
    let (site, collector) = (Site::shared(), Collector::start());
    let agent = Agent::start(&collector.endpoint);
    let network = agent.traced(&site.network("10.0.0.0/24"));
    assert_eq!(network.add(&Pod::new("c")).address(), "10.0.0.1/24");
    network.del(&Pod::new("c")).assert_silent();
    let spans = collector.spans_of(2);
    assert_eq!(spans.iter().filter(|span| span.is_verb()).count(), 2);
    assert_eq!(spans[0].resource["k8s.node.name"], "node-1");
    agent.await_metric(SENT, spans.len() as u64);
    assert_eq!(agent.metric(TAKEN), 2);
    assert_eq!(agent.metric("whereabouts_agent_backlog_bytes"), 0);
    assert_eq!(agent.get("/healthz"), "ok\n");
}

#[test]
fn what_is_not_spans_is_counted_and_changes_nothing() {
    let (site, collector) = (Site::shared(), Collector::start());
    let agent = Agent::start(&collector.endpoint);
    let stranger = UnixDatagram::unbound().expect("a socket");
    for garbage in [b"garbage".to_vec(), vec![0xff; 60_000], Vec::new()] {
        stranger
            .send_to(&garbage, agent.socket())
            .expect("it is taken");
    }
    agent.await_metric(MALFORMED, 3);
    let network = agent.traced(&site.network("10.0.0.0/24"));
    network.add(&Pod::new("c")).result();
    assert!(
        collector
            .spans_of(1)
            .iter()
            .any(|span| span.name == "commit")
    );
}

#[test]
fn spans_wait_for_a_collector_that_is_down() {
    let site = Site::shared();
    let endpoint = dead_endpoint();
    let agent = Agent::start(&endpoint);
    let network = agent.traced(&site.network("10.0.0.0/24"));
    network.add(&Pod::new("c")).result();
    agent.await_metric(FAILED, 1);
    let endpoint = endpoint.strip_prefix("http://").expect("a URL");
    let collector = Collector::start_at(endpoint);
    assert!(
        collector
            .spans_of(1)
            .iter()
            .any(|span| span.name == "commit")
    );
}

#[test]
fn an_agent_that_is_told_to_end_sends_what_it_has_and_removes_its_socket() {
    let (site, collector) = (Site::shared(), Collector::start());
    let mut agent = Agent::start(&collector.endpoint);
    let network = agent.traced(&site.network("10.0.0.0/24"));
    network.add(&Pod::new("c")).result();
    agent.await_metric(TAKEN, 1);
    agent.tell_to_end();
    let status = poll("it ends", || agent.process.try_wait().expect("a child"));
    assert!(status.success(), "{status}");
    let folder = agent.socket();
    let folder = folder.parent().expect("it is in a folder");
    let left = std::fs::read_dir(folder).expect("a folder").count();
    assert_eq!(left, 0, "an agent that ends leaves nothing");
    assert!(
        collector
            .spans_of(1)
            .iter()
            .any(|span| span.name == "commit")
    );
}

#[test]
fn without_an_agent_the_collector_is_told_and_without_both_nobody() {
    let (site, collector) = (Site::shared(), Collector::start());
    let network = site.network("10.0.0.0/24");
    let nobody = network
        .clone()
        .ipam(json!({"trace_socket": "/run/whereabouts-nowhere/trace.sock"}));
    assert_eq!(nobody.add(&Pod::new("a")).address(), "10.0.0.1/24");
    let dead = tempfile::tempdir().expect("a temporary folder");
    let socket = dead.path().join("trace.sock");
    drop(UnixDatagram::bind(&socket).expect("a socket that nobody reads"));
    let keys = json!({"trace_socket": socket, "otlp_endpoint": collector.endpoint,
        "trace_flush_ms": FLUSH_MS});
    assert_eq!(
        network.ipam(keys).add(&Pod::new("b")).address(),
        "10.0.0.2/24"
    );
    let spans = collector.spans_of(1);
    let verb = spans.iter().find(|span| span.is_verb()).expect("an ADD");
    assert_eq!(verb.attribute("container.id"), "b");
}

/// A reader that is late: the kernel keeps some datagrams for it, and no plugin waits for room.
#[test]
fn an_agent_that_does_not_read_costs_an_add_nothing() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("trace.sock");
    let unread = UnixDatagram::bind(&socket).expect("a socket");
    let filler = UnixDatagram::unbound().expect("a socket");
    filler.set_nonblocking(true).expect("it need not block");
    while filler.send_to(b"x", &socket).is_ok() {}
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"trace_socket": socket}));
    assert_eq!(network.add(&Pod::new("c")).address(), "10.0.0.1/24");
    drop(unread);
}
