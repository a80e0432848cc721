//! `backup` and `restore`.

use std::fs;
use std::path::Path;

use whereabouts::store::Entry;

use super::{FAILED, FOUND, WELL, assert_said, on};
use crate::fill::fill;
use crate::plugin::{Foreigner, Pod, Site, kill_in_line, pods, range};
use crate::support::etcd::Cluster;

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
        &["4 entries", "1 locks and 1 tickets were left out"],
    );
    assert_said(
        &on(&site, &["backup", text(&file)]).run(),
        FAILED,
        &["exists"],
    );

    let other = Site::shared();
    let shown = on(&other, &["restore", text(&file), "--dry-run"]).run();
    assert_said(&shown, WELL, &["4 entries"]);
    assert_eq!(other.entries(), []);
    let restored = on(&other, &["restore", text(&file)]).stdin("y\n").run();
    assert_said(&restored, WELL, &["4 entries restored"]);
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
    assert_said(&refused, FOUND, &["3 keys now", "--replace"]);
    assert_eq!(site.entries(), before);
    let restored = on(&site, &["restore", text(&file), "--replace", "--yes"]).run();
    assert_said(&restored, WELL, &["3 keys deleted, 2 entries restored"]);
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
        (b"hello", "does not begin"),
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
