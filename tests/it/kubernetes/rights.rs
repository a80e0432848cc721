//! The rights of a node's token on the objects of others.

use serde_json::json;
use whereabouts_apiserver::{Access, Answer, Request, Resource};
use whereabouts_fixtures::poll;
use whereabouts_kubernetes::names;

use super::lab::{
    ACCOUNT, Lab, ask, assert_denied, block, blocks, claim, claims, create, delete, denied_by,
    object, replace,
};

#[test]
fn a_node_writes_the_claims_that_name_it() {
    let lab = Lab::shared();
    let node = lab.node("a");
    let stored = object(create(&node, &claims(), &claim("own", "a")));
    let mut next = stored.clone();
    next["spec"]["attempt"] = json!("2");
    let next = object(replace(&node, &claims(), &next));
    object(ask(&node, &Request::get(&claims(), "own")));
    object(ask(&node, &Request::list(&claims(), Vec::new())));
    object(delete(&node, &claims(), &next));
}

#[test]
fn a_node_reads_the_claims_of_others_and_changes_none() {
    let lab = Lab::shared();
    let (one, other) = (lab.node("a"), lab.node("b"));
    let stored = object(create(&other, &claims(), &claim("of-b", "b")));
    object(ask(&one, &Request::get(&claims(), "of-b")));
    let words = "node a may not change a claim of node b";
    assert_denied(&replace(&one, &claims(), &stored), words);
    assert_denied(&delete(&one, &claims(), &stored), words);
    let mut seized = stored.clone();
    seized["spec"]["owner"]["node"] = json!("a");
    assert_denied(&replace(&one, &claims(), &seized), words);
    let mut of_nobody = claim("of-nobody", "a");
    of_nobody["spec"]["owner"] = json!({});
    let mut of_nobody = object(create(&lab.server.admin(), &claims(), &of_nobody));
    let imported = of_nobody.clone();
    of_nobody["spec"]["owner"]["node"] = json!("a");
    assert_denied(
        &replace(&one, &claims(), &of_nobody),
        "may not change a claim of node ",
    );
    // An import does not know the node, and the DEL of the pod must end.
    object(delete(&one, &claims(), &imported));
    let all = Request::delete(&claims(), "", b"{}".to_vec());
    assert_denied(&ask(&one, &all), "cannot deletecollection");
    object(delete(&other, &claims(), &stored));
}

#[test]
fn a_node_writes_no_claim_that_stays_when_it_is_deleted() {
    let lab = Lab::shared();
    let node = lab.node("a");
    let words = "a node may not write a claim with finalizers or owners";
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "u"}]);
    for (key, value) in [
        ("finalizers", json!(["example.com/kept"])),
        ("ownerReferences", owner),
    ] {
        let mut kept = claim("kept", "a");
        kept["metadata"][key] = value.clone();
        assert_denied(&create(&node, &claims(), &kept), words);
        let mut stored = object(create(&node, &claims(), &claim("kept", "a")));
        let before = stored.clone();
        stored["metadata"][key] = value;
        assert_denied(&replace(&node, &claims(), &stored), words);
        object(delete(&node, &claims(), &before));
    }
}

/// A durable claim that an attachment of `node` has.
fn durable(name: &str, node: &str) -> serde_json::Value {
    let mut claim = claim(name, node);
    claim["spec"]["durable"] = json!(true);
    claim["spec"]["owner"] = json!({"node": node, "podNamespace": "ns", "podName": "web-0"});
    claim
}

/// The same claim without an attachment.
fn at_rest(claim: &serde_json::Value) -> serde_json::Value {
    let mut claim = claim.clone();
    claim["spec"]["owner"] = json!({"podNamespace": "ns", "podName": "web-0"});
    claim["spec"]["restingSinceMs"] = json!(1);
    claim["metadata"]["labels"] = json!({});
    claim
}

