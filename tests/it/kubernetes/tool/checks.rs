//! `check`, its repairs, and `restore`: what is left of processes, persons and restores of objects.

use serde_json::{Value, json};
use whereabouts_apiserver::Request;
use whereabouts_kubernetes::names;

use super::{Bench, folder, text};
use crate::ctl::{FAILED, FOUND, WELL, assert_said};
use crate::kubernetes::lab::{ask, blocks, claim, object};

#[test]
fn dead_bits_and_waiting_claims_are_findings_that_stay() {
    let bench = Bench::start();
    let a = bench.node("a");
    a.added("one", 1);
    a.added("two", 2);
    bench.kill(&a, "one");
    let dead = "10.0.0.1 of pool (shared) is marked as taken for AddressClaim";
    let check = bench.run(&["check"]);
    assert_said(
        &check,
        FOUND,
        &[dead, "which does not exist", "findings          1"],
    );
    let shown = bench.run(&["show", "10.0.0.1"]);
    assert_said(
        &shown,
        FOUND,
        &["marked as taken: see `whereaboutsctl check`"],
    );
    let only_shown = bench.run(&["check", "--repair", "--dry-run"]);
    assert_said(
        &only_shown,
        FOUND,
        &["repair: clear the dead bits of block 10.0.0.0/24"],
    );
    let repaired = bench.run(&["check", "--repair", "--yes"]);
    assert_said(
        &repaired,
        WELL,
        &[
            "done: clear the dead bits",
            "set bits          1",
            "findings          0",
        ],
    );

    let attachment = a.attachment("late");
    let mut waiting = claim(&names::claim(&attachment), "a");
    waiting["spec"]["container"] = json!("late");
    let labels = &mut waiting["metadata"]["labels"];
    labels["ipam.whereabouts.internal/network"] = json!("net");
    labels["ipam.whereabouts.internal/container"] = json!("late");
    bench.create(&waiting);
    let check = bench.run(&["check"]);
    let words =
        "has no address of range 10.0.0.0/24 of pool (shared): its ADD goes on, or was killed";
    assert_said(
        &check,
        FOUND,
        &[&attachment.to_string(), words, "findings          1"],
    );
    let listed = bench.json(&["claims", "--container", "late"]);
    assert_eq!(listed[0]["addresses"], json!([]));
    assert_said(
        &bench.run(&["release", "late", "--yes"]),
        WELL,
        &["released"],
    );
    assert_said(&bench.run(&["check"]), WELL, &["claims            1"]);
}

/// The claims with their addresses, and without what a restore changes.
fn held(bench: &Bench) -> Vec<(Value, Value, Value)> {
    let listed = bench.json(&["claims"]);
    let claims = listed.as_array().expect("a list").iter();
    let claims = claims.map(|claim| {
        let part = |key: &str| claim[key].clone();
        (part("container"), part("addresses"), part("node"))
    });
    claims.collect()
}

/// The claim without what the server has given it.
fn anew(mut claim: Value) -> Value {
    let metadata = claim["metadata"].as_object_mut().expect("metadata");
    for key in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata.remove(key);
    }
    claim
}

#[test]
fn a_restore_gives_each_claim_its_addresses_again() {
    let bench = Bench::start();
    let (a, b) = (bench.node("a"), bench.node("b"));
    a.added("one", 1);
    b.added("two", 2);
    a.added("three", 3);
    let before = held(&bench);
    let folder = folder();
    let file = text(&folder.path().join("backup"));
    assert_said(&bench.run(&["backup", &file]), WELL, &["in "]);

    // Velero or a person creates the same objects again: the server gives them other UIDs.
    for (node, container) in [(&a, "one"), (&b, "two"), (&a, "three")] {
        let claim = anew(bench.claim(node, container));
        bench.kill(node, container);
        bench.create(&claim);
    }
    let check = bench.run(&["check"]);
    let words = "which was created anew, as by a restore, and waits for it";
    assert_said(
        &check,
        FOUND,
        &["10.0.0.2 of pool (shared)", words, "findings          3"],
    );
    let refused = bench.run(&["restore", &file, "--yes"]);
    assert_said(
        &refused,
        FAILED,
        &["`check --repair` gives them their addresses again"],
    );
    let repaired = bench.run(&["check", "--repair", "--yes"]);
    assert_said(
        &repaired,
        WELL,
        &[
            "give the claims that were created anew their bits",
            "findings          0",
        ],
    );
    assert_eq!(held(&bench), before);

    // All claims are lost, and one address was given to another container since.
    for (node, container) in [(&a, "one"), (&b, "two"), (&a, "three")] {
        bench.kill(node, container);
    }
    assert_said(
        &bench.run(&["check", "--repair", "--yes"]),
        WELL,
        &["set bits          0"],
    );
    b.added("new", 4);
    let shown = bench.run(&["restore", &file, "--dry-run"]);
    assert_said(&shown, FOUND, &["2 of 3 claims are to be held"]);
    let restored = bench.run(&["restore", &file, "--yes"]);
    let taken =
        "10.0.0.1 of eth0 of container one in network net: 10.0.0.1 is held by another attachment";
    assert_said(&restored, FOUND, &["2 of 3 claims are held now", taken]);
    b.del("new").expect("it is deleted");
    assert_said(
        &bench.run(&["restore", &file, "--yes"]),
        WELL,
        &["3 of 3 claims are held now"],
    );
    assert_eq!(held(&bench), before);
    assert_said(&bench.run(&["check"]), WELL, &["findings          0"]);

    // A claim is created anew after its bit was cleared. The lowest free address is that of another lost claim.
    let two = anew(bench.claim(&b, "two"));
    bench.kill(&a, "one");
    bench.kill(&b, "two");
    assert_said(
        &bench.run(&["check", "--repair", "--yes"]),
        WELL,
        &["set bits          1"],
    );
    bench.create(&two);
    let shown = bench.run(&["restore", &file, "--dry-run"]);
    assert_said(&shown, WELL, &["3 of 3 claims are to be held"]);
    let restored = bench.run(&["restore", &file, "--yes"]);
    assert_said(&restored, WELL, &["3 of 3 claims are held now"]);
    assert_eq!(held(&bench), before);
    assert_said(&bench.run(&["check"]), WELL, &["findings          0"]);
}

#[test]
fn an_object_that_cannot_be_used_is_never_left_out_in_silence() {
    let bench = Bench::start();
    let a = bench.node("a");
    a.added("one", 1);
    bench.create(&claim("c-00000000000000000000000000000000", "a"));
    let reason = "AddressClaim c-00000000000000000000000000000000 cannot be used: its name is not that of its attachment or pod";
    let folder = folder();
    let file = text(&folder.path().join("backup"));
    for arguments in [
        vec!["check"],
        vec!["claims"],
        vec!["ranges"],
        vec!["map", "10.0.0.0/24"],
        vec!["backup", &file],
    ] {
        assert_said(&bench.run(&arguments), FOUND, &[reason]);
    }
    // A person has removed the labels by which searches find a block.
    let listed = Request::list(&blocks(), Vec::new());
    let listed = object(ask(&bench.lab.server.admin(), &listed));
    let name = listed["items"][0]["metadata"]["name"]
        .as_str()
        .expect("a name");
    bench.lab.server.kubectl(&[
        "label",
        "addressblock",
        name,
        "ipam.whereabouts.internal/pool-",
    ]);
    assert_said(
        &bench.run(&["check"]),
        FOUND,
        &["the labels of AddressBlock", "findings          2"],
    );
}
