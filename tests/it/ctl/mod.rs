//! The operator's tool, end to end: the built binary, real etcd, and what stands there afterwards.

mod backup;
mod check;
mod gc;
pub(crate) mod hostile;
mod import;
mod install;
mod lint;
mod look;
mod migrate;
pub(crate) mod networks;
pub(crate) mod page;
mod powers;
mod queue;
mod release;
mod role;
mod source;
mod streams;
mod watch;

use serde_json::{Value, json};

use crate::plugin::{Answer, Call, Site};

/// The built tool.
pub(crate) use whereabouts_fixtures::binaries::tool as tool_binary;

/// How an execution of the tool ended.
pub(crate) const WELL: Option<i32> = Some(0);
pub(crate) const FOUND: Option<i32> = Some(1);
pub(crate) const FAILED: Option<i32> = Some(2);

/// A call of the tool with these arguments, which needs no etcd.
pub(crate) fn tool(arguments: &[&str]) -> Call {
    let call = Call::new().program(tool_binary());
    arguments
        .iter()
        .fold(call, |call, argument| call.argument(argument))
}

/// A call of the tool on what `site` has.
pub(crate) fn on(site: &Site, arguments: &[&str]) -> Call {
    let endpoints = site.access().endpoints.join(",");
    tool(arguments)
        .argument("--etcd-host")
        .argument(&endpoints)
        .argument("--etcd-prefix")
        .argument(&site.prefix)
}

/// The tool's answer about `site` in JSON. The tool must end well.
#[track_caller]
fn json_of(site: &Site, arguments: &[&str]) -> Value {
    let answer = on(site, arguments).argument("-o").argument("json").run();
    answer.result()
}

/// The first addresses of claims, in the order in which they are listed.
fn addresses(claims: &Value) -> Vec<&str> {
    let claims = claims.as_array().expect("claims are a list");
    let first = claims
        .iter()
        .map(|claim| claim["addresses"][0]["address"].as_str());
    first.map(|text| text.expect("a text")).collect()
}

/// That an execution ended so, and that what it says on either way has all of `parts`.
#[track_caller]
pub(crate) fn assert_said(answer: &Answer, exit_code: Option<i32>, parts: &[&str]) {
    assert_eq!(answer.exit_code, exit_code, "{answer:?}");
    let said = format!("{}{}", answer.stdout, answer.stderr);
    for part in parts {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn help_completions_and_wrong_arguments_need_no_etcd() {
    let help = tool(&["--help"]).run();
    let commands = [
        "ranges", "map", "claims", "show", "watch", "queue", "release", "gc", "check", "owners",
    ];
    assert_said(&help, WELL, &commands);
    assert_said(
        &help,
        WELL,
        &[
            "lint",
            "import",
            "backup",
            "restore",
            "install",
            "Exit status",
        ],
    );
    for shell in ["bash", "zsh", "fish"] {
        assert_said(
            &tool(&["completions", shell]).run(),
            WELL,
            &["whereaboutsctl", "ranges"],
        );
    }
    assert_said(&tool(&["paint"]).run(), FAILED, &["paint"]);
    assert_said(&tool(&["check"]).run(), FAILED, &["--etcd-host"]);
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path");
    assert_said(&tool(&["man-pages", path]).run(), WELL, &[]);
    let help = tool(&["--help"]).run().stdout;
    let (_, commands) = help.split_once("Commands:\n").expect("commands");
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let mut pages = 0;
    for name in names.filter(|name| !["", "help"].contains(name)) {
        let page = folder.path().join(format!("whereaboutsctl-{name}.1"));
        let page = std::fs::read_to_string(page).expect(name);
        assert!(page.contains("\n.SH DESCRIPTION\n"), "{page}");
        pages += 1;
    }
    assert!(pages > 15, "{pages} commands in {help}");
    assert!(folder.path().join("whereaboutsctl.1").exists(), "{path}");
    let nowhere = tool(&["man-pages", "/nowhere"]).run();
    assert_said(&nowhere, FAILED, &["/nowhere"]);
}

#[test]
fn an_etcd_that_is_not_there_is_exit_status_2() {
    let site = Site::shared();
    let dead = crate::support::dead_endpoint();
    for arguments in [
        &["ranges"][..],
        &["claims"],
        &["check"],
        &["queue"],
        &["map", "10.0.0.0/24"],
    ] {
        let call = tool(arguments).argument("--etcd-host").argument(&dead);
        assert_said(&call.run(), FAILED, &["etcd is not available"]);
    }
    drop(site);
}

#[test]
fn what_is_printed_as_json_is_printed_as_yaml_too() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&crate::plugin::Pod::new("c")).result();
    let yaml = on(&site, &["claims", "-o", "yaml"]).run();
    let parts = [
        "- addresses:",
        "address: \"10.0.0.1\"",
        "container: c",
        "interface: eth0",
    ];
    assert_said(&yaml, WELL, &parts);
    assert_eq!(json_of(&site, &["check"])["findings"], json!([]));
    assert_said(
        &on(&site, &["check", "-o", "yaml"]).run(),
        WELL,
        &["claims: 1", "findings: []"],
    );
}
