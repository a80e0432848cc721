//! `serve` with an etcd: the page, its API and its metrics, end to end.

mod accessible;
mod api;
mod browser;
mod bugs;
mod chromium;
mod clients;
mod etcd;
mod full;
mod hostile;
mod keyboard;
mod kubectl;
mod metrics;
mod prometheus;
mod reap;
mod relay;
mod scale;
mod views;

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::ctl::tool_binary;
use crate::plugin::Site;
use crate::support::poll;

/// A running `serve`. It ends when the test lets go of it.
pub(crate) struct Server {
    process: Child,
    /// A process whose output nobody reads ends.
    _output: Lines<BufReader<ChildStdout>>,
    /// Where it listens: address and port.
    address: String,
}

/// An answer over HTTP.
struct Http {
    head: String,
    body: String,
}

impl Server {
    /// Follows what `site` has.
    pub(crate) fn of(site: &Site, arguments: &[&str]) -> Self {
        let endpoints = site.access().endpoints.join(",");
        let etcd = ["--etcd-host", &endpoints, "--etcd-prefix", &site.prefix];
        let server = Self::start(&[&etcd, arguments].concat());
        server.await_state("live");
        server
    }

    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_by(&[], arguments)
    }

    /// By a program that executes the rest of its arguments.
    fn start_by(program: &[&str], arguments: &[&str]) -> Self {
        let serve = [tool_binary(), "serve"];
        Self::execute(&[program, &serve[..], arguments].concat())
    }

    /// Another command that serves metrics.
    pub(crate) fn start_as(command: &str, arguments: &[&str]) -> Self {
        let words = [&[tool_binary(), command], arguments].concat();
        Self::execute(&words)
    }

    fn execute(words: &[&str]) -> Self {
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is built");
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let address = lines
            .by_ref()
            .map(|line| line.expect("it prints text"))
            .find_map(|line| Some(line.strip_prefix("listening on http://")?.to_owned()));
        Self {
            process,
            _output: lines,
            address: address.expect("it listens"),
        }
    }

    /// The answer to a request with this first line and these headers.
    fn request(&self, line: &str, headers: &str) -> Http {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let request = format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("it answers in text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        Http {
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let answer = self.request(&format!("GET {path}"), "Host: localhost\r\n");
        assert!(
            answer.head.starts_with("HTTP/1.1 200 OK"),
            "{}",
            answer.head
        );
        answer.body
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path)).expect("JSON")
    }

    /// Waits until etcd is followed, or is known to be away, and tells how that stands.
    pub(crate) fn await_state(&self, state: &str) -> Value {
        poll(state, || {
            let etcd = self.json("/api/ranges")["etcd"].clone();
            (etcd["state"] == state).then_some(etcd)
        })
    }

    /// Waits until so many claims are known.
    pub(crate) fn await_claims(&self, claims: usize) {
        poll("the claims are known", || {
            let etcd = &self.json("/api/ranges")["etcd"];
            (etcd["claims"] == claims).then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
