//! The agent and the controller, with the rights that they have.

use std::fs;

use serde_json::{Value, json};
use whereabouts_core::address::{BlockKey, Pool};
use whereabouts_core::claim::{BootId, Owner};
use whereabouts_kubernetes::names;

use super::{Bench, containers, folder, text};
use crate::ctl::page::Server;
use crate::ctl::{FAILED, WELL, assert_said, tool};
use crate::support::poll;

#[test]
fn the_account_of_the_controller_may_release_and_sweep_and_nothing_more() {
    let bench = Bench::start();
    let (a, b) = (bench.node("a"), bench.node("b"));
    a.added("one", 1);
    b.added("two", 2);
    bench.kill(&a, "one");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "whereabouts-reconcile", "namespace": "kube-system"}});
    bench.lab.server.apply(&account);
    let create = [
        "-n",
        "kube-system",
        "create",
        "token",
        "whereabouts-reconcile",
    ];
    let token = bench.lab.server.kubectl(&create);
    let kubeconfig = text(&bench.lab.server.kubeconfig("controller", token.trim()));
    let run = |arguments: &[&str]| {
        let reach = ["--datastore", "kubernetes", "--kubeconfig", &kubeconfig];
        tool(arguments).arguments(&reach).run()
    };
    let repaired = run(&["check", "--repair", "--yes"]);
    assert_said(
        &repaired,
        WELL,
        &["set bits          1", "findings          0"],
    );
    assert_said(
        &run(&["release", "two", "--yes"]),
        WELL,
        &["released 10.0.0.2"],
    );
    assert_said(&run(&["check"]), WELL, &["set bits          0"]);
    let folder = folder();
    let data = folder.path().join("10.0.0.9");
    fs::write(&data, "c9\neth0").expect("a file");
    let directory = text(folder.path());
    let import = [
        "import",
        "host-local",
        &directory,
        "--range",
        "10.0.0.0/24",
        "--network",
        "net",
        "--yes",
    ];
    assert_said(&run(&import), FAILED, &["the API server refuses access"]);
}

#[test]
fn the_controller_clears_the_bits_of_claims_that_are_gone() {
    let bench = Bench::start();
    let a = bench.node("a");
    a.added("one", 1);
    let address = a.added("two", 2);
    bench.kill(&a, "one");
    let reach = [
        "--datastore",
        "kubernetes",
        "--kubeconfig",
        &bench.kubeconfig,
    ];
    let own = ["--identity", "one", "--every", "1s"];
    let controller = Server::start_as("controller", &[&reach[..], &own].concat());
    let await_metric = |line: &str| {
        poll(line, || {
            controller.get("/metrics").contains(line).then_some(())
        });
    };
    await_metric("whereabouts_reconcile_swept_blocks_total 1");
    // A hostile node clears the bit of a claim that lives.
    let name = names::block(&BlockKey::of(&Pool::default(), address));
    let free = r#"{"spec": {"taken": null}}"#;
    bench
        .lab
        .server
        .kubectl(&["patch", "addressblock", &name, "--type=merge", "-p", free]);
    await_metric("whereabouts_reconcile_lost_addresses_total{end=\"given-back\"} 1");
    assert_said(
        &bench.run(&["check"]),
        WELL,
        &["set bits          1", "findings          0"],
    );
    assert_eq!(a.added("three", 3).to_string(), "10.0.0.1");
}

#[test]
fn the_agent_reaps_and_shows_with_the_token_of_its_node() {
    let bench = Bench::start();
    let a = bench.node("a");
    let earlier = Owner {
        boot: Some(BootId::from_number(7)),
        ..Owner::default()
    };
    a.add_of("old", 1, earlier).expect("it is added");
    a.added("new", 2);
    bench
        .node("b")
        .add_of(
            "other",
            3,
            Owner {
                boot: Some(BootId::from_number(7)),
                ..Owner::default()
            },
        )
        .expect("it is added");
    let token = bench.lab.token("a");
    let kubeconfig = text(&bench.lab.server.kubeconfig("node-a", &token));
    let agent = Server::start(&[
        "--datastore",
        "kubernetes",
        "--kubeconfig",
        &kubeconfig,
        "--reap",
        "1s",
        "--node",
        "a",
        "--grace",
        "0s",
    ]);
    poll("the claim of the earlier boot is released", || {
        let listed = bench.json(&["claims"]);
        let left = containers(&listed);
        (left == ["new", "other"]).then_some(())
    });
    agent.await_claims(2);
    assert_eq!(a.added("third", 4).to_string(), "10.0.0.1");
    agent.await_claims(3);
    let events = agent.json("/api/feed");
    let is_added =
        |event: &Value| event["event"] == "added" && event["claim"]["container"] == "third";
    let events = events["events"].as_array().expect("a list");
    assert!(events.iter().any(is_added), "{events:?}");
    let metrics = agent.get("/metrics");
    for line in [
        "whereabouts_claims 3",
        "whereabouts_listing_age_seconds ",
        "whereabouts_reaper_released_claims_total{evidence=\"earlier-boot\"} 1",
        "whereabouts_range_taken_addresses{range=\"10.0.0.0/24\",pool=\"\",own_pool=\"false\"} 3",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    assert_eq!(agent.json("/api/ranges")["etcd"]["server"], "API server");
    // A token is renewed on disk.
    bench.lab.server.kubeconfig("node-a", "outdated");
    let away = agent.await_state("away");
    assert!(
        away["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("refuses access")),
        "{away}"
    );
    bench.lab.server.kubeconfig("node-a", &token);
    agent.await_state("live");
}
