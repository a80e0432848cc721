//! The two kinds of objects: what their schemas keep, what they refuse, and what kubectl shows.

use serde_json::{Value, json};
use whereabouts_apiserver::{Access, Request, Resource};
use whereabouts_kubernetes::object::{
    BitWindow, Block, BlockSpec, Claim, ClaimOwner, ClaimSpec, ClaimWant, Metadata, PoolSpec,
    TakenBit,
};

use super::lab::{
    Lab, ask, assert_denied, block, blocks, claim, claims, create, delete, object, replace,
};

/// A claim and a block in which each field is set.
fn whole(name: &str) -> (Claim, Block) {
    let text = str::to_owned;
    let metadata = Metadata {
        name: text(name),
        ..Metadata::default()
    };
    let pool = PoolSpec {
        name: Some(text("blue")),
        only: Some(text("10.0.0.0/8")),
    };
    let claim = ClaimSpec {
        network: text("net"),
        container: text("c1"),
        interface: text("eth0"),
        attempt: text("77"),
        wants: vec![ClaimWant {
            pool: pool.clone(),
            cidr: text("10.0.0.0/16"),
            current: text("v4-1-0a0001"),
            windows: vec![BitWindow {
                first: 0,
                last: 255,
            }],
            usable: vec![text("10.0.0.1-10.0.255.254")],
            left: vec![text("v4-1-0a0000")],
        }],
        owner: ClaimOwner {
            node: Some(text("a")),
            pod_namespace: Some(text("default")),
            pod_name: Some(text("web-0")),
            pod_uid: Some(text("6f1c")),
            netns: Some(text("/run/netns/c1")),
            boot: Some(text("5a2e")),
        },
        added_ms: 1_700_000_000_000,
        durable: true,
        resting_since_ms: None,
    };
    let block = BlockSpec {
        pool,
        base: text("10.0.0.0"),
        round: 3,
        reached_by: vec![text("ab12")],
        taken: vec![TakenBit {
            bit: 255,
            claim: text("c-1"),
            uid: text("0f0f"),
            want: 1,
        }],
    };
    (
        Claim {
            metadata: metadata.clone(),
            spec: claim,
        },
        Block {
            metadata,
            spec: block,
        },
    )
}

fn written(kind: &str, object: &impl serde::Serialize) -> Value {
    let mut object = serde_json::to_value(object).expect("JSON");
    object["apiVersion"] = json!("ipam.whereabouts.internal/v1alpha1");
    object["kind"] = json!(kind);
    object
}

#[test]
fn the_schemas_keep_each_field_of_the_protocol() {
    let lab = Lab::shared();
    let admin = lab.server.admin();
    let (claim, block) = whole("whole");
    let stored = object(create(&admin, &claims(), &written("AddressClaim", &claim)));
    let stored: Claim = serde_json::from_value(stored).expect("a claim");
    assert_eq!(stored.spec, claim.spec);
    let stored = object(create(&admin, &blocks(), &written("AddressBlock", &block)));
    let stored: Block = serde_json::from_value(stored).expect("a block");
    assert_eq!(stored.spec, block.spec);
}

/// Stores `before`, and asserts that each change is refused with its words.
fn assert_refused(
    admin: &Access,
    resource: &Resource,
    before: &Value,
    changes: &[(&str, Value, &str)],
) {
    let stored = object(create(admin, resource, before));
    for (place, value, words) in changes {
        let mut next = stored.clone();
        *next.pointer_mut(place).expect(place) = value.clone();
        assert_denied(&replace(admin, resource, &next), words);
    }
    // The object itself is well.
    object(replace(admin, resource, &stored));
}

