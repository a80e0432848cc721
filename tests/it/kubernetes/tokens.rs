//! Tokens of nodes: who gets which, and when they end.

use serde_json::{Value, json};
use whereabouts_apiserver::{Access, Answer, Request};

use super::lab::{ACCOUNT, Lab, ask, assert_denied, claim, claims, create, object, token_request};
use whereabouts_fixtures::poll;

/// The token of an answer.
fn token(lab: &Lab, answer: Answer) -> Access {
    let answer = object(answer);
    let token = answer["status"]["token"].as_str().expect("a token");
    lab.server.with_token(token)
}

fn bound_to(kind: &str, name: &str) -> Value {
    json!({"expirationSeconds": 3600, "boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name}})
}

/// A pod of the account on a node, and its token.
pub(super) fn pod(lab: &Lab, name: &str, node: &str) -> Access {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"serviceAccountName": ACCOUNT, "nodeName": node, "containers": [{"name": "one", "image": "none"}]}});
    lab.server.apply(&pod);
    let name = format!("--bound-object-name={name}");
    let token = lab.server.kubectl(&[
        "-n",
        "kube-system",
        "create",
        "token",
        ACCOUNT,
        "--bound-object-kind=Pod",
        &name,
    ]);
    lab.server.with_token(token.trim())
}

pub(super) fn is_refused(access: &Access) -> bool {
    let answer = ask(access, &Request::list(&claims(), Vec::new()));
    matches!(answer, Answer::Denied(told) if told.contains("401"))
}

#[test]
fn a_nodes_token_outlives_the_pod_that_asked_for_it_and_asks_for_the_next() {
    let lab = Lab::shared();
    lab.make_node("outlives");
    let of_pod = pod(&lab, "installer", "outlives");
    let of_node = token(
        &lab,
        ask(&of_pod, &token_request(&bound_to("Node", "outlives"))),
    );
    lab.server.kubectl(&[
        "-n",
        "kube-system",
        "delete",
        "pod",
        "installer",
        "--force",
        "--grace-period=0",
    ]);
    poll("the token of the pod ends", || {
        is_refused(&of_pod).then_some(())
    });
    object(create(&of_node, &claims(), &claim("outlives", "outlives")));
    let next = token(
        &lab,
        ask(&of_node, &token_request(&bound_to("Node", "outlives"))),
    );
    object(ask(&next, &Request::get(&claims(), "outlives")));
}

#[test]
fn a_node_gets_no_token_that_lives_for_longer_than_a_week() {
    let lab = Lab::shared();
    let node = lab.node("a");
    let mut bond = bound_to("Node", "a");
    bond["expirationSeconds"] = json!(604_800);
    object(ask(&node, &token_request(&bond)));
    bond["expirationSeconds"] = json!(604_801);
    assert_denied(
        &ask(&node, &token_request(&bond)),
        "a node may ask for a token of a week at most",
    );
}

#[test]
fn a_nodes_token_ends_with_the_node() {
    let lab = Lab::shared();
    lab.make_node("ends");
    let node = lab.node("ends");
    object(create(&node, &claims(), &claim("ends", "ends")));
    lab.server.kubectl(&["delete", "node", "ends"]);
    poll("the token of the node ends", || {
        is_refused(&node).then_some(())
    });
    // A node of the same name is another one.
    lab.make_node("ends");
    assert!(is_refused(&node));
}

#[test]
fn a_node_gets_no_token_of_another_node_and_none_without_a_bond() {
    let lab = Lab::shared();
    let of_pod = pod(&lab, "asker", "a");
    for access in [lab.node("a"), of_pod] {
        for spec in [
            bound_to("Node", "b"),
            bound_to("Pod", "asker"),
            json!({}),
            json!({"expirationSeconds": 3600}),
        ] {
            assert_denied(&ask(&access, &token_request(&spec)), "bound to this node");
        }
        token(&lab, ask(&access, &token_request(&bound_to("Node", "a"))));
    }
}
