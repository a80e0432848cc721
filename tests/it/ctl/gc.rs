//! `gc`: what a node holds without need.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{FAILED, FOUND, WELL, assert_said, on};
use crate::plugin::{Call, Network, Pod, Site, pods};
use crate::support::poll;

const CIDR: &str = "10.0.0.0/24";

fn of_node(network: &Network, node: &str) -> Network {
    network.clone().ipam(json!({"node_name": node}))
}

fn list(pods: &[&Pod]) -> String {
    let entry = |pod: &&Pod| json!({"containerID": pod.container, "ifname": pod.interface});
    let valid: Vec<_> = pods.iter().map(entry).collect();
    json!({"name": "net", "cni.dev/valid-attachments": valid}).to_string()
}

#[test]
fn gc_shows_what_is_not_valid_asks_and_releases_it() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let pods = pods(3);
    for pod in &pods {
        network.add(pod).result();
    }
    of_node(&network, "node-2")
        .add(&Pod::new("theirs"))
        .result();
    network
        .clone()
        .config(json!({"name": "net-2"}))
        .add(&Pod::new("other"))
        .result();
    let gc = |more: &[&str]| {
        let arguments = [&["gc", "--node", "node-1", "--valid", "-"], more].concat();
        on(&site, &arguments).stdin(list(&[&pods[1]]))
    };
    let shown = gc(&["--dry-run"]).run();
    assert_said(
        &shown,
        WELL,
        &[
            "10.0.0.1",
            "10.0.0.3",
            "2 claims of node node-1 are not needed, 0",
        ],
    );
    for part in ["10.0.0.2 ", "theirs", "other"] {
        assert!(!shown.stderr.contains(part), "{shown:?}");
    }
    site.assert_at_rest(5);
    let unasked = gc(&[]).run();
    assert_said(&unasked, FOUND, &["--yes", "Nothing is changed"]);
    site.assert_at_rest(5);
    let done = gc(&["--yes"]).run();
    assert_said(&done, WELL, &["2 are released"]);
    site.assert_at_rest(3);
}

/// As libcni writes an empty list, under either of its keys.
#[test]
fn gc_takes_a_list_that_is_null_for_an_empty_one() {
    let site = Site::shared();
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        site.network(CIDR).add(&Pod::new("c")).result();
        let gc = on(&site, &["gc", "--node", "node-1", "--valid", "-", "--yes"]);
        let done = gc
            .stdin(format!(r#"{{"name": "net", "{key}": null}}"#))
            .run();
        assert_said(&done, WELL, &["1 is released"]);
        site.assert_at_rest(0);
    }
}

#[test]
fn gc_asks_before_it_releases() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("c")).result();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("valid");
    fs::write(&file, list(&[])).expect("the folder can be written");
    let file = file.to_str().expect("a path is text");
    let gc = ["gc", "--node", "node-1", "--valid", file];
    assert_said(
        &on(&site, &gc).stdin("n\n").run(),
        FOUND,
        &["[y/N]", "Nothing is changed"],
    );
    site.assert_at_rest(1);
    assert_said(&on(&site, &gc).stdin("y\n").run(), WELL, &["1 is released"]);
    site.assert_at_rest(0);
}

#[test]
fn a_list_that_is_absent_or_broken_collects_nothing() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("c")).result();
    let lists = [
        r#"{"name": "net"}"#,
        r#"{"name": "net", "cni.dev/valid-attachments": null, "cni.dev/attachments": [{}]}"#,
        r#"{"name": "net", "cni.dev/valid-attachments": [{"containerID": "x"}]}"#,
        r#"{"cni.dev/valid-attachments": []}"#,
        "",
    ];
    for list in lists {
        let gc = on(&site, &["gc", "--node", "node-1", "--valid", "-", "--yes"]).stdin(list);
        assert_said(&gc.run(), FAILED, &["-: "]);
    }
    assert_said(
        &on(&site, &["gc", "--node", "node-1"]).run(),
        FAILED,
        &["--valid"],
    );
    site.assert_at_rest(1);
}