/// The same claim with an attachment of `node`.
fn attached(claim: &serde_json::Value, node: &str) -> serde_json::Value {
    let mut next = claim.clone();
    let fields = next["spec"].as_object_mut().expect("an object");
    fields.remove("restingSinceMs");
    next["spec"]["container"] = json!(format!("next on {node}"));
    next["spec"]["owner"]["node"] = json!(node);
    next["metadata"]["labels"] = json!({(names::node()): node});
    next
}

#[test]
fn any_node_attaches_a_durable_claim_at_rest_and_none_deletes_it() {
    let lab = Lab::shared();
    let (one, other) = (lab.node("a"), lab.node("b"));
    let stored = object(create(&one, &claims(), &durable("durable", "a")));
    let words = "node b may not change a claim of node a";
    assert_denied(&replace(&other, &claims(), &at_rest(&stored)), words);
    assert_denied(&replace(&other, &claims(), &attached(&stored, "b")), words);
    let resting = object(replace(&one, &claims(), &at_rest(&stored)));
    let words = "may not change a claim of node ";
    assert_denied(&delete(&other, &claims(), &resting), words);
    assert_denied(&delete(&one, &claims(), &resting), words);
    // It stays as it is until a node has it.
    let mut rewritten = resting.clone();
    rewritten["spec"]["attempt"] = json!("2");
    let words = "may not write a claim of node ";
    assert_denied(&replace(&other, &claims(), &rewritten), words);
    assert_denied(&replace(&other, &claims(), &attached(&resting, "a")), words);
    let next = object(replace(&other, &claims(), &attached(&resting, "b")));
    // The controller ends the attachment of a pod whose node is dead.
    let resting = object(replace(&controller(&lab), &claims(), &at_rest(&next)));
    let next = object(replace(&other, &claims(), &attached(&resting, "b")));
    let words = "node a may not change a claim of node b";
    assert_denied(&delete(&one, &claims(), &next), words);
    object(delete(&other, &claims(), &next));
}

#[test]
fn a_node_makes_no_claim_at_rest() {
    let lab = Lab::shared();
    let made = at_rest(&durable("made-at-rest", "a"));
    let words = "may not write a claim of node ";
    assert_denied(&create(&lab.node("a"), &claims(), &made), words);
}

#[test]
fn a_node_gives_no_claim_to_another_node_or_to_none() {
    let lab = Lab::shared();
    let node = lab.node("a");
    let refused = |claim: &serde_json::Value, words: &str| {
        assert_denied(&create(&node, &claims(), claim), words);
    };
    refused(&claim("given", "b"), "may not write a claim of node b");
    let mut nobodys = claim("given", "a");
    nobodys["spec"]["owner"] = json!({});
    refused(&nobodys, "may not write a claim of node ");
    let mut labelled = claim("given", "a");
    labelled["metadata"]["labels"]["ipam.whereabouts.internal/node"] = json!("b");
    refused(&labelled, "with the label of node b");
    labelled["metadata"]["labels"] = json!({});
    refused(&labelled, "with the label of node ");
}

#[test]
fn a_node_whose_name_begins_as_a_hash_does_writes_its_claims() {
    let lab = Lab::shared();
    lab.make_node("h-1");
    let node = lab.node("h-1");
    let mut own = claim("of-h-1", "h-1");
    let label = |value: &str| json!({(names::node()): value});
    own["metadata"]["labels"] = label("b");
    let words = "with the label of node b";
    assert_denied(&create(&node, &claims(), &own), words);
    own["metadata"]["labels"] = label(&names::label_value("h-1"));
    let stored = object(create(&node, &claims(), &own));
    object(delete(&node, &claims(), &stored));
}

/// The controller's own token.
fn controller(lab: &Lab) -> Access {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "whereabouts-reconcile", "namespace": "kube-system"}});
    lab.server.apply(&account);
    let token = lab.server.kubectl(&[
        "-n",
        "kube-system",
        "create",
        "token",
        "whereabouts-reconcile",
    ]);
    lab.server.with_token(token.trim())
}

