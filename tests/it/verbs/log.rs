//! The log: in its file and nowhere else, without secrets, and never the reason of a failure.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use crate::plugin::{Network, Pod, Site};

const PASSWORD: &str = "p4ssw0rd-never-shown";

struct Logged {
    _folder: TempDir,
    path: PathBuf,
    network: Network,
    site: Site,
}

impl Logged {
    fn at(level: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("whereabouts.log");
        let site = Site::shared();
        let keys = json!({"log_file": path, "log_level": level});
        let network = site.network("10.0.0.0/24").ipam(keys);
        Self {
            _folder: folder,
            path,
            network,
            site,
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).expect("it was written")
    }
}

#[test]
fn a_new_log_file_has_mode_0600() {
    let logged = Logged::at("info");
    logged.network.add(&Pod::new("c")).result();
    let mode = fs::metadata(&logged.path)
        .expect("it is there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn each_event_is_one_line_that_names_the_attachment() {
    let logged = Logged::at("info");
    let pod = Pod::new("logged");
    logged.network.add(&pod).result();
    logged.network.del(&pod).assert_silent();
    let text = logged.text();
    let lines: Vec<&str> = text.lines().collect();
    let [added, deleted] = lines.as_slice() else {
        panic!("two events are two lines: {text}");
    };
    let whom = "eth0 of container logged in network net";
    for (line, parts) in [
        (added, ["ADD", "added", "10.0.0.1/24", whom]),
        (deleted, ["DEL", "deleted", "10.0.0.1", whom]),
    ] {
        for part in parts {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    }
}

#[test]
fn a_failure_is_logged_with_its_code_at_level_error() {
    let logged = Logged::at("error");
    let broken = logged.network.clone().ipam(json!({"range": "10.0.0.0/99"}));
    broken.add(&Pod::new("c")).assert_error(7, &[]);
    let text = logged.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("ERROR") && text.contains("code=7"), "{text}");
}

#[test]
fn at_level_panic_a_failure_is_not_logged() {
    let logged = Logged::at("panic");
    let broken = logged.network.clone().ipam(json!({"range": "10.0.0.0/99"}));
    broken.add(&Pod::new("c")).assert_error(7, &[]);
    assert_eq!(logged.text(), "");
}

#[test]
fn neither_a_password_nor_stdin_is_in_the_log_or_the_answer_at_any_level() {
    for level in ["trace", "debug", "info", "error"] {
        let logged = Logged::at(level);
        let secret = json!({"etcd_username": "root", "etcd_password": PASSWORD});
        let network = logged.network.clone().ipam(secret);
        let network = network.config(json!({"marker": "only-on-stdin"}));
        let pod = Pod::new("c");
        // etcd has no users, so that it does not mind.
        let added = network.add(&pod);
        let failed = network.ipam(json!({"rangeStart": "10.0.0.7"})).add(&pod);
        let texts = [logged.text(), added.stdout, failed.stdout, failed.stderr];
        for text in texts {
            assert!(!text.contains(PASSWORD), "{text}");
            assert!(!text.contains("only-on-stdin"), "{text}");
        }
        logged.site.assert_at_rest(1);
    }
}

#[test]
fn a_log_file_that_cannot_be_opened_fails_no_verb() {
    let site = Site::shared();
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"log_file": "/proc/nowhere/log"}));
    let pod = Pod::new("c");
    let added = network.add(&pod);
    assert_eq!(added.address(), "10.0.0.1/24");
    assert!(
        added.stderr.contains("log_file cannot be opened"),
        "{added:?}"
    );
    let deleted = network.del(&pod);
    assert_eq!((deleted.exit_code, deleted.stdout.as_str()), (Some(0), ""));
    site.assert_at_rest(0);
}

#[test]
fn an_unknown_key_and_a_key_without_meaning_are_log_lines() {
    let logged = Logged::at("debug");
    let network = logged
        .network
        .clone()
        .ipam(json!({"colour": "blue", "sleep_for_race": 1}));
    network.add(&Pod::new("c")).result();
    let text = logged.text();
    for key in ["ipam.colour", "ipam.sleep_for_race"] {
        assert!(text.contains(key), "{text}");
    }
}
