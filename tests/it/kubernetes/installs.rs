//! The installer's access to the API server: what the plugin finds on a node, and how long it serves.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use whereabouts_apiserver::{Access, read_kubeconfig};
use whereabouts_fixtures::poll;

use super::lab::{Lab, claim, claims, create, object};
use super::tokens::{is_refused, pod};
use crate::ctl::{FAILED, WELL, tool};
use crate::plugin::{Answer, Network, Pod};

/// The folders of one node, and the credentials of a pod on it.
struct Node {
    folder: tempfile::TempDir,
    name: &'static str,
    url: String,
}

impl Node {
    /// A node on which this pod of the account runs.
    fn with_pod(lab: &Lab, name: &'static str) -> (Self, Access) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let access = pod(lab, name, name);
        let credentials = folder.path().join("credentials");
        fs::create_dir(&credentials).expect("the folder can be written");
        let token = access.token.as_ref().expect("a token").reveal();
        let ca = fs::read(lab.server.authority()).expect("an authority");
        for (name, content) in [("token", token.as_bytes()), ("ca.crt", &ca)] {
            fs::write(credentials.join(name), content).expect("the folder can be written");
        }
        fs::write(folder.path().join("plugin"), "a plugin").expect("the folder can be written");
        let url = lab.server.url();
        (Self { folder, name, url }, access)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn install(&self) -> Answer {
        let text = |name: &str| self.path(name).to_str().expect("a path is text").to_owned();
        tool(&[
            "install",
            "--bin-dir",
            &text("bin"),
            "--config-dir",
            &text("config"),
            "--plugin",
            &text("plugin"),
            "--node-name",
            self.name,
            "--api-access",
            "--api-server",
            &self.url,
            "--api-credentials",
            &text("credentials"),
        ])
        .run()
    }

    /// The access that the plugin finds.
    fn access(&self) -> Access {
        let load = |path: &Path| fs::read(path).map_err(|error| error.to_string());
        let path = self.path("config/whereabouts.kubeconfig");
        read_kubeconfig(&path, &load).expect("a kubeconfig")
    }
}

#[test]
fn an_installed_token_serves_the_plugin_without_the_pod() {
    let lab = Lab::shared();
    lab.make_node("installs");
    let (node, of_pod) = Node::with_pod(&lab, "installs");
    let answer = node.install();
    assert_eq!(answer.exit_code, WELL, "{}", answer.stderr);
    let arguments = ["-n", "kube-system", "delete", "pod", "installs"];
    lab.server
        .kubectl(&[&arguments[..], &["--force", "--grace-period=0"]].concat());
    poll("the token of the pod ends", || {
        is_refused(&of_pod).then_some(())
    });
    object(create(
        &node.access(),
        &claims(),
        &claim("installs", "installs"),
    ));
    let flat_file = node.path("config/whereabouts.conf");
    let content = json!({"datastore": "kubernetes", "node_name": "installs"}).to_string();
    fs::write(&flat_file, content).expect("the folder can be written");
    let mut ipam = example()["ipam"].take();
    // The kubeconfig is beside the flat file of this node.
    ipam["kubernetes"] = json!(null);
    ipam["configuration_path"] = json!(flat_file);
    let network = Network::of_node(&flat_file).ipam(ipam);
    serve(&network, &lab);
}

/// The example of the document.
fn example() -> Value {
    let document = include_str!("../../../docs/CONFIG.md");
    let blocks = document.split("\n```json\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("\n```"));
    let mut examples = blocks.filter_map(|(json, _)| serde_json::from_str(json).ok());
    let is_it = |example: &Value| example["ipam"]["datastore"] == "kubernetes";
    examples.find(is_it).expect("the document has it")
}

/// Each verb of the plugin, as a process.
fn serve(network: &Network, lab: &Lab) {
    let pod = Pod::new("served");
    network.status().assert_silent();
    let answer = network.add(&pod);
    assert_eq!(answer.address(), "10.0.0.1/24");
    assert_eq!(network.add(&pod).address(), "10.0.0.1/24");
    network.check(&pod, &answer.json()).assert_silent();
    let stored = || lab.server.kubectl(&["get", "wac", "-o", "wide"]);
    assert!(stored().contains("served"), "{}", stored());
    network.del(&pod).assert_silent();
    network.del(&pod).assert_silent();
    assert!(!stored().contains("served"), "{}", stored());
    network.add(&pod).result();
    network.gc(Some(&[])).assert_silent();
    assert!(!stored().contains("served"), "{}", stored());
}

#[test]
fn a_refused_token_leaves_the_one_of_before_and_all_else_is_installed() {
    let lab = Lab::shared();
    lab.make_node("refused");
    let (node, _) = Node::with_pod(&lab, "refused");
    node.install();
    let before = fs::read(node.path("config/whereabouts.token")).expect("a token");
    fs::write(node.path("plugin"), "the next plugin").expect("the folder can be written");
    fs::write(node.path("credentials/token"), "e30.e30.e30").expect("the folder can be written");
    let answer = node.install();
    assert_eq!(answer.exit_code, FAILED);
    assert!(
        answer.stderr.contains("it is no token of an account"),
        "{}",
        answer.stderr
    );
    let after = fs::read(node.path("config/whereabouts.token")).expect("a token");
    assert_eq!(after, before);
    let plugin = fs::read_to_string(node.path("bin/whereabouts")).expect("a plugin");
    assert_eq!(plugin, "the next plugin");
    object(create(
        &node.access(),
        &claims(),
        &claim("refused", "refused"),
    ));
}

#[test]
fn a_token_of_another_node_is_refused_and_told_without_a_secret() {
    let lab = Lab::shared();
    let (mut node, of_pod) = Node::with_pod(&lab, "a");
    node.name = "b";
    let answer = node.install();
    assert_eq!(answer.exit_code, FAILED);
    let words = "a node may ask for a token that is bound to this node";
    assert!(answer.stderr.contains(words), "{}", answer.stderr);
    let token = of_pod.token.expect("a token");
    let said = json!([answer.stdout, answer.stderr]).to_string();
    assert!(!said.contains(token.reveal()));
    assert!(!node.path("config/whereabouts.token").exists());
}