#[test]
fn a_node_writes_no_claim_whose_name_no_bit_can_have() {
    let lab = Lab::shared();
    let long = claim(&"x".repeat(64), "a");
    let words = "a claim whose name has more than 63 characters";
    assert_denied(&create(&lab.node("a"), &claims(), &long), words);
}

#[test]
fn a_claim_goes_by_its_uid_and_version_alone() {
    let lab = Lab::shared();
    let (node, admin) = (lab.node("a"), lab.server.admin());
    let words = "the claim holds addresses";
    let of_node = object(create(&node, &claims(), &claim("goes", "a")));
    let metadata = &of_node["metadata"];
    for preconditions in [
        json!({}),
        json!({"uid": metadata["uid"]}),
        json!({"resourceVersion": metadata["resourceVersion"]}),
    ] {
        let options = json!({"preconditions": preconditions}).to_string();
        let request = Request::delete(&claims(), "goes", options.into_bytes());
        assert_denied(&ask(&node, &request), words);
        assert_denied(&ask(&admin, &request), words);
    }
    let all = Request::delete(&claims(), "", b"{}".to_vec());
    assert_denied(&ask(&admin, &all), words);
    // The controller releases the claims of nodes that are gone.
    object(delete(&controller(&lab), &claims(), &of_node));
}

#[test]
fn a_write_of_a_block_is_one_round() {
    let lab = Lab::shared();
    let node = lab.node("a");
    let words = "one write of a block is one round";
    let mut next = block("rounds", "10.13.0.0", 0..1);
    next["spec"]["round"] = json!(2);
    assert_denied(&create(&node, &blocks(), &next), words);
    next["spec"]["round"] = json!(1);
    let mut stored = object(create(&node, &blocks(), &next));
    stored["spec"]["round"] = json!(i64::MAX);
    assert_denied(&replace(&node, &blocks(), &stored), words);
    stored["spec"]["round"] = json!(2);
    object(replace(&node, &blocks(), &stored));
}

#[test]
fn a_token_that_names_no_node_writes_nothing() {
    let lab = Lab::shared();
    let token = lab
        .server
        .kubectl(&["-n", "kube-system", "create", "token", ACCOUNT]);
    let access = lab.server.with_token(token.trim());
    let words = "the token names no node";
    assert_denied(&create(&access, &claims(), &claim("nobody", "a")), words);
    let block = block("nobody", "10.9.0.0", 0..1);
    assert_denied(&create(&access, &blocks(), &block), words);
}

#[test]
fn a_node_deletes_no_block_and_nobody_deletes_one_in_use() {
    let lab = Lab::shared();
    let (node, admin) = (lab.node("a"), lab.server.admin());
    let stored = object(create(&node, &blocks(), &block("used", "10.10.0.0", 0..1)));
    assert_denied(&delete(&node, &blocks(), &stored), "cannot delete");
    assert_denied(
        &delete(&admin, &blocks(), &stored),
        "the block has taken addresses",
    );
    let mut free = stored.clone();
    free["spec"]["taken"] = json!({});
    let free = object(replace(&node, &blocks(), &free));
    assert_denied(&delete(&node, &blocks(), &free), "cannot delete");
    object(delete(&admin, &blocks(), &free));
}