#[test]
fn the_identity_of_a_claim_never_changes() {
    let lab = Lab::shared();
    let admin = lab.server.admin();
    let mut before = claim("identity", "a");
    before["spec"]["wants"][0]["left"] = json!(["v4-0-0a0009"]);
    let changes = [
        ("/spec/network", json!("other"), "network never changes"),
        ("/spec/container", json!("other"), "container never changes"),
        ("/spec/interface", json!("eth1"), "interface never changes"),
        (
            "/spec/wants/0/cidr",
            json!("10.0.0.0/25"),
            "the ranges never change",
        ),
        (
            "/spec/wants/0/pool",
            json!({"name": "x"}),
            "the pools never change",
        ),
        ("/spec/wants/0/left", json!([]), "stays in left"),
        (
            "/spec/wants/0/left",
            json!(["v4-0-0a0009", "v4-0-0a0000"]),
            "does not come back",
        ),
        (
            "/spec/wants/0/current",
            json!("v4-0-0a0009"),
            "does not come back",
        ),
        ("/spec/wants", json!([]), "should have at least 1 items"),
    ];
    assert_refused(&admin, &claims(), &before, &changes);
}

#[test]
fn a_durable_claim_stays_that_of_its_pod() {
    let lab = Lab::shared();
    let admin = lab.server.admin();
    let mut before = claim("durable-kind", "a");
    before["spec"]["durable"] = json!(true);
    before["spec"]["owner"] = json!({"podNamespace": "ns", "podName": "web-0"});
    let rests = "only a durable claim rests";
    let changes = [
        ("/spec/durable", json!(false), "durable never changes"),
        (
            "/spec/owner/podName",
            json!("web-1"),
            "the pod's name of a durable claim never changes",
        ),
        (
            "/spec/owner",
            json!({"podName": "web-0"}),
            "a durable claim names a pod",
        ),
    ];
    assert_refused(&admin, &claims(), &before, &changes);
    let mut next = object(ask(&admin, &Request::get(&claims(), "durable-kind")));
    next["spec"]["container"] = json!("other");
    let mut next = object(replace(&admin, &claims(), &next));
    next["spec"]["restingSinceMs"] = json!(1);
    let next = object(replace(&admin, &claims(), &next));
    for field in ["node", "podUid", "netns"] {
        let mut wrong = next.clone();
        wrong["spec"]["owner"][field] = json!("x");
        assert_denied(&replace(&admin, &claims(), &wrong), rests);
    }
    let mut ordinary = claim("ordinary-kind", "a");
    ordinary["spec"]["restingSinceMs"] = json!(1);
    ordinary["spec"]["owner"] = json!({});
    assert_denied(&create(&admin, &claims(), &ordinary), rests);
}

#[test]
fn a_claim_is_renewed_for_another_node() {
    let lab = Lab::shared();
    let admin = lab.server.admin();
    let mut stored = object(create(&admin, &claims(), &claim("renewed", "a")));
    stored["spec"]["owner"] = json!({"node": "b"});
    object(replace(&admin, &claims(), &stored));
}

#[test]
fn a_claim_moves_to_another_block_and_gets_another_attempt() {
    let lab = Lab::shared();
    let admin = lab.server.admin();
    let mut stored = object(create(&admin, &claims(), &claim("moves", "a")));
    stored["spec"]["attempt"] = json!("2");
    stored["spec"]["wants"][0]["left"] = json!(["v4-0-0a0000"]);
    stored["spec"]["wants"][0]["current"] = json!("v4-0-0a0001");
    stored["spec"]["wants"][0]["windows"] = json!([{"first": 0, "last": 9}]);
    let mut stored = object(replace(&admin, &claims(), &stored));
    stored["spec"]["wants"][0]["left"] = json!(["v4-0-0a0000", "v4-0-0a0001"]);
    stored["spec"]["wants"][0]["current"] = json!("v4-0-0a0002");
    object(replace(&admin, &claims(), &stored));
}

