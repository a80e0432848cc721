//! The tool on a file.

use serde_json::json;

use super::{Host, number};
use crate::ctl::{FAILED, FOUND, WELL, assert_said};
use crate::plugin::{Pod, Site, pods};

#[test]
fn the_tool_shows_and_releases_what_is_in_a_file() {
    let host = Host::new();
    let network = host.network("10.0.0.0/24");
    for pod in pods(5) {
        network.add(&pod).result();
    }
    let ranges = host.json(&["ranges"]);
    assert_eq!(ranges[0]["taken"], json!("5"));
    assert_said(
        &host.tool(&["map", "10.0.0.0/24"]).run(),
        WELL,
        &["5 addresses are taken"],
    );
    assert_said(&host.tool(&["show", "10.0.0.3"]).run(), WELL, &["c2"]);
    assert_said(
        &host.tool(&["show", "10.0.0.9"]).run(),
        FOUND,
        &["Nobody holds"],
    );
    let released = host.tool(&["release", "10.0.0.3", "--yes"]).run();
    assert_said(&released, WELL, &["released 10.0.0.3"]);
    assert_eq!(number(&network.add(&Pod::new("new"))), 3);
    let whose = host.tool(&["cluster"]).run();
    assert_said(&whose, WELL, &["local.db are those of no cluster"]);
    host.assert_at_rest(5);
}

#[test]
fn what_is_bound_to_etcd_says_so_of_a_file() {
    let host = Host::new();
    host.network("10.0.0.0/24").add(&Pod::new("a")).result();
    for arguments in [
        &["watch"][..],
        &["queue"],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let answer = host.tool(arguments).run();
        assert_said(&answer, FAILED, &["etcd", "local.db"]);
    }
}

#[test]
fn an_option_names_the_datastore_that_it_is_about() {
    let host = Host::new();
    let path = host.path().display().to_string();
    host.network("10.0.0.0/24").add(&Pod::new("a")).result();
    let claims = |arguments: &[&str]| crate::ctl::tool(&["claims"]).arguments(arguments).run();
    assert_said(&claims(&["--local-path", &path]), WELL, &["10.0.0.1"]);
    let local = ["--datastore", "local", "--local-path", &path];
    assert_said(&claims(&local), WELL, &["10.0.0.1"]);
    // etcd, although the flat file says local.
    let dead = crate::support::dead_endpoint();
    let flat_file = host.flat_file.path().display().to_string();
    let etcd = ["--etcd-host", &dead, "--configuration-path", &flat_file];
    assert_said(&claims(&etcd), FAILED, &["etcd is not available"]);
    assert_said(&claims(&["--datastore", "paper"]), FAILED, &["paper"]);
}

#[test]
fn a_backup_of_a_file_is_one_of_etcd_and_the_other_way_round() {
    let (host, site) = (Host::new(), Site::shared());
    let network = host.network("10.0.0.0/24");
    for pod in pods(3) {
        network.add(&pod).result();
    }
    network.del(&Pod::new("c1")).assert_silent();
    let folder = tempfile::TempDir::new().expect("a folder");
    let backup = |name: &str| folder.path().join(name).display().to_string();
    let (first, second) = (backup("first"), backup("second"));
    assert_said(&host.tool(&["backup", &first]).run(), WELL, &["5 entries"]);
    let there = crate::ctl::on(&site, &["restore", "--yes", &first]).run();
    assert_said(&there, WELL, &["5 entries restored"]);
    site.assert_at_rest(2);
    let of_etcd = site.network("10.0.0.0/24");
    assert_eq!(number(&of_etcd.add(&Pod::new("d"))), 2);
    let saved = crate::ctl::on(&site, &["backup", &second]).run();
    assert_said(&saved, WELL, &["7 entries"]);
    let refused = host.tool(&["restore", "--yes", &second]).run();
    assert_said(&refused, FOUND, &["--replace"]);
    let restored = host.tool(&["restore", "--yes", "--replace", &second]).run();
    assert_said(&restored, WELL, &["7 entries restored"]);
    host.assert_at_rest(3);
    assert_eq!(number(&network.add(&Pod::new("e"))), 4);
}

#[test]
fn a_restore_that_is_only_shown_makes_no_file() {
    let (host, new) = (Host::new(), Host::new());
    host.network("10.0.0.0/24").add(&Pod::new("a")).result();
    let backup = host.folder.path().join("backup").display().to_string();
    assert_said(&host.tool(&["backup", &backup]).run(), WELL, &[]);
    assert_said(
        &new.tool(&["restore", "--dry-run", &backup]).run(),
        WELL,
        &[],
    );
    assert!(!new.path().exists());
}

#[test]
fn bits_without_a_claim_are_found_in_a_file_and_repaired() {
    let host = Host::new();
    let network = host.network("10.0.0.0/24");
    for pod in pods(2) {
        network.add(&pod).result();
    }
    host.forget_a_claim();
    let found = host.tool(&["check"]).run();
    assert_said(&found, FOUND, &["findings"]);
    let repaired = host.tool(&["check", "--repair", "--yes"]).run();
    assert_said(&repaired, WELL, &["done"]);
    host.assert_at_rest(1);
}

#[test]
fn the_reaper_releases_from_a_file_what_is_gone() {
    let host = Host::new();
    let network = host.network("10.0.0.0/24");
    for pod in pods(2) {
        network.add(&pod).result();
    }
    // A folder that has something, and not these.
    let namespaces =
        "mount -t tmpfs none /run && mkdir /run/netns && touch /run/netns/c1 && exec \"$@\"";
    let flat_file = host.flat_file.path().display().to_string();
    let gc = [
        "gc",
        "--netns",
        "--grace",
        "0s",
        "--node",
        "node-1",
        "--yes",
        "--configuration-path",
        &flat_file,
    ];
    let call = crate::plugin::Call::new()
        .program("/usr/bin/unshare")
        .arguments(&[
            "--mount",
            "sh",
            "-c",
            namespaces,
            "sh",
            crate::ctl::tool_binary(),
        ]);
    let answer = call.arguments(&gc).run();
    assert_said(&answer, WELL, &["1 is released"]);
    assert_eq!(host.claims(), [("c1".to_owned(), "10.0.0.2".to_owned())]);
}
