//! The operator's tool on a real API server, with claims of real ADDs.

mod checks;
mod moves;
mod services;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use whereabouts_kubernetes::names;

use super::lab::{Lab, ask, claims, create, delete, object};
use super::verbs::Node;
use crate::ctl::{FAILED, FOUND, WELL, assert_said, tool};
use crate::plugin::{Answer, Call};

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
