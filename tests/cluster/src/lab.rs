//! The cluster, as `lab.sh` made it: kubectl, the operator's tool, the nodes and their power.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The nodes of a lab.
pub(crate) const NODES: [&str; 2] = ["node-a", "node-b"];

/// How often a condition is asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Where whereabouts keeps its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Datastore {
    /// An etcd in the cluster.
    Etcd,
    /// Objects of the API server.
    Kubernetes,
}

impl Datastore {
    /// The overlay of the manifests, below the lab's folder.
    pub(crate) fn overlay(self) -> &'static str {
        match self {
            Self::Etcd => "deploy/kubernetes/overlays/lab",
            Self::Kubernetes => "deploy/kubernetes/overlays/kubernetes",
        }
    }

    /// The manifests that an uninstallation deletes.
    pub(crate) fn uninstallation(self) -> &'static str {
        match self {
            Self::Etcd => "deploy/kubernetes/base",
            Self::Kubernetes => "deploy/kubernetes/overlays/kubernetes-uninstall",
        }
    }
}

/// A running cluster.
pub(crate) struct Lab {
    folder: PathBuf,
    datastore: Datastore,
}

impl Lab {
    /// The cluster in `folder`, with this datastore.
    pub(crate) fn new(folder: PathBuf, datastore: Datastore) -> Self {
        Self { folder, datastore }
    }

    /// The datastore of whereabouts.
    pub(crate) fn datastore(&self) -> Datastore {
        self.datastore
    }

    /// The folder of the cluster.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file below the folder, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The folder of a node, which holds its `cni-conf`, `cni-bin` and `log`.
    pub(crate) fn node_folder(&self, node: &str) -> PathBuf {
        self.folder.join(node)
    }

    /// Runs kubectl, and returns its output.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        output(self.folder.join("kubectl"), arguments, "")
    }

    /// Runs Helm, and returns its output.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        output(self.folder.join("helm"), arguments, "")
    }

    /// Applies objects.
    pub(crate) fn apply(&self, objects: &[Value]) -> Result<(), String> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let kubectl = self.folder.join("kubectl");
        output(kubectl, &["apply", "--filename=-"], &list.to_string()).map(drop)
    }

    /// Applies an object, which may be refused. Returns whether it was not, and all that kubectl printed.
    pub(crate) fn create(&self, object: &Value, options: &[&str]) -> (bool, String) {
        self.try_kubectl(&[&["apply", "--filename=-"], options].concat(), object)
    }

    /// Deletes an object, and returns the same.
    pub(crate) fn delete(&self, object: &Value) -> (bool, String) {
        self.try_kubectl(&["delete", "--filename=-"], object)
    }

    fn try_kubectl(&self, arguments: &[&str], input: &Value) -> (bool, String) {
        let kubectl = self.folder.join("kubectl");
        match run(&kubectl, arguments, &input.to_string()) {
            Ok(ended) => {
                let text = [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text));
                (ended.status.success(), text.concat())
            }
            Err(error) => (false, error),
        }
    }

    /// The output of `kubectl get ... -o json`.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        let all = [&["get", "--output=json"], arguments].concat();
        parse(&self.kubectl(&all)?)
    }

    /// Runs a program on a node: in its network, its mounts and its processes.
    pub(crate) fn on_node(&self, node: &str, arguments: &[&str]) -> Result<String, String> {
        output(self.node_folder(node).join("enter"), arguments, "")
    }

    /// Runs lines of bash on a node, with the lab's programs.
    pub(crate) fn script(&self, node: &str, lines: &str) -> Result<String, String> {
        let lines = format!(
            "set -euo pipefail\nPATH={}:$PATH\n{lines}",
            self.path("bin")
        );
        self.on_node(node, &["bash", "-c", &lines])
    }

    /// Runs the operator's tool on a node, where it finds the datastore by the flat file, and returns its JSON.
    pub(crate) fn tool(&self, arguments: &[&str]) -> Result<Value, String> {
        let program = self.path("bin/whereaboutsctl");
        let all = [&[program.as_str()], arguments, &["--output=json"]].concat();
        parse(&self.on_node(NODES[0], &all)?)
    }

    /// Runs the operator's tool as a plugin of kubectl, and returns its output.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> Result<String, String> {
        let call = [&["kubectl", "whereabouts"], arguments].concat();
        output(self.folder.join("administer"), &call, "")
    }

    /// Runs a script of the manifests' folder on this machine.
    pub(crate) fn deploy(&self, script: &str, arguments: &[&str]) -> Result<String, String> {
        output(self.folder.join("deploy").join(script), arguments, "")
    }

    /// Takes or gives a node's power or network: `crash`, `boot`, `cut` or `mend`.
    pub(crate) fn strike(&self, verb: &str, node: &str) -> Result<(), String> {
        lab_script(&[verb, &self.path(""), node])
    }

    /// `kill_server` or `start_server`: of the API server.
    pub(crate) fn server(&self, verb: &str) -> Result<(), String> {
        lab_script(&[verb, &self.path("")])
    }
}

fn lab_script(arguments: &[&str]) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab.sh");
    output(script, arguments, "").map(drop)
}

/// Waits until `condition` tells `Ok(None)`; ends with what it told last.
pub(crate) fn wait_until(
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<String>, String>,
) -> Result<(), String> {
    let end = Instant::now() + limit;
    loop {
        match condition()? {
            None => return Ok(()),
            Some(reason) if Instant::now() > end => {
                return Err(format!("not within {} s: {reason}", limit.as_secs()));
            }
            Some(_) => thread::sleep(ASK_EVERY),
        }
    }
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))
}

fn output(program: impl AsRef<OsStr>, arguments: &[&str], input: &str) -> Result<String, String> {
    let ended = run(&program, arguments, input)?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.success() {
        return Ok(text);
    }
    let error = String::from_utf8_lossy(&ended.stderr);
    let named = named(&program, arguments);
    Err(format!("{named}: {}: {text}{error}", ended.status))
}

fn run(program: impl AsRef<OsStr>, arguments: &[&str], input: &str) -> Result<Output, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", named(&program, arguments));
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(wrong)?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that ends before it has read all of its input tells why by its status.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().map_err(wrong)
}

fn named(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    format!("{} {}", program.as_ref().display(), arguments.join(" "))
}
