//! Clients and plugins that take what they can: connections, and memory.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use whereabouts_core::limits;

use super::Server;
use super::prometheus::Scrape;
use crate::plugin::Site;
use crate::support::poll;

/// The server may have 100 descriptors.
#[test]
fn five_hundred_requests_that_never_end_stop_neither_health_nor_the_reaper() {
    fs::create_dir_all("/run/netns").expect("tests run as root");
    let site = Site::shared();
    let endpoints = site.access().endpoints.join(",");
    let etcd = ["--etcd-host", &endpoints, "--etcd-prefix", &site.prefix];
    let reap = ["--reap", "50ms", "--node", "node-1"];
    let server = Server::start_by(
        &["prlimit", "--nofile=100:100"],
        &[&etcd[..], &reap].concat(),
    );
    server.await_state("live");
    let runs = || {
        let told = Scrape::read(&server.get("/metrics"));
        told.value("whereabouts_reaper_runs_total{result=\"done\"}")
    };
    let mut silent = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(&server.address).expect("it listens");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\n")
            .expect("it listens");
        silent.push(stream);
    }
    assert_eq!(server.get("/healthz"), "ok\n");
    let before = runs();
    poll("the reaper goes on", || {
        (runs() > before + 2.0).then_some(())
    });
    server.await_state("live");
    drop(silent);
}

#[test]
fn a_backlog_takes_no_more_memory_than_it_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("trace.sock");
    let path = socket.to_str().expect("a path is text");
    let dead = crate::support::dead_endpoint();
    let server = Server::start(&["--trace-socket", path, "--otlp-endpoint", &dead]);
    // Spans of two bytes, each of which is hundreds when it is decoded.
    let scope = ScopeSpans {
        spans: vec![Span::default(); limits::TRACE_DATAGRAM_BYTES / 2 - 100],
        ..ScopeSpans::default()
    };
    let spans = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![spans],
    };
    let datagram = request.encode_to_vec();
    let plugin = UnixDatagram::unbound().expect("a socket");
    plugin.connect(&socket).expect("it is served");
    let beyond = limits::AGENT_BACKLOG_BYTES / datagram.len() + 40;
    for _ in 0..beyond {
        plugin.send(&datagram).expect("it is read");
    }
    let dropped = "whereabouts_agent_datagrams_total{result=\"dropped\"}";
    poll("the backlog is full", || {
        (Scrape::read(&server.get("/metrics")).value(dropped) > 0.5).then_some(())
    });
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id()));
    let status = status.expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
    let peak: usize = peak.expect("Linux tells it");
    assert!(peak << 10 < 10 * limits::AGENT_BACKLOG_BYTES, "{peak} kB");
}
