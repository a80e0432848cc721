//! `backup` and `restore`.

use std::fs;
use std::io::{Read, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use whereabouts_audit::invariants::{Finding, audit};
use whereabouts_core::claim::{Claim, Held, Owner, RangeId};
use whereabouts_store::keys::Key;
use whereabouts_store::{Entry, Write, record};

use super::{FAILED, FOUND, WELL, assert_said, on, tool_binary};
use crate::plugin::fill::fill;
use crate::plugin::{Foreigner, Pod, Site, attachment, kill_in_line, pods, put, range};
use crate::support::etcd::{Cluster, Setup};

/// Keys below the prefix and values: what a restore must bring back.
fn content(site: &Site) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = site.entries().into_iter();
    let rest = |entry: Entry| {
        let rest = site.keys().below_prefix(&entry.key).map(<[u8]>::to_vec);
        (rest.expect("it is below"), entry.value)
    };
    entries.map(rest).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path is text")
}

#[test]
fn a_backup_is_restored_elsewhere_and_goes_on_where_it_was() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    for pod in pods(3) {
        network.add(&pod).result();
    }
    let before = content(&site);
    let holder = Foreigner::hold(&site, "10.0.0.0/24");
    kill_in_line(&site, &network, "ADD", &Pod::new("waits"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    let done = on(&site, &["backup", text(&file)]).run();
    assert_said(
        &done,
        WELL,
        &["7 entries", "1 lock and 1 ticket were left out"],
    );
    assert_said(
        &on(&site, &["backup", text(&file)]).run(),
        FAILED,
        &["exists"],
    );

    let other = Site::shared();
    let shown = on(&other, &["restore", text(&file), "--dry-run"]).run();
    assert_said(&shown, WELL, &["7 entries"]);
    assert_eq!(other.entries(), []);
    let restored = on(&other, &["restore", text(&file)]).stdin("y\n").run();
    assert_said(&restored, WELL, &["7 entries restored"]);
    assert_eq!(content(&other), before);
    other.assert_at_rest(3);
    let next = other.network("10.0.0.0/24").add(&Pod::new("next"));
    assert_eq!(next.address(), "10.0.0.4/24");
    holder.leave(&site);
}

#[test]
fn restore_refuses_a_prefix_with_something_in_it_unless_told_to_replace_it() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("before")).result();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    assert_said(&on(&site, &["backup", text(&file)]).run(), WELL, &[]);
    let backed_up = content(&site);
    network.add(&Pod::new("after")).result();
    let before = site.entries();
    let refused = on(&site, &["restore", text(&file), "--yes"]).run();
    assert_said(&refused, FOUND, &["5 keys now", "--replace"]);
    assert_eq!(site.entries(), before);
    let restored = on(&site, &["restore", text(&file), "--replace", "--yes"]).run();
    assert_said(&restored, WELL, &["2 keys deleted, 3 entries restored"]);
    assert_eq!(content(&site), backed_up);
    site.assert_at_rest(1);
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let site = Site::shared();
    site.network("10.0.0.0/24").add(&Pod::new("c")).result();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    assert_said(&on(&site, &["backup", text(&file)]).run(), WELL, &[]);
    let whole = fs::read(&file).expect("it was written");
    let before = site.entries();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let damaged = [
        (&whole[..whole.len() - 1], "incomplete"),
        (&flipped[..], "damaged"),
        (b"whereabouts backup 7 prefix=/ revision=1\n", "version 7"),
        (b"hello", "it is no backup"),
    ];
    for (bytes, part) in damaged {
        fs::write(&file, bytes).expect("the folder can be written");
        let refused = on(&site, &["restore", text(&file), "--replace", "--yes"]).run();
        assert_said(&refused, FAILED, &[part]);
        assert_eq!(site.entries(), before);
    }
}