#[test]
fn the_place_of_a_block_never_changes_and_each_bit_has_one_name() {
    let lab = Lab::shared();
    let admin = lab.server.admin();
    let before = block("place", "10.7.0.0", 0..3);
    let taken = |bit: &str| json!({bit: "c/u"});
    let words = "taken has bits from 0 to 255";
    let changes = [
        ("/spec/base", json!("10.7.1.0"), "base never changes"),
        ("/spec/pool", json!({"name": "x"}), "pool never changes"),
        ("/spec/round", json!(0), "round never sinks"),
        ("/spec/taken", taken("256"), words),
        ("/spec/taken", taken("-1"), words),
        ("/spec/taken", taken("01"), words),
        ("/spec/taken", taken("one"), words),
        ("/spec/taken", json!({"1": "c"}), "should match"),
        ("/spec/taken", json!({"1": "/u"}), "should match"),
        ("/spec/taken", json!({"1": "c/u/0"}), "should match"),
    ];
    assert_refused(&admin, &blocks(), &before, &changes);
}

#[test]
fn a_write_depends_on_the_version_and_on_the_uid() {
    use whereabouts_apiserver::Answer::{Absent, Changed, Exists};
    let lab = Lab::shared();
    let admin = lab.server.admin();
    let first = object(create(&admin, &claims(), &claim("versions", "a")));
    let second = create(&admin, &claims(), &claim("versions", "a"));
    assert_eq!(second, Exists);
    let mut next = first.clone();
    next["spec"]["attempt"] = json!("2");
    let next = object(replace(&admin, &claims(), &next));
    for answer in [
        replace(&admin, &claims(), &first),
        delete(&admin, &claims(), &first),
    ] {
        assert_eq!(answer, Changed);
    }
    let mut other = next.clone();
    other["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    for answer in [
        replace(&admin, &claims(), &other),
        delete(&admin, &claims(), &other),
    ] {
        assert_eq!(answer, Changed);
    }
    object(delete(&admin, &claims(), &next));
    for answer in [
        replace(&admin, &claims(), &next),
        delete(&admin, &claims(), &next),
    ] {
        assert_eq!(answer, Absent);
    }
}

#[test]
fn kubectl_shows_claims_and_blocks() {
    let lab = Lab::shared();
    let admin = lab.server.admin();
    let mut dual = claim("shown", "a");
    let mut second = dual["spec"]["wants"][0].clone();
    second["cidr"] = json!("fd00::/64");
    dual["spec"]["durable"] = json!(true);
    dual["spec"]["wants"]
        .as_array_mut()
        .expect("wants")
        .push(second);
    object(create(&admin, &claims(), &dual));
    object(create(&admin, &blocks(), &block("shown", "10.8.0.0", 1..4)));
    let columns = |output: &str| -> Vec<Vec<String>> {
        let lines = output.lines();
        lines
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    let shown = columns(&lab.server.kubectl(&["get", "wac", "shown"]));
    assert_eq!(
        shown[0].join(" "),
        "NAME NETWORK NODE POD-NAMESPACE POD INTERFACE AGE"
    );
    assert_eq!(shown[1][..6].join(" "), "shown net a default web-0 eth0");
    let shown = columns(
        &lab.server
            .kubectl(&["get", "addressclaim", "shown", "-o", "wide"]),
    );
    assert_eq!(
        shown[1][7..].join(" "),
        "10.0.0.0/24 v4-0-0a0000 fd00::/64 shown true"
    );
    let shown = columns(&lab.server.kubectl(&["get", "wab", "shown", "-o", "wide"]));
    assert_eq!(shown[0].join(" "), "NAME BASE POOL STATE AGE ROUND");
    assert_eq!(shown[1][..3].join(" "), "shown 10.8.0.0 open");
    let of_category = lab.server.kubectl(&["get", "whereabouts", "-o", "name"]);
    assert!(of_category.contains("addressclaim.ipam.whereabouts.internal/shown"));
    assert!(of_category.contains("addressblock.ipam.whereabouts.internal/shown"));
}
