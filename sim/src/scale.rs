//! The demand of a cluster on etcd and on the API server, computed from counts. docs/SCALE.md shows the table.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Sizes of clusters, in nodes.
const NODES: [f64; 3] = [100.0, 1_000.0, 5_000.0];

/// Pods of a node.
const PODS: f64 = 30.0;

/// Parts of all pods that end, and start anew, in a second: 1 % a minute.
const CHURN: f64 = 0.01 / 60.0;

/// Requests and commits of an ADD and of a DEL that meet no other (docs/PERFORMANCE.md, "What an operation costs").
const ADD: (f64, f64) = (2.0, 1.0);
const DEL: (f64, f64) = (3.0, 1.0);

/// Requests and commits of an ADD among 256 at one range (docs/PERFORMANCE.md, "One range").
const BUSY_ADD: (f64, f64) = (3.99, 1.42);

/// Bytes of messages of an ADD and of a DEL alone, with 1,000 claims in the range. docs/PERFORMANCE.md has them in the
/// last paragraph of "What an operation costs".
const ADD_BYTES: f64 = 1_389.0 + 258.0;
const DEL_BYTES: f64 = 2_479.0;

/// Bytes of messages of an ADD among 64 (docs/PERFORMANCE.md, "Peers in one run").
const BUSY_ADD_BYTES: f64 = 4_529.0;

/// ADDs a second of one etcd on two cores that it shares with 256 clients of one range (docs/PERFORMANCE.md, "One
/// range"): the lowest of the medians up to 256 clients.
const BUSY_ADDS_A_SECOND: f64 = 758.0;

/// Bytes of the keys and values of a claim and of its key by its node. The test counts them.
const CLAIM_BYTES: f64 = 392.0;

/// Seconds between two runs of a reaper (`--reap 10m` in the DaemonSet), and requests of a run for up to 100 claims.
const REAP_EVERY: f64 = 600.0;
const REAP_REQUESTS: f64 = 2.0;

/// Seconds between two rounds of the controller (`--every`), and claims of one page of its listing
/// (`limits::CLAIMS_PER_PAGE`).
const ROUND_EVERY: f64 = 30.0;
const PAGE: f64 = 1_000.0;

/// Seconds between two questions of kubelet for the state of its runtime (`updateRuntimeUp`, pkg/kubelet/kubelet.go). A
/// containerd that asks for STATUS does so each time, and STATUS is one serializable read.
const STATUS_EVERY: f64 = 5.0;

/// Requests to the API server for the Lease: each of two replicas looks at it, and the leader renews it, every 8 s.
const LEASE_REQUESTS: f64 = 3.0 / 8.0;

/// One row: its name, and its value for so many nodes.
type Row = (&'static str, fn(f64) -> f64);

const AT_REST: &[Row] = &[
    ("agents: reads a second", agents),
    ("controller: reads a second", |_| 1.0 / ROUND_EVERY),
    ("STATUS, primary network alone: reads a second", |nodes| {
        nodes / STATUS_EVERY
    }),
    ("commits a second", |_| 0.0),
    ("MB of keys and values", |nodes| {
        pods(nodes) * CLAIM_BYTES / 1e6
    }),
];

const CHURNING: &[Row] = &[
    ("ADDs, and as many DELs, a second", churn),
    ("requests a second of ADD and DEL", |nodes| {
        churn(nodes) * (ADD.0 + DEL.0)
    }),
    ("commits a second", |nodes| churn(nodes) * (ADD.1 + DEL.1)),
    ("kB a second of ADD and DEL", |nodes| {
        churn(nodes) * (ADD_BYTES + DEL_BYTES) / 1e3
    }),
    ("controller: reads a second", |nodes| {
        (1.0 + (pods(nodes) / PAGE).ceil()) / ROUND_EVERY
    }),
    ("controller: kB a second", |nodes| {
        pods(nodes) * CLAIM_BYTES / ROUND_EVERY / 1e3
    }),
    ("agents: reads a second", agents),
];

const AT_ONCE: &[Row] = &[
    ("ADDs", pods),
    ("requests", |nodes| pods(nodes) * BUSY_ADD.0),
    ("commits", |nodes| pods(nodes) * BUSY_ADD.1),
    ("MB of messages", |nodes| pods(nodes) * BUSY_ADD_BYTES / 1e6),
    ("seconds on two cores", |nodes| {
        pods(nodes) / BUSY_ADDS_A_SECOND
    }),
];

const API_SERVER: &[Row] = &[
    ("plugin and agents: requests a second", |_| 0.0),
    ("controller: requests a second for the Lease", |_| {
        LEASE_REQUESTS
    }),
    ("controller: Pod objects that its watch follows", pods),
];

/// The counts of an ADD alone that a simulation can repeat: requests, commits, and bytes of keys and values.
pub fn counts_of_an_add() -> (f64, f64, f64) {
    (ADD.0, ADD.1, CLAIM_BYTES)
}

const PARTS: [(&str, &[Row]); 4] = [
    ("etcd, at rest", AT_REST),
    ("etcd, 1 % of the pods anew each minute", CHURNING),
    ("etcd, all pods at once", AT_ONCE),
    ("API server, in each case", API_SERVER),
];

/// The table, as JSON: a list for each row, with a number for each size.
pub fn to_json() -> Value {
    let row = |(name, value): &Row| ((*name).to_owned(), json!(NODES.map(value)));
    let part = |(title, rows): (&str, &[Row])| {
        let rows: serde_json::Map<String, Value> = rows.iter().map(row).collect();
        (title.to_owned(), Value::Object(rows))
    };
    let parts: serde_json::Map<String, Value> = PARTS.into_iter().map(part).collect();
    json!({ "nodes": NODES, "pods_of_a_node": PODS, "parts": parts })
}

fn pods(nodes: f64) -> f64 {
    nodes * PODS
}

fn churn(nodes: f64) -> f64 {
    pods(nodes) * CHURN
}

fn agents(nodes: f64) -> f64 {
    nodes * REAP_REQUESTS * (PODS / 100.0).ceil() / REAP_EVERY
}

/// The table, as Markdown.
pub fn table() -> String {
    let mut table =
        String::from("| | 100 nodes | 1,000 nodes | 5,000 nodes |\n| --- | ---: | ---: | ---: |\n");
    for (title, rows) in PARTS {
        let _ = writeln!(table, "| **{title}** | | | |");
        for (name, value) in rows {
            let cells = NODES.map(|nodes| shown(value(nodes)));
            let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
        }
    }
    table
}

/// A number with the digits that its counts bear.
fn shown(value: f64) -> String {
    if value < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
