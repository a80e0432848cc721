//! `lint`: configs of all shapes, without etcd and with it.

mod real;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{FAILED, FOUND, WELL, assert_said, on, tool};
use crate::attacks::fuzz::mutations;
use crate::plugin::{Pod, Site};

fn lint(text: &str) -> crate::plugin::Answer {
    tool(&["lint", "-"]).stdin(text).run()
}

fn config(ipam: &Value) -> String {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "ipam": ipam}).to_string()
}

#[test]
fn a_right_config_is_well_and_its_capacity_is_told() {
    let right = json!({"type": "whereabouts", "etcd_host": "a", "range": "10.0.0.0/24"});
    assert_said(
        &lint(&config(&right)),
        WELL,
        &["range 10.0.0.0/24", "gives 254 addresses"],
    );
    // The nodes' flat file may say where etcd is.
    let without = json!({"type": "whereaboots", "range": "10.0.0.0/24"});
    assert_said(
        &lint(&config(&without)),
        WELL,
        &["warning: ipam.etcd_host", "flat file"],
    );
}

#[test]
fn every_error_of_a_config_is_told_at_once() {
    let wrong = json!({
        "type": "whereabouts", "etcd_host": "a", "range": "10.0.0.0/24", "rangeStart": "10.0.0.5",
        "exclude": ["10.9.0.0/24"], "timeout": "soon",
    });
    let parts = [
        "error: ",
        "ipam.rangeStart",
        "ipam.timeout",
        "warning: ipam.exclude[0]: \"10.9.0.0/24\" is outside",
    ];
    assert_said(&lint(&config(&wrong)), FOUND, &parts);
}

#[test]
fn lists_of_plugins_and_network_attachment_definitions_are_looked_into() {
    let list = json!({"cniVersion": "1.0.0", "name": "list", "plugins": [
        {"type": "tuning"},
        {"type": "bridge", "ipam": {"type": "whereabouts", "etcd_host": "a", "range": "10.0.0.0/33"}},
    ]});
    assert_said(
        &lint(&list.to_string()),
        FOUND,
        &["plugins[1]", "10.0.0.0/33"],
    );
    let definitions = r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: one, namespace: default}
spec:
  config: |
    {"cniVersion": "1.0.0", "type": "macvlan",
     "ipam": {"type": "whereabouts", "etcd_host": "a", "range": "10.0.0.0/16"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: two}
spec:
  config: '{"type": "x", "ipam": {"type": "whereabouts", "etcd_host": "a", "range": "10.0.3.0/24"}}'
"#;
    let parts = [
        "one",
        "two",
        "range 10.0.0.0/16",
        "share addresses",
        "10.0.3.0/24",
    ];
    assert_said(&lint(definitions), WELL, &parts);
}

#[test]
fn without_whereabouts_there_is_a_note_and_what_cannot_be_read_is_exit_status_2() {
    for text in [
        "",
        "# nothing\n---\n",
        "{}",
        "kind: Pod",
        r#"{"name": "n", "type": "bridge"}"#,
        r#"[{"kind": "List", "items": []}]"#,
    ] {
        assert_said(&lint(text), WELL, &["note: nothing for whereabouts"]);
    }
    for text in ["[1, 2", "[1]", "{nope}", "nope", "a: [", "a: 1\n b: 2"] {
        assert_said(&lint(text), FAILED, &["error: "]);
    }
}

/// The inputs of the folder beside this file.
fn inputs() -> PathBuf {
    whereabouts_fixtures::binaries::top().join("tests/it/ctl/lint/inputs")
}

/// The findings of a file, but for a missing etcd_host, which the nodes' flat file has.
fn said_of(path: &Path) -> String {
    let path = path.to_str().expect("a path is text");
    let folder = format!("{}/", inputs().display());
    let answer = tool(&["lint", path]).run();
    let stdout = answer.stdout.replace(&folder, "");
    let lines = stdout
        .lines()
        .filter(|line| !line.contains("ipam.etcd_host is missing"));
    let status = format!("exit status {}", answer.exit_code.expect("it has ended"));
    let lines: Vec<&str> = [status.as_str()].into_iter().chain(lines).collect();
    lines.join("\n") + "\n"
}

#[test]
fn each_input_has_the_findings_that_stand_beside_it() {
    let entries = fs::read_dir(inputs()).expect("there are inputs");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_none_or(|extension| extension != "expected")
    });
    assert!(paths.len() >= 15, "{paths:?}");
    for path in paths {
        let expected = fs::read_to_string(format!("{}.expected", path.display()));
        let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(said_of(&path), expected, "{}", path.display());
        assert_json_and_yaml_say_the_same(&path);
    }
}

