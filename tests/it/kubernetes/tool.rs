//! The operator's tool on a real API server, with claims of real ADDs.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use whereabouts_core::claim::{BootId, Owner};
use whereabouts_kubernetes::names;

use super::lab::{Lab, ask, blocks, claim, claims, create, delete, object};
use super::verbs::Node;
use crate::ctl::page::Server;
use crate::ctl::{FAILED, FOUND, WELL, assert_said, tool};
use crate::plugin::{Answer, Call};
use crate::support::poll;

/// A server without claims of other tests, and the kubeconfig of an administrator.
struct Bench {
    lab: Lab,
    kubeconfig: String,
}

impl Bench {
    fn start() -> Self {
        let lab = Lab::start();
        let kubeconfig = text(&lab.server.admin_kubeconfig("admin"));
        Self { lab, kubeconfig }
    }

    fn node(&self, name: &'static str) -> Node {
        Node::new(&self.lab, name, "net", "10.0.0.0/24")
    }

    fn call(&self, arguments: &[&str]) -> Call {
        let reach = [
            "--datastore",
            "kubernetes",
            "--kubeconfig",
            &self.kubeconfig,
        ];
        tool(arguments).arguments(&reach)
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        self.call(arguments).run()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.call(arguments)
            .arguments(&["-o", "json"])
            .run()
            .result()
    }

    /// The claim of a container, as the server has it.
    fn claim(&self, node: &Node, container: &str) -> Value {
        let name = names::claim(&node.attachment(container));
        let get = whereabouts_apiserver::Request::get(&claims(), &name);
        object(ask(&self.lab.server.admin(), &get))
    }

    /// Deletes the claim of a container, and none of its bits.
    fn kill(&self, node: &Node, container: &str) {
        let claim = self.claim(node, container);
        object(delete(&self.lab.server.admin(), &claims(), &claim));
    }

    fn create(&self, claim: &Value) {
        object(create(&self.lab.server.admin(), &claims(), claim));
    }
}

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("a text").to_owned()
}

/// A folder for one test.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn the_tool_shows_what_the_objects_say() {
    let bench = Bench::start();
    assert_said(
        &bench.run(&["check"]),
        WELL,
        &["claims            0", "findings          0"],
    );
    let (a, b) = (bench.node("a"), bench.node("b"));
    assert_eq!(a.added("one", 1).to_string(), "10.0.0.1");
    assert_eq!(b.added("two", 2).to_string(), "10.0.0.2");
    let listed = bench.json(&["claims"]);
    let one = |listed: &Value| listed[0]["addresses"][0]["address"].clone();
    assert_eq!(one(&listed), "10.0.0.1");
    assert_eq!(listed[1]["addresses"][0]["address"], "10.0.0.2");
    assert_eq!(listed[1]["node"], "b");
    let of_b = bench.json(&["claims", "--node", "b"]);
    assert_eq!(
        (of_b.as_array().expect("a list").len(), one(&of_b)),
        (1, json!("10.0.0.2"))
    );
    assert_said(
        &bench.run(&["show", "10.0.0.2"]),
        WELL,
        &["10.0.0.2/24", "two"],
    );
    assert_said(
        &bench.run(&["show", "10.0.0.3"]),
        FOUND,
        &["Nobody holds 10.0.0.3."],
    );
    let ranges = bench.json(&["ranges"]);
    assert_eq!(
        (&ranges[0]["taken"], &ranges[0]["held"]),
        (&json!("2"), &json!(2))
    );
    assert_said(
        &bench.run(&["map", "10.0.0.0/24"]),
        WELL,
        &["2 addresses are taken"],
    );
    let check = bench.json(&["check"]);
    let counts = ["claims", "addresses", "blocks", "set_bits"].map(|key| check[key].clone());
    assert_eq!(counts, [2, 2, 1, 2].map(|count| json!(count)));
    assert_said(&bench.run(&["owners"]), WELL, &["No durable owner fits."]);

    let folder = folder();
    let file = text(&folder.path().join("backup"));
    // Two claims, each with its key by node, and a block.
    assert_said(
        &bench.run(&["backup", &file]),
        WELL,
        &["5 entries of revision"],
    );
    for (arguments, reason) in [
        (vec!["queue"], "`check` tells which claims wait"),
        (vec!["watch"], "kubectl get addressclaims --watch"),
        (vec!["cluster"], "belong to the cluster of their API server"),
        (
            vec!["restore", &file, "--replace", "--yes"],
            "--replace is not for",
        ),
    ] {
        assert_said(
            &bench.run(&arguments),
            FAILED,
            &["datastore kubernetes", reason],
        );
    }
    let released = bench.run(&["release", "10.0.0.1", "--yes"]);
    assert_said(&released, WELL, &["released 10.0.0.1"]);
    let again = bench.run(&["release", "10.0.0.1", "--yes"]);
    assert_said(&again, FOUND, &["nothing to release"]);
    assert_said(&bench.run(&["check"]), WELL, &["set bits          1"]);
    assert_eq!(a.added("three", 3).to_string(), "10.0.0.1");
}

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
        let mut claim = bench.claim(node, container);
        bench.kill(node, container);
        for key in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "managedFields",
        ] {
            claim["metadata"]
                .as_object_mut()
                .expect("metadata")
                .remove(key);
        }
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
}