/// With its kind every object goes, and no policy is asked about them. A dry run passes admission, and deletes nothing.
#[test]
fn nobody_deletes_a_kind_by_mistake() {
    let lab = Lab::shared();
    let kinds = Resource {
        group: "apiextensions.k8s.io",
        version: "v1",
        plural: "customresourcedefinitions",
        namespace: None,
    };
    let try_delete = |name: &str| {
        let options = br#"{"dryRun": ["All"]}"#.to_vec();
        ask(&lab.server.admin(), &Request::delete(&kinds, name, options))
    };
    let words = "every address of the cluster would be free";
    poll("the policy for kinds is in force", || {
        denied_by(&try_delete(""), words).then_some(())
    });
    let annotation = "ipam.whereabouts.internal/delete-all-addresses";
    for kind in ["addressclaims", "addressblocks"] {
        let name = format!("{kind}.ipam.whereabouts.internal");
        assert_denied(&try_delete(&name), words);
        let annotate = |change: &str| lab.server.kubectl(&["annotate", "crd", &name, change]);
        annotate(&format!("{annotation}=yes"));
        object(try_delete(&name));
        annotate(&format!("{annotation}-"));
    }
}

#[test]
fn one_write_of_a_block_takes_or_clears_so_many_addresses() {
    let lab = Lab::shared();
    let (node, admin) = (lab.node("a"), lab.server.admin());
    let (take, clear) = ("may take 64 addresses", "may clear 64 addresses");
    assert_denied(
        &create(&node, &blocks(), &block("many", "10.11.0.0", 0..65)),
        take,
    );
    let mut stored = object(create(&node, &blocks(), &block("many", "10.11.0.0", 0..64)));
    // Between full blocks, where the comparison costs the server most.
    for (bits, words) in [
        (0..64, None),
        (0..129, Some(take)),
        (0..128, None),
        (0..192, None),
        (0..256, None),
        (0..191, Some(clear)),
        (0..0, Some(clear)),
        (64..256, None),
        (127..256, None),
        (127..256, None),
    ] {
        let mut next = stored.clone();
        next["spec"]["taken"] = block("many", "10.11.0.0", bits.clone())["spec"]["taken"].clone();
        let answer = replace(&node, &blocks(), &next);
        match words {
            Some(words) => assert_denied(&answer, words),
            None => stored = object(answer),
        }
    }
    // Bits that go to others are cleared and taken.
    let mut stolen = stored.clone();
    for taken in stolen["spec"]["taken"]
        .as_object_mut()
        .expect("bits")
        .values_mut()
    {
        *taken = json!("c/mine");
    }
    assert_denied(&replace(&node, &blocks(), &stolen), clear);
    // An administrator may: after a loss, blocks are made anew.
    object(replace(&admin, &blocks(), &stolen));
}

#[test]
fn a_node_can_still_clear_a_live_bit() {
    // It is what THREATS says: one write serves the claims of many nodes.
    let lab = Lab::shared();
    let (one, other) = (lab.node("a"), lab.node("b"));
    let mut stored = object(create(&other, &blocks(), &block("live", "10.12.0.0", 0..1)));
    stored["spec"]["taken"] = json!({});
    assert!(matches!(replace(&one, &blocks(), &stored), Answer::Done(_)));
}

#[test]
fn a_patch_of_a_block_by_a_node_waits_in_a_queue_of_its_own() {
    let lab = Lab::shared();
    let node = lab.node("a");
    object(create(
        &node,
        &blocks(),
        &block("queued", "10.13.0.0", 0..9),
    ));
    let dispatched = || -> u64 {
        let path = "/debug/api_priority_and_fairness/dump_priority_levels";
        let table = lab.server.kubectl(&["get", "--raw", path]);
        let line = table
            .lines()
            .find(|line| line.starts_with("whereabouts-blocks,"));
        let line = line.unwrap_or_else(|| panic!("{table}"));
        let dispatched = line.split(',').nth(6).expect("a column");
        dispatched.trim().parse().expect("a number")
    };
    let mut bits = 0..9;
    // The server follows flow schemas by a watch.
    poll("patches pass the queue", || {
        let bit = bits.next().expect("a bit is left");
        let before = dispatched();
        let patch = json!([{"op": "remove", "path": format!("/spec/taken/{bit}")}]);
        let patch = Request::patch(&blocks(), "queued", patch.to_string().into_bytes());
        object(ask(&node, &patch));
        (dispatched() > before).then_some(())
    });
}
