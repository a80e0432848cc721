//! The log: in its file and nowhere else, without secrets, and never the reason of a failure.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use whereabouts_core::address::Bitmap;
use whereabouts_core::claim::{Attachment, Claim, Held, Owner, RangeId};
use whereabouts_core::escaped;
use whereabouts_store::Write;
use whereabouts_store::keys::Key;
use whereabouts_store::record;

use crate::plugin::{Network, Pod, Site, attachment, log_folder, put, range};

/// A user without rights.
const NOBODY: u32 = 65534;

const PASSWORD: &str = "p4ssw0rd-never-shown";

struct Logged {
    _folder: TempDir,
    path: PathBuf,
    network: Network,
    site: Site,
}

impl Logged {
    fn at(level: &str) -> Self {
        let folder = log_folder();
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

/// Also the line of an error, and that of a configuration that is refused.
#[test]
fn each_line_names_the_attachment_and_the_pod_at_every_level() {
    for level in ["error", "warn", "info", "debug"] {
        let logged = Logged::at(level);
        let pod = Pod::new("logged");
        logged.network.add(&pod).result();
        let other = pod.clone().interface("eth1").argument("IP=10.0.0.1");
        logged.network.add(&other).assert_error(102, &[]);
        logged.network.del(&pod).assert_silent();
        let refused = logged.network.clone().ipam(json!({"range": "10.0.0.0/99"}));
        refused.add(&pod).assert_error(7, &[]);
        let text = logged.text();
        assert!(text.lines().count() >= 2, "{level}: {text}");
        for line in text.lines() {
            let whom = ["container logged in network net", "container=logged"];
            let is_named = whom.iter().any(|whom| line.contains(whom));
            let has_interface = line.contains("eth0") || line.contains("eth1");
            assert!(is_named && has_interface, "{level}: {line}");
            assert!(line.contains("pod=space/pod-logged"), "{level}: {line}");
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
        .ipam(json!({"log_file": "/var/log/whereabouts-nowhere/log"}));
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

/// ADD and DEL of a network that logs to `path`: ADD answers `expected`, DEL succeeds.
fn check_path(path: &Path, expected: Result<&str, &str>) {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24").ipam(json!({"log_file": path}));
    let pod = Pod::new("c");
    let added = network.add(&pod);
    match expected {
        Ok(said) => {
            assert_eq!(added.address(), "10.0.0.1/24");
            assert!(added.stderr.contains(said), "{added:?}");
        }
        Err(said) => added.assert_error(7, &["ipam.log_file", said]),
    }
    let deleted = network.del(&pod);
    assert_eq!((deleted.exit_code, deleted.stdout.as_str()), (Some(0), ""));
    site.assert_at_rest(0);
}

#[test]
fn the_author_of_a_network_configuration_writes_to_no_file_of_the_node() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let victim = folder.path().join("nologin");
    let refused = Err("cannot be named in a network configuration");
    check_path(&victim, refused);
    let ours = log_folder();
    let up = ours
        .path()
        .join("../../")
        .join(victim.strip_prefix("/").expect("absolute"));
    check_path(&up, refused);
    assert!(!victim.exists(), "nothing is created");

    fs::write(&victim, "").expect("the folder can be written");
    let link = ours.path().join("link");
    symlink(&victim, &link).expect("the folder can be written");
    check_path(&link, Ok("log_file cannot be opened"));
    let second = ours.path().join("second");
    fs::hard_link(&victim, &second).expect("one file system");
    check_path(&second, Ok("it has another hard link"));
    let through = ours.path().join("through");
    symlink(folder.path(), &through).expect("the folder can be written");
    check_path(
        &through.join("new"),
        Ok("is not a folder that only this user can write to"),
    );
    let open = ours.path().join("open");
    fs::create_dir(&open).expect("the folder can be written");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("it is ours");
    check_path(
        &open.join("log"),
        Ok("is not a folder that only this user can write to"),
    );
    let theirs = ours.path().join("theirs");
    fs::create_dir(&theirs).expect("the folder can be written");
    chown(&theirs, Some(NOBODY), Some(NOBODY)).expect("tests run as root");
    check_path(
        &theirs.join("log"),
        Ok("is not a folder that only this user can write to"),
    );
    let log = ours.path().join("log");
    fs::write(&log, "").expect("the folder can be written");
    chown(&log, Some(NOBODY), Some(NOBODY)).expect("tests run as root");
    check_path(&log, Ok("it belongs to another user"));

    let text = fs::read_to_string(&victim).expect("it is there");
    assert_eq!(text, "", "nothing is written");
    assert!(!folder.path().join("new").exists(), "nothing is created");
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

/// The characters of `text` that would act on a terminal, but for the ends of its lines.
fn raw(text: &str) -> Vec<char> {
    let is_raw = |c: &char| *c != '\n' && escaped::is_hidden(*c);
    text.chars().filter(is_raw).collect()
}

/// A claim of anybody who may write to etcd, whose address is asked for and whose attachment is added.
#[test]
fn what_a_stored_claim_says_is_escaped_in_answers_and_in_the_log() {
    let logged = Logged::at("info");
    let hostile =
        "x\u{1b}[2J\u{7}\r\n2026-11-29T00:00:00Z ERROR forged\u{9b}\u{202e}\u{2028}\u{7f}";
    let owner = Owner {
        node: Some(hostile.to_owned()),
        pod_namespace: Some(hostile.to_owned()),
        pod_name: Some(hostile.to_owned()),
        ..Owner::default()
    };
    for (interface, cidr, address) in [
        ("eth0", "10.0.1.0/24", "10.0.1.7"),
        (hostile, "10.0.0.0/24", "10.0.0.7"),
    ] {
        let held = Held {
            range: RangeId::of(&range(cidr)),
            address: address.parse::<IpAddr>().expect("an address").into(),
        };
        let mut bitmap = Bitmap::EMPTY;
        bitmap.set(held.address.bit());
        let attachment = Attachment {
            interface: interface.to_owned(),
            ..attachment("net", &Pod::new("victim"))
        };
        let block = (Key::Open(held.slot()), record::encode_block(&bitmap));
        let claim = Claim {
            held: vec![held],
            usable: Vec::new(),
            owner: owner.clone(),
            created: Duration::ZERO,
        };
        let claim = (Key::Claim(attachment), record::encode_claim(&claim));
        for (key, value) in [block, claim] {
            let key = logged.site.keys().encode(&key);
            let lease = 0;
            put(&logged.site, Write::Put { key, value, lease });
        }
    }
    let asking = Pod::new("asking").argument("IP=10.0.0.7");
    let said = [
        logged.network.call("ADD", &asking).run(),
        logged.network.call("ADD", &Pod::new("victim")).run(),
        logged
            .network
            .call("ADD", &Pod::new("a").interface("a\u{1b}b"))
            .run(),
        logged
            .network
            .call("ADD", &Pod::new("a").interface("a\u{202e}b"))
            .run(),
    ];
    let parts = ["x\\\\u{1b}[2J\\\\u{7}\\\\r\\\\n2026"];
    said[0].assert_error(102, &parts);
    said[1].assert_error(103, &parts);
    said[2].assert_error(4, &["CNI_IFNAME", "control characters"]);
    said[3].assert_error(4, &["CNI_IFNAME", "control characters"]);
    for answer in &said {
        assert_eq!(raw(&answer.stdout), [], "{answer:?}");
        assert_eq!(raw(&answer.stderr), [], "{answer:?}");
        assert_eq!(answer.stdout.lines().count(), 1, "{answer:?}");
        let details = answer.json()["details"].to_string();
        let details: String = serde_json::from_str(&details).expect("it is a text");
        assert_eq!(escaped::line(&details), details, "runtimes log it");
    }
    let text = logged.text();
    assert_eq!(raw(&text), [], "{text}");
    assert_eq!(
        text.lines().count(),
        said.len(),
        "an event is a line: {text}"
    );
}
