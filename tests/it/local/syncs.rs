//! The syncs before an answer, as the kernel sees them.

use std::path::PathBuf;

use super::Host;
use crate::plugin::{Answer, Call, Network, Pod};

/// The writes and syncs of one execution, in order.
struct Trace(Vec<String>);

/// Runs `call` under strace.
fn traced(host: &Host, call: &Call) -> (Answer, Trace) {
    let output: PathBuf = host.folder.path().join("trace");
    let calls = "trace=write,pwrite64,writev,fsync,fdatasync,ftruncate,rename,unlink";
    let arguments =
        ["-f", "-y", "-e", calls, "-o", &output.display().to_string()].map(str::to_owned);
    let answer = call.clone().below("/usr/bin/strace", &arguments).run();
    let text = std::fs::read_to_string(&output).expect("strace has written it");
    std::fs::remove_file(&output).expect("it is ours");
    (answer, Trace(text.lines().map(str::to_owned).collect()))
}

impl Trace {
    fn is_sync(line: &str) -> bool {
        line.contains(" fsync(") || line.contains(" fdatasync(")
    }

    fn syncs(&self) -> usize {
        self.0.iter().filter(|line| Self::is_sync(line)).count()
    }

    /// Where the last line is that has all of `parts`.
    fn last(&self, parts: &[&str]) -> Option<usize> {
        let has_all = |line: &String| parts.iter().all(|part| line.contains(part));
        self.0.iter().rposition(has_all)
    }

    /// That the answer is written after everything was synced that was written to the file or its log.
    #[track_caller]
    fn assert_durable(&self) {
        let answer = self.last(&[" write(1<"]).expect("it has answered");
        let write = self
            .last(&["pwrite64(", "/local.db"])
            .expect("it has written");
        let of_log = ["sync(", "/local.db-wal>"];
        let sync = self.last(&of_log).expect("it has synced the log");
        assert!(
            write < sync && sync < answer,
            "{write} {sync} {answer}:\n{}",
            self.0.join("\n")
        );
    }
}

fn del(network: &Network, pod: &Pod) -> Call {
    network.call("DEL", pod).variable("CNI_NETNS", "")
}

#[test]
fn an_answer_is_on_the_disk_and_what_only_reads_syncs_nothing() {
    let host = Host::new();
    let network = host.network("10.0.0.0/24");
    let pod = Pod::new("a");
    // The first makes the file.
    let (first, trace) = traced(&host, &network.call("ADD", &Pod::new("first")));
    assert_eq!(first.address(), "10.0.0.1/24");
    trace.assert_durable();
    let folder = format!("{}>", host.folder.path().display());
    let renamed = trace
        .last(&["rename("])
        .expect("it is made under another name");
    let synced = trace
        .last(&["sync(", "/local.db.new>"])
        .expect("it is whole before");
    assert!(synced < renamed);
    assert!(trace.last(&["fsync(", &folder]).expect("its name is kept") > renamed);

    let (added, trace) = traced(&host, &network.call("ADD", &pod));
    assert_eq!(added.address(), "10.0.0.2/24");
    trace.assert_durable();
    // The log, and the folder that has its name.
    assert_eq!(trace.syncs(), 2, "{}", trace.0.join("\n"));

    let (again, trace) = traced(&host, &network.call("ADD", &pod));
    assert_eq!(again.address(), "10.0.0.2/24");
    assert_eq!(trace.syncs(), 0, "{}", trace.0.join("\n"));

    let previous = network
        .clone()
        .config(serde_json::json!({"prevResult": added.result()}));
    for call in [
        previous.call("CHECK", &pod),
        network.call_without_pod("STATUS"),
    ] {
        let (answer, trace) = traced(&host, &call);
        answer.assert_silent();
        assert_eq!(trace.syncs(), 0, "{}", trace.0.join("\n"));
    }

    let (deleted, trace) = traced(&host, &del(&network, &pod));
    deleted.assert_silent();
    assert_eq!(trace.syncs(), 2, "{}", trace.0.join("\n"));
    let write = trace
        .last(&["pwrite64(", "/local.db-wal>"])
        .expect("it has written");
    assert!(
        trace
            .last(&["sync(", "/local.db-wal>"])
            .expect("it has synced")
            > write
    );

    let (nothing, trace) = traced(&host, &del(&network, &pod));
    nothing.assert_silent();
    assert_eq!(trace.syncs(), 0, "{}", trace.0.join("\n"));
}

#[test]
fn the_log_stays_short() {
    let host = Host::new();
    let network = host.network("10.0.0.0/22");
    for pod in crate::plugin::pods(120) {
        network.add(&pod).result();
    }
    let length = std::fs::metadata(host.log()).expect("it is there").len();
    assert!(length < 500_000, "{length} bytes");
    host.assert_at_rest(120);
}