/// A file where a runtime has a network namespace; it goes when the test lets go of it.
struct Netns(PathBuf);

impl Netns {
    fn make(name: &str) -> Self {
        fs::create_dir_all("/run/netns").expect("tests run as root");
        let path = PathBuf::from(format!("/run/netns/{name}"));
        fs::write(&path, "").expect("tests run as root");
        Self(path)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Whether it is there does not matter any more.
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn gc_by_network_namespaces_spares_what_lives_what_is_young_and_what_cannot_be_judged() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let mark = format!("whereabouts-{}", std::process::id());
    let pod = |name: &str, netns: &str| {
        let mut pod = Pod::new(name);
        netns.clone_into(&mut pod.netns);
        pod
    };
    let living = Netns::make(&mark);
    let netns = living.0.to_str().expect("a path is text");
    // An empty folder tells nothing.
    let _other = Netns::make(&format!("{mark}-other"));
    let gone = format!("/run/netns/{mark}-gone");
    let variants = [
        pod("living", netns),
        pod("living-by-other-path", &format!("/var{netns}")),
        pod("gone", &gone),
        pod("gone-by-other-path", &format!("/var{gone}")),
        pod("process", "/proc/4000000/ns/net"),
        pod("elsewhere", "/tmp/gone"),
    ];
    for pod in &variants {
        network.add(pod).result();
    }
    of_node(&network, "node-2")
        .add(&pod("theirs", &gone))
        .result();
    let gc = |more: &[&str]| {
        let arguments = [&["gc", "--netns", "--node", "node-1"], more].concat();
        on(&site, &arguments).run()
    };
    assert_said(
        &gc(&["--yes"]),
        WELL,
        &[
            "0 claims of node node-1 are not needed",
            "2 claims without a network namespace spared: younger than 10m (--grace)",
        ],
    );
    let done = gc(&["--grace", "0s", "--yes"]);
    assert_said(&done, WELL, &["10.0.0.3", "10.0.0.4", "2 are released"]);
    site.assert_at_rest(5);
    drop(living);
    assert_said(&gc(&["--grace", "0s", "--yes"]), WELL, &["2 are released"]);
    site.assert_at_rest(3);
}

/// A container that is restarted after a power failure keeps its id, and is not of the earlier boot any more.
#[test]
fn gc_by_network_namespaces_takes_what_is_of_an_earlier_boot_at_once() {
    let site = Site::shared();
    let place = tempfile::tempdir().expect("a temporary folder");
    let booted = |number: u8| {
        let path = place.path().join(number.to_string());
        let id = format!("0000000{number}-0000-4000-8000-000000000000\n");
        fs::write(&path, id).expect("a temporary folder takes files");
        path.to_str().expect("a path is text").to_owned()
    };
    let (before, now) = (booted(1), booted(2));
    let network = |boot: &str| site.network(CIDR).ipam(json!({"boot_id_path": boot}));
    let living = Netns::make(&format!("whereabouts-{}-boot", std::process::id()));
    let pod = |name: &str| {
        let mut pod = Pod::new(name);
        living
            .0
            .to_str()
            .expect("a path is text")
            .clone_into(&mut pod.netns);
        pod
    };
    let (lost, restarted) = (pod("lost"), pod("restarted"));
    for pod in [&lost, &restarted] {
        network(&before).add(pod).result();
    }
    of_node(&network(&before), "node-2")
        .add(&pod("theirs"))
        .result();
    let held = network(&before).add(&restarted);
    let renewed = network(&now).add(&restarted);
    assert_eq!(renewed.result(), held.result(), "the same again");
    network(&now).add(&pod("new")).result();
    let gc = |more: &[&str]| {
        let gc = [
            "gc", "--netns", "--node", "node-1", "--yes", "--grace", "1h",
        ];
        on(&site, &[&gc, more].concat()).run()
    };
    // By the kernel's own id all of them are of an earlier boot, so it is not asked.
    let found = gc(&["--boot-id-path", &now]);
    assert_said(&found, WELL, &["10.0.0.1", "1 is released"]);
    site.assert_at_rest(3);
    assert_said(&gc(&["--boot-id-path", &now]), WELL, &["0 are released"]);
    let file = place.path().join("3");
    fs::write(&file, "none\n").expect("a temporary folder takes files");
    let path = file.to_str().expect("a path is text");
    let part = format!("--boot-id-path {path}: \"none\" is not a UUID");
    assert_said(&gc(&["--boot-id-path", path]), FAILED, &[&part]);
    site.assert_at_rest(3);
}

/// A name that no folder can have is one of the errors that a stat may end with.
#[test]
fn gc_by_network_namespaces_keeps_what_it_cannot_judge_and_says_so() {
    let site = Site::shared();
    let _other = Netns::make(&format!("whereabouts-{}-unjudged", std::process::id()));
    let mut pod = Pod::new("living");
    pod.netns = format!("/run/netns/{}", "a".repeat(300));
    site.network(CIDR).add(&pod).result();
    let gc = [
        "gc", "--netns", "--node", "node-1", "--grace", "0s", "--yes",
    ];
    let parts = [
        "not released: 1 claim",
        "/run/netns: File name too long",
        "0 are released",
    ];
    assert_said(&on(&site, &gc).run(), FOUND, &parts);
    site.assert_at_rest(1);
}

#[test]
fn gc_by_network_namespaces_takes_no_folder_for_the_nodes_that_is_empty_or_none() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("living")).result();
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path().to_str().expect("a path is text");
    let endpoints = site.access().endpoints.join(",");
    for (prepare, exit_code, part) in [
        // Another folder in place of the node's, as in a container that does not mount it.
        ("mount --bind \"$1\" /run/netns", FOUND, "nothing is in it"),
        (
            "mount -t tmpfs none /run && touch /run/netns",
            FAILED,
            "/run/netns: Not a directory",
        ),
        (
            "mount -t tmpfs none /run",
            FAILED,
            "/run/netns: No such file",
        ),
    ] {
        let gc = "shift; exec \"$@\" gc --netns --node node-1 --grace 0s --yes";
        let call = Call::new().program("/usr/bin/unshare").argument("--mount");
        let call = call.variable("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let script = format!(
            "{prepare} && {gc} --etcd-host {endpoints} --etcd-prefix {}",
            site.prefix
        );
        let script = ["bash", "-c", &script, "bash", place, super::tool_binary()];
        let call = script.iter().fold(call, |call, one| call.argument(one));
        assert_said(&call.run(), exit_code, &[part]);
        site.assert_at_rest(1);
    }
}