fn assert_json_and_yaml_say_the_same(path: &Path) {
    let run = |output: &str| tool(&["lint", path.to_str().expect("text"), "-o", output]).run();
    let (table, json, yaml) = (run("table"), run("json"), run("yaml"));
    let mut text = String::new();
    for report in json.json().as_array().expect("a list") {
        let word = |value: &Value| value.as_str().expect("a text").to_owned();
        text.extend([word(&report["config"]), "\n".to_owned()]);
        for kind in ["error", "warning", "note"] {
            let lines = report[format!("{kind}s")]
                .as_array()
                .expect("a list")
                .iter();
            text.extend(lines.map(|line| format!("  {kind}: {}\n", word(line))));
        }
    }
    assert_eq!(text, table.stdout);
    let value: Value = serde_saphyr::from_str(&yaml.stdout).expect("it is YAML");
    assert_eq!(value, json.json());
    assert_eq!([json.exit_code, yaml.exit_code], [table.exit_code; 2]);
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other_and_none_is_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let well = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
    fs::write(path("binary"), [0x7f, b'E', b'L', b'F', 0xff, 0xfe]).expect("a new file");
    fs::write(path("zeros"), [0; 512]).expect("a new file");
    fs::write(path("well"), config(&well)).expect("a new file");
    fs::write(path("empty"), "").expect("a new file");
    rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RWXU).expect("a FIFO");
    let names = ["binary", "zeros", "fifo", "absent", "well", "empty"];
    let mut call = tool(&["lint"]).argument(&path(""));
    for name in names {
        call = call.argument(&path(name));
    }
    let answer = call.run();
    let parts = [
        "error: it is a folder",
        "binary\n  error: it is not text in UTF-8",
        "zeros\n  error: ",
        "fifo\n  error: it is not a regular file",
        "absent\n  error: No such file",
        "range 10.0.0.0/24",
        "empty\n  note: nothing for whereabouts: there is nothing in it",
    ];
    assert_said(&answer, FAILED, &parts);
    assert_said(
        &tool(&["lint", &path("well"), &path("empty")]).run(),
        WELL,
        &[],
    );
}

#[test]
fn a_pipe_that_the_shell_has_opened_is_read() {
    let well = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
    for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let answer = tool(&["lint", path]).stdin(config(&well)).run();
        assert_said(&answer, WELL, &[path, "gives 254 addresses"]);
    }
}

#[test]
fn a_file_may_be_large() {
    let definition = |number: usize| {
        let ipam = json!({"type": "whereabouts", "range": format!("10.{number}.0.0/16")});
        json!({
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": format!("n{number}"), "annotations": {"text": "x ".repeat(50_000)}},
            "spec": {"config": config(&ipam)},
        })
    };
    let items: Vec<Value> = (0..50).map(definition).collect();
    let list = json!({"kind": "List", "items": items});
    for text in [
        list.to_string(),
        serde_saphyr::to_string(&list).expect("it is YAML"),
    ] {
        assert!(text.len() > 5_000_000);
        assert_said(&lint(&text), WELL, &["n0\n", "n49\n", "range 10.49.0.0/16"]);
    }
}

#[test]
fn control_characters_of_a_file_reach_no_terminal() {
    let bad = "\u{1b}[2J\u{7}\r\n\u{9b}";
    let config = json!({
        "name": "net", "type": format!("x{bad}"),
        "ipam": {"type": "whereabouts", "range": bad, format!("key{bad}"): 1},
    });
    let other = json!({"type": bad, "ipam": {"type": bad}});
    for config in [config, other] {
        let definition = json!({
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": bad, "namespace": bad},
            "spec": {"config": config.to_string()},
        });
        let answer = lint(&definition.to_string());
        let found = answer
            .stdout
            .chars()
            .find(|one| one.is_control() && *one != '\n');
        assert_eq!(found, None, "{answer:?}");
        assert!(answer.stdout.contains(r"\u{1b}[2J"), "{answer:?}");
        let is_line = |line: &str| line.starts_with("-: ") || line.starts_with("  ");
        assert!(answer.stdout.lines().all(is_line), "{answer:?}");
    }
}

