//! `watch`: changes as they happen.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;

use super::tool_binary;
use crate::plugin::{Pod, Site};
use crate::support::BOUND;

/// A tool that watches. It ends when the test lets go of it.
struct Watching {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Watching {
    fn start(site: &Site, arguments: &[&str]) -> Self {
        let mut child = Command::new(tool_binary())
            .args(["watch", "-o", "json", "--etcd-prefix", &site.prefix])
            .args(["--etcd-host", &site.access().endpoints.join(",")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let stdout = lines(child.stdout.take().expect("it is piped"));
        let stderr = lines(child.stderr.take().expect("it is piped"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    fn change(&self) -> (String, String) {
        let line = self.stdout.recv_timeout(BOUND).expect("a change is told");
        let value: Value = serde_json::from_str(&line).expect("a line of JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let address = &value["claim"]["addresses"][0]["address"];
        (text(&value["change"]), text(address))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    receive
}

#[test]
fn watch_tells_what_is_given_and_freed_and_to_whom_it_belonged() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("before")).result();
    let watching = Watching::start(&site, &["--node", "node-1"]);
    let begun = watching
        .stderr
        .recv_timeout(BOUND)
        .expect("it says that it watches");
    assert!(begun.contains("Watching from revision"), "{begun}");
    let pod = Pod::new("c");
    network.add(&pod).result();
    let elsewhere = network
        .clone()
        .ipam(serde_json::json!({"node_name": "node-2"}));
    elsewhere.add(&Pod::new("elsewhere")).result();
    network.del(&pod).assert_silent();
    let told = |what: &str| (what.to_owned(), "10.0.0.2".to_owned());
    assert_eq!(watching.change(), told("given"));
    assert_eq!(watching.change(), told("freed"));
}