#[test]
fn the_reaper_stays_collects_what_comes_later_and_ends_when_told() {
    let site = Site::shared();
    // An empty folder tells nothing.
    let _other = Netns::make(&format!("whereabouts-{}-reaper", std::process::id()));
    let reaper = std::process::Command::new(super::tool_binary())
        .args([
            "gc", "--netns", "--node", "node-1", "--grace", "0s", "--yes", "--every", "50ms",
        ])
        .args(["--etcd-host", &site.access().endpoints.join(",")])
        .args(["--etcd-prefix", &site.prefix])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let network = site.network(CIDR);
    for container in ["reaped-first", "reaped-later"] {
        network.add(&Pod::new(container)).result();
        poll("it is collected", || {
            (site.audit().claims == 0).then_some(())
        });
    }
    kill_process(Pid::from_child(&reaper), Signal::TERM).expect("it was not waited for");
    let ended = reaper.wait_with_output();
    let ended = ended.expect("a child can be waited for");
    assert!(ended.status.success(), "{}", ended.status);
    let said = String::from_utf8(ended.stderr).expect("text");
    assert!(said.contains("reaped-later"), "{said}");
    for line in said.lines() {
        let stamp = line.split(' ').next().expect("a word");
        let stamp = humantime::parse_rfc3339(stamp);
        assert!(stamp.is_ok(), "no time before {line:?}");
    }
    site.assert_at_rest(0);
}