/// Something that is wrong wherever it stands.
fn anywhere(value: &Value) -> Vec<Value> {
    let text = value.to_string();
    let resource = |kind: &str, spec: Value| json!({"kind": kind, "metadata": value, "spec": spec});
    let networks = json!([
        value, {"type": value}, {"type": "Raw", "rawCNIConfig": value},
        {"type": "Raw", "rawCNIConfig": text}, {"type": "SimpleMacvlan", "simpleMacvlanConfig": value},
    ]);
    let ours = |keys: Value| {
        let mut config =
            json!({"name": "n", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24"}});
        let keys = keys.as_object().expect("keys").clone();
        config.as_object_mut().expect("an object").extend(keys);
        config
    };
    vec![
        json!([value]),
        json!({"kind": "List", "items": [value], "metadata": value}),
        json!({"kind": "List", "items": value}),
        json!({"kind": value, "items": [value]}),
        resource("NetworkAttachmentDefinition", value.clone()),
        resource("NetworkAttachmentDefinition", json!({"config": value})),
        resource("NetworkAttachmentDefinition", json!({"config": text})),
        resource("MacvlanNetwork", json!({"ipam": value, "master": value})),
        resource("SriovNetwork", json!({"ipam": text, "vlan": value})),
        resource("Network", json!({"additionalNetworks": networks})),
        json!({"kind": "ConfigMap", "data": value}),
        json!({"kind": "ConfigMap", "data": {"a": value, "b": text}}),
        json!({"name": "n", "plugins": value}),
        json!({"name": "n", "plugins": [value, {"ipam": value}, ours(json!({"type": value}))]}),
        json!({"name": "n", "delegates": [value, ours(json!({"plugins": [value]}))]}),
        ours(
            json!({"type": "bridge", "isGateway": value, "isDefaultGateway": value, "vlan": value}),
        ),
        ours(json!({"type": "macvlan", "master": value, "cniVersion": value})),
        ours(json!({"ipam": {"type": "whereabouts", "routes": value, "gateway": value}})),
    ]
}

#[test]
fn whatever_a_file_has_its_places_and_findings_are_told_line_by_line() {
    let entries = fs::read_dir(inputs()).expect("there are inputs");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let read = |path: &PathBuf| fs::read(path).expect("an input");
    let seeds: Vec<Vec<u8>> = paths.iter().map(read).collect();
    let values = [
        json!(null),
        json!(true),
        json!(1e308),
        json!("\u{1b}["),
        json!([[]]),
        json!({}),
    ];
    let wrong = values
        .iter()
        .flat_map(anywhere)
        .map(|value| value.to_string().into_bytes());
    let deep = [
        "[".repeat(100_000),
        "- ".repeat(100_000),
        "a: [".repeat(5_000),
    ];
    let deep = deep.into_iter().map(String::into_bytes);
    for input in wrong.chain(deep).chain(mutations(&seeds).take(150)) {
        let answer = tool(&["lint", "-"]).stdin(input.as_slice()).run();
        let is_line = |line: &str| {
            let is_finding = ["  error: ", "  warning: ", "  note: "]
                .iter()
                .any(|start| line.starts_with(start));
            is_finding || line.starts_with('-')
        };
        let is_well = [WELL, FOUND, FAILED].contains(&answer.exit_code)
            && answer.stderr.is_empty()
            && answer.stdout.lines().all(is_line)
            && !answer
                .stdout
                .contains(|one: char| one.is_control() && one != '\n');
        assert!(is_well, "{}: {answer:?}", input.escape_ascii());
    }
}

#[test]
fn other_commands_take_the_same_inputs_and_tell_of_what_they_could_not_read() {
    let site = Site::shared();
    let list = inputs().join("list-with-a-broken-one.yaml");
    let list = list.to_str().expect("a path is text");
    let parts = [
        "10.60.0.0/24",
        "10.60.0.16/28",
        "team-a/broken: spec.config is not JSON",
    ];
    assert_said(
        &on(&site, &["ranges", "--config", list]).run(),
        FOUND,
        &parts,
    );
    let map = on(&site, &["map", "10.60.0.16/28", "--config", list]).run();
    assert_said(&map, FOUND, &["-..............-", "team-a/broken"]);
    let shim = inputs().join("multus-shim.conf");
    let shim = shim.to_str().expect("a path is text");
    let none = on(&site, &["ranges", "--config", shim]).run();
    assert_said(&none, FAILED, &["has no config that uses whereabouts"]);
}

#[test]
fn with_etcd_what_is_in_use_is_compared() {
    let site = Site::shared();
    site.network("10.0.0.0/24").add(&Pod::new("c")).result();
    let config = |keys: Value| {
        let network = site.without_range().ipam(keys);
        on(&site, &["lint", "-"]).stdin(network.json()).run()
    };
    let same = config(json!({"range": "10.0.0.0/24"}));
    assert_said(&same, WELL, &["1 of 254 addresses are taken, 253 are free"]);
    let inside = config(json!({"range": "10.0.0.0/16"}));
    assert_said(
        &inside,
        WELL,
        &["1 of 65279", "range 10.0.0.0/24", "share addresses"],
    );
    let other = config(json!({"range": "10.0.0.0/24", "network_name": "red"}));
    assert_said(
        &other,
        WELL,
        &[
            "warning: ",
            "different pools: an address can be given twice",
        ],
    );
    let full = config(json!({"range": "10.0.0.1-10.0.0.1/24"}));
    assert_said(&full, WELL, &["warning: range 10.0.0.0/24", "0 are free"]);
}

#[test]
fn the_samples_of_the_deployment_are_well() {
    let folder = whereabouts_fixtures::binaries::top().join("deploy/samples");
    let samples = std::fs::read_dir(&folder).expect("there are samples");
    let paths: Vec<String> = samples
        .map(|entry| entry.expect("a folder can be read").path())
        .map(|path| path.to_str().expect("a path is text").to_owned())
        .collect();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let answer = tool(&["lint", &path, "-o", "json"]).run();
        assert_said(&answer, WELL, &["ranges"]);
    }
}
