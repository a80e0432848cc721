//! Requirements on docs/CONFIG.md: it has every key, and its examples are true.

use serde_json::{Value, json};

use super::super::json::asked;
use super::super::sample::{Sample, assert_found, show};
use super::{FILE_KEYS, full, plain};
use crate::invocation::fake::FakeMachine;
use crate::request::{Parsed, RequestError};

const DOCUMENT: &str = include_str!("../../../../docs/CONFIG.md");

/// A fenced block: the text after the fence, and the text of the block.
struct Block<'d> {
    info: &'d str,
    text: String,
}

fn blocks() -> Vec<Block<'static>> {
    let mut blocks = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let inner = lines.by_ref().take_while(|line| !line.starts_with("```"));
            let text = inner.collect::<Vec<_>>().join("\n");
            blocks.push(Block { info, text });
        }
    }
    blocks
}

fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let inner = |line: &'static str| line.strip_prefix('|')?.strip_suffix('|');
    let rows = DOCUMENT.lines().filter_map(inner);
    rows.map(|row| row.split('|').map(str::trim).collect())
}

/// The text in the first backticks of a cell.
fn quoted(cell: &str) -> Option<&str> {
    let (quoted, _) = cell.strip_prefix('`')?.split_once('`')?;
    Some(quoted)
}

/// A machine with all files that the document names, with the right modes.
fn machine(flat_file: Option<&str>) -> FakeMachine {
    let pem = "-----BEGIN CERTIFICATE-----";
    let kubeconfig = r#"{"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.96.0.1"}}], "users": [{"name": "u", "user": {}}]}"#;
    let machine = FakeMachine::default()
        .named("node-1")
        .with("/etc/whereabouts/ca.crt", 0o644, pem)
        .with("/etc/whereabouts/client.crt", 0o644, pem)
        .with("/etc/whereabouts/client.key", 0o600, pem)
        .with(
            "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig",
            0o600,
            kubeconfig,
        )
        .with("/etc/whereabouts/password", 0o600, "hunter2\n");
    match flat_file {
        Some(text) => {
            let path = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";
            machine.with(path, 0o600, text)
        }
        None => machine,
    }
}

/// What Kubernetes says of a pod.
const POD: &str = "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0";

/// The outcome of an ADD of `config`, and its remarks.
fn add(config: &str, flat_file: Option<&str>) -> Result<String, RequestError> {
    let mut sample = Sample::of("ADD").variable("CNI_ARGS", POD);
    sample.config = serde_json::from_str(config).expect("an example is JSON");
    sample.machine = machine(flat_file);
    let show = |parsed: Parsed| {
        let remarks = parsed.remarks.into_iter().map(|remark| remark.text);
        remarks.collect::<Vec<_>>().join("\n")
    };
    sample.parsed().map(show)
}

#[test]
fn every_example_is_a_good_config_or_the_error_that_follows_it() {
    let blocks = blocks();
    let mut flat_file = None;
    let mut after = blocks.iter().skip(1);
    let mut examples = 0;
    for block in &blocks {
        let next = after.next().filter(|next| next.info == "text");
        let found = match block.info {
            "json" => add(&block.text, None),
            "json with-flat-file" => add(&block.text, flat_file),
            "json flat-file" => {
                flat_file = Some(block.text.as_str());
                continue;
            }
            "text" => continue,
            other => panic!("a block of {other:?}"),
        };
        let expected = next.map_or(Ok(""), |error| Err((7, error.text.as_str())));
        assert_found(found, expected);
        examples += 1;
    }
    assert!(examples >= 8, "{examples} examples");
}

#[test]
fn every_documented_range_gives_what_is_documented() {
    let mut ranges = 0;
    for row in rows() {
        let [keys, gives] = row.as_slice() else {
            continue;
        };
        let (Some(keys), Some(gives)) = (quoted(keys), quoted(gives)) else {
            continue;
        };
        let Ok(keys @ Value::Object(_)) = serde_json::from_str(keys) else {
            continue;
        };
        let add = Sample::of("ADD").ipam(keys).add().expect("a good range");
        let wants = add.ask.expect("it has a range").wants;
        let found = show(&wants);
        let (_, intervals) = found.split_once(' ').expect("a CIDR and intervals");
        assert_eq!(intervals, gives);
        ranges += 1;
    }
    assert!(ranges >= 10, "{ranges} ranges");
}

/// The keys that any verb reads, in any place.
fn every_asked_key() -> Vec<&'static str> {
    asked::taken();
    let runtime = json!({"dns": {}, "ipRanges": [{"subnet": "10.9.0.0/24"}]});
    let valid = json!([{"containerID": "c1", "ifname": "eth0"}]);
    let previous = json!({"ips": [{"address": "10.0.0.5/24"}], "ip4": {"ip": "10.0.0.5/24"}});
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let sample = full(verb).config(json!({
            "runtimeConfig": runtime, "args": {"cni": {}}, "prevResult": previous,
            "cni.dev/valid-attachments": valid}));
        sample.parsed().expect("a good config");
    }
    asked::taken().into_iter().collect()
}

#[test]
fn every_key_is_documented() {
    let keys = every_asked_key();
    for known in FILE_KEYS
        .into_iter()
        .chain(["range", "scope", "subnet", "ip6"])
    {
        assert!(keys.contains(&known), "{known} is asked for");
    }
    for key in keys {
        assert!(
            DOCUMENT.contains(&format!("`{key}`")),
            "{key} is not documented"
        );
    }
}

#[test]
fn every_example_value_of_a_key_is_a_good_one() {
    let mut values = 0;
    for row in rows().filter(|row| row.len() == 6) {
        let (Some(key), Some(value)) = (quoted(row[0]), quoted(row[4])) else {
            continue;
        };
        let value: Value = serde_json::from_str(value).expect("an example is JSON");
        let mut sample = plain("ADD")
            .variable("CNI_ARGS", POD)
            .ipam(json!({key: value}));
        sample.machine = machine(None).with("/etc/whereabouts.conf", 0o600, "{}");
        let boot = "01234567-89ab-cdef-0123-456789abcdef\n";
        sample.machine = sample.machine.with("/run/boot-id", 0o644, boot);
        let partner = match key {
            "etcd_username" => json!({"etcd_password": "x"}),
            "etcd_password_file" => json!({"etcd_username": "x"}),
            "etcd_cert_file" => json!({"etcd_key_file": "/etc/whereabouts/client.key"}),
            "etcd_key_file" => json!({"etcd_cert_file": "/etc/whereabouts/client.crt"}),
            _ => json!({}),
        };
        if let Err(error) = sample.ipam(partner).parsed() {
            panic!("{key}: {}", error.details());
        }
        values += 1;
    }
    assert!(values >= 25, "{values} values");
}

#[test]
fn every_code_of_an_error_is_documented() {
    let documented: Vec<&str> = rows().filter_map(|row| row.first().copied()).collect();
    for code in [
        1, 4, 5, 6, 7, 11, 50, 100, 101, 102, 103, 104, 105, 106, 107, 108,
    ] {
        assert!(documented.contains(&code.to_string().as_str()), "{code}");
    }
}