#[test]
fn many_claims_are_backed_up_and_restored_in_pages_and_batches() {
    let site = Site::of(Cluster::start(1));
    fill(&site, &range("10.0.0.0/16"), 5_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    assert_said(
        &on(&site, &["backup", text(&file)]).run(),
        WELL,
        &["5020 entries"],
    );
    let before = content(&site);
    let restored = on(&site, &["restore", text(&file), "--replace", "--yes"]).run();
    assert_said(&restored, WELL, &["5020 entries restored"]);
    assert_eq!(content(&site), before);
    site.assert_at_rest(5_000);
}

/// A claim that is as large as etcd takes, and many of them: a batch of a hundred would be larger than a request.
fn large(site: &Site, container: &str, bytes: usize) {
    let claim = Claim {
        held: vec![Held {
            range: RangeId::of(&range("10.9.0.0/24")),
            address: "10.9.0.1".parse::<IpAddr>().expect("an address").into(),
        }],
        usable: Vec::new(),
        owner: Owner {
            netns: Some("x".repeat(bytes)),
            ..Owner::default()
        },
        created: Duration::ZERO,
    };
    let key = Key::Claim(attachment("net", &Pod::new(container)));
    let key = site.keys().encode(&key);
    let value = record::encode_claim(&claim);
    put(
        site,
        Write::Put {
            key,
            value,
            lease: 0,
        },
    );
}

#[test]
fn whatever_was_backed_up_is_restored_however_large_it_is() {
    let site = Site::of(Cluster::start(1));
    for number in 0..120 {
        large(&site, &format!("c{number}"), 60_000);
    }
    large(&site, "largest", 1_500_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    let backed_up = on(&site, &["backup", text(&file)]).run();
    assert_said(&backed_up, WELL, &["121 entries"]);
    let before = content(&site);
    for other in [&site, &Site::of(Cluster::start(1))] {
        let restored = on(other, &["restore", text(&file), "--replace", "--yes"]).run();
        assert_said(&restored, WELL, &["121 entries restored"]);
        assert_eq!(content(other), before);
    }
}

/// An etcd that takes less in a request, and fewer operations, than the one of the backup.
#[test]
fn a_restore_fits_its_batches_to_etcd_and_begins_only_if_each_entry_fits() {
    let site = Site::of(Cluster::start(1));
    for number in 0..40 {
        large(&site, &format!("c{number}"), 20_000);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    assert_said(
        &on(&site, &["backup", text(&file)]).run(),
        WELL,
        &["40 entries"],
    );
    let before = content(&site);
    let small = Site::of(Cluster::with(Setup {
        arguments: &["--max-request-bytes", "65536", "--max-txn-ops", "16"],
        ..Setup::default()
    }));
    let restored = on(&small, &["restore", text(&file), "--yes"]).run();
    assert_said(&restored, WELL, &["40 entries restored"]);
    assert_eq!(content(&small), before);

    large(&site, "largest", 100_000);
    let file = folder.path().join("larger");
    assert_said(
        &on(&site, &["backup", text(&file)]).run(),
        WELL,
        &["41 entries"],
    );
    let refused = on(&small, &["restore", text(&file), "--replace", "--yes"]).run();
    assert_said(
        &refused,
        FAILED,
        &["claim/net/largest/eth0", "--max-request-bytes"],
    );
    assert_eq!(content(&small), before, "nothing is deleted");
}

/// That each of the thousand addresses that were taken before is marked still, and each claimed one.
#[track_caller]
fn assert_kept(site: &Site, entries: &[Entry]) {
    let audit = audit(&site.keys(), entries);
    assert!(audit.set_bits >= 1_000, "{} are marked", audit.set_bits);
    let lost = |finding: &&Finding| matches!(finding, Finding::NotMarked { .. });
    assert_eq!(audit.findings.iter().find(lost), None, "nothing is freed");
}

/// It is killed after the first, second, ... change that is seen, goes on when it is run again, and until then no
/// claimed address can be given.
#[test]
fn an_interrupted_restore_frees_no_address_and_is_run_again() {
    let site = Site::of(Cluster::start(1));
    fill(&site, &range("10.0.0.0/16"), 1_500);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    assert_said(
        &on(&site, &["backup", text(&file)]).run(),
        WELL,
        &["1506 entries"],
    );
    let other = Site::of(Cluster::start(1));
    fill(&other, &range("10.0.4.0/22"), 1_000);
    for changes in 1..6 {
        let mut restore = on(&other, &["restore", text(&file), "--replace", "--yes"]).start();
        let mut seen = 0;
        let mut last = other.entries();
        while seen < changes && restore.is_running() {
            let now = other.entries();
            seen += usize::from(now != last);
            assert_kept(&other, &now);
            last = now;
        }
        drop(restore);
        assert_kept(&other, &other.entries());
    }
    let again = on(&other, &["restore", text(&file), "--replace", "--yes"]).run();
    assert_said(&again, WELL, &["1506 entries restored"]);
    assert_eq!(content(&other), content(&site));
    other.assert_at_rest(1_500);
}

/// An ADD of a node that was not stopped: its address must not become free.
/// Restores a backup of `site` over it. `act` happens when the restore has looked at what is there, and the restore fails.
fn disturb(site: &Site, act: impl FnOnce()) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("backup");
    assert_said(&on(site, &["backup", text(&file)]).run(), WELL, &[]);
    // It has looked at what is there when it asks.
    let mut restore = Command::new(tool_binary())
        .args([
            "restore",
            text(&file),
            "--replace",
            "--etcd-prefix",
            &site.prefix,
        ])
        .args(["--etcd-host", &site.access().endpoints.join(",")])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let mut stderr = restore.stderr.take().expect("it is piped");
    let mut asked = Vec::new();
    while !asked.ends_with(b"[y/N] ") {
        let mut byte = [0];
        assert_eq!(
            stderr.read(&mut byte).expect("it can be read"),
            1,
            "it asks"
        );
        asked.extend(byte);
    }
    act();
    let mut stdin = restore.stdin.take().expect("it is piped");
    stdin.write_all(b"y\n").expect("it reads");
    let mut said = String::new();
    stderr.read_to_string(&mut said).expect("it is text");
    let status = restore.wait().expect("it ends");
    assert_eq!(status.code(), FAILED, "{said}");
    assert!(
        said.contains("another process writes below the prefix"),
        "{said}"
    );
}

#[test]
fn a_restore_ends_when_somebody_else_writes() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("before")).result();
    disturb(&site, || drop(network.add(&Pod::new("meanwhile")).result()));
    site.assert_at_rest(2);
}

/// No block tells of an address that goes from a durable owner to a claim.
#[test]
fn a_restore_ends_when_a_kept_address_is_given_meanwhile() {
    let site = Site::shared();
    let network = site
        .network("10.0.0.0/24")
        .ipam(json!({"sticky": "statefulset"}));
    let [first, second] =
        ["first", "second"].map(|container| Pod::new(container).argument("K8S_POD_NAME=web-0"));
    network.add(&first).result();
    network.del(&first).assert_silent();
    disturb(&site, || drop(network.add(&second).result()));
    site.assert_at_rest(1);
}