#[test]
fn the_controller_clears_the_bits_of_claims_that_are_gone() {
    let bench = Bench::start();
    let a = bench.node("a");
    a.added("one", 1);
    a.added("two", 2);
    bench.kill(&a, "one");
    let reach = [
        "--datastore",
        "kubernetes",
        "--kubeconfig",
        &bench.kubeconfig,
    ];
    let own = ["--identity", "one", "--every", "1s"];
    let controller = Server::start_as("controller", &[&reach[..], &own].concat());
    poll("the dead bit is cleared", || {
        let metrics = controller.get("/metrics");
        let is_swept = metrics.contains("whereabouts_reconcile_swept_blocks_total 1");
        is_swept.then_some(())
    });
    assert_said(
        &bench.run(&["check"]),
        WELL,
        &["set bits          1", "findings          0"],
    );
    assert_eq!(a.added("three", 3).to_string(), "10.0.0.1");
}

#[test]
fn an_object_that_cannot_be_used_is_never_left_out_in_silence() {
    let bench = Bench::start();
    let a = bench.node("a");
    a.added("one", 1);
    bench.create(&claim("c-00000000000000000000000000000000", "a"));
    let reason = "AddressClaim c-00000000000000000000000000000000 cannot be used: its name is not that of its attachment";
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
    let listed = whereabouts_apiserver::Request::list(&blocks(), Vec::new());
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

fn containers(listed: &Value) -> Vec<&str> {
    let claims = listed.as_array().expect("a list").iter();
    let containers = claims.map(|claim| claim["container"].as_str().expect("a name"));
    containers.collect()
}

#[test]
fn gc_releases_what_a_runtime_does_not_list_of_its_node() {
    let lab = Lab::shared();
    let kubeconfig = text(&lab.server.admin_kubeconfig("listed"));
    let [a, b] = ["a", "b"].map(|name| Node::new(&lab, name, "listed", "10.62.0.0/24"));
    for (number, node) in [&a, &a, &b].into_iter().enumerate() {
        node.added(&format!("c{number}"), 1);
    }
    let attachments = json!([{"containerID": "c1", "ifname": "eth0"}]);
    let valid = json!({"name": "listed", "cni.dev/valid-attachments": attachments});
    let reach = ["--datastore", "kubernetes", "--kubeconfig", &kubeconfig];
    let gc = tool(&["gc", "--node", "a", "--valid", "-", "--yes"]).arguments(&reach);
    let gc = gc.stdin(valid.to_string()).run();
    let words = "1 claim of node a is not needed, 1 is released, 0 stayed";
    assert_said(&gc, WELL, &[words]);
    let left = tool(&["claims", "--network", "listed", "-o", "json"]).arguments(&reach);
    assert_eq!(containers(&left.run().result()), ["c1", "c2"]);
}

#[test]
fn the_way_to_the_api_server_is_that_of_the_options() {
    let lab = Lab::shared();
    let admin = text(&lab.server.admin_kubeconfig("way"));
    Node::new(&lab, "a", "way", "10.63.0.0/24").added("one", 1);
    let by_variable = tool(&["claims"]).variable("WHEREABOUTS_KUBECONFIG", &admin);
    assert_said(&by_variable.run(), WELL, &["10.63.0.1"]);
    let as_kubectl = tool(&["claims", "--datastore", "kubernetes"]);
    let as_kubectl = as_kubectl.variable("KUBECONFIG", &admin);
    assert_said(&as_kubectl.run(), WELL, &["10.63.0.1"]);
    let home = folder();
    fs::create_dir(home.path().join(".kube")).expect("a folder");
    fs::copy(&admin, home.path().join(".kube/config")).expect("a file");
    let at_home =
        tool(&["claims", "--datastore", "kubernetes"]).variable("HOME", text(home.path()));
    assert_said(&at_home.run(), WELL, &["10.63.0.1"]);
    let nobody = lab.server.kubeconfig("nobody", "wrong");
    let refused = tool(&[
        "check",
        "--datastore",
        "kubernetes",
        "--kubeconfig",
        &text(&nobody),
    ]);
    assert_said(&refused.run(), FAILED, &["the API server refuses access"]);
    let absent = PathBuf::from("/nowhere/kubeconfig");
    let absent = tool(&[
        "check",
        "--datastore",
        "kubernetes",
        "--kubeconfig",
        &text(&absent),
    ]);
    assert_said(&absent.run(), FAILED, &["/nowhere/kubeconfig"]);
    let of_etcd = tool(&[
        "release",
        "x",
        "--kubeconfig",
        &admin,
        "--etcd-host",
        "127.0.0.1:1",
    ]);
    assert_said(
        &of_etcd.run(),
        FAILED,
        &["--kubeconfig is for the datastore kubernetes"],
    );
}
