//! A Kubernetes API server on etcd, with the resource types of the ancestor and of this project.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::KeyPair;
use serde_json::json;
use whereabouts_fixtures::binaries::top;
use whereabouts_fixtures::{free_port, poll};

use super::counts::Counts;
use super::parts::Parts;

/// What the ancestor stores.
const TYPES: &str = include_str!("ancestor_types.yaml");

/// The node whose access this project's plugin has, and the account of all nodes.
pub(crate) const NODE: &str = "bench";
const ACCOUNT: &str = "whereabouts-node";

/// The token of the administrator.
const TOKEN: &str = "administrator";

/// A running API server. It ends when it is dropped.
pub(crate) struct ApiServer {
    process: Child,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

impl ApiServer {
    /// Starts it on this etcd, with its files in `folder`, and waits until it has the types.
    pub(crate) fn start(parts: &Parts, etcd: &str, folder: &Path) -> Result<Self, String> {
        let port = free_port();
        let kubeconfig = folder.join("kubeconfig");
        write_files(folder, port).map_err(|error| format!("{}: {error}", folder.display()))?;
        let server = Self {
            process: spawn(parts, etcd, folder, port)?,
            kubectl: parts.kubectl.clone(),
            kubeconfig,
        };
        poll("the API server is ready", || {
            server.kubectl(&["get", "--raw", "/readyz"], "").ok()
        });
        poll("the namespace of the ancestor exists", || {
            server
                .kubectl(&["get", "namespace", "kube-system"], "")
                .ok()
        });
        server.kubectl(&["create", "-f", "-"], TYPES)?;
        let own = top().join("deploy/kubernetes/datastore");
        server.kubectl(&["apply", "-k", &own.display().to_string()], "")?;
        let established = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd",
            "--all",
        ];
        server.kubectl(&established, "")?;
        server.write_node_access(folder, port)?;
        Ok(server)
    }

    /// Makes a node and its access, as `install` gives it to the plugin: a token of the account of all nodes.
    fn write_node_access(&self, folder: &Path, port: u16) -> Result<(), String> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        self.kubectl(&["create", "-f", "-"], &node.to_string())?;
        self.kubectl(&["create", "serviceaccount", ACCOUNT], "")?;
        let bound = format!("--bound-object-name={NODE}");
        let arguments = [
            "create",
            "token",
            ACCOUNT,
            "--bound-object-kind=Node",
            &bound,
        ];
        let token = self.kubectl(&arguments, "")?;
        let kubeconfig = kubeconfig(folder, port, token.trim());
        let path = self.node_kubeconfig();
        std::fs::write(&path, kubeconfig).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// How this project's plugin reaches it. The ancestor is an administrator, whom no policy and no queue holds up.
    pub(crate) fn node_kubeconfig(&self) -> PathBuf {
        self.kubeconfig.with_file_name("kubeconfig-node")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How a plugin reaches it.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The requests with one of these labels so far, and the bytes of them and of their answers.
    pub(crate) fn counts(&self, labels: &[&str]) -> Result<Counts, String> {
        let metrics = self.kubectl(&["get", "--raw", "/metrics"], "")?;
        Ok(Counts::of_api_server(&metrics, labels))
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let run = || {
            let mut process = Command::new(&self.kubectl)
                .arg("--kubeconfig")
                .arg(&self.kubeconfig)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut stdin = process.stdin.take().expect("stdin is a pipe");
            stdin.write_all(input.as_bytes())?;
            drop(stdin);
            process.wait_with_output()
        };
        let output = run().map_err(|error| format!("{}: {error}", self.kubectl.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let reason = String::from_utf8_lossy(&output.stderr);
        Err(format!("kubectl {arguments:?}: {reason}"))
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write_files(folder: &Path, port: u16) -> std::io::Result<()> {
    let key = KeyPair::generate().expect("a key is generated");
    fs::write(folder.join("accounts.key"), key.serialize_pem())?;
    fs::write(folder.join("accounts.pub"), key.public_key_pem())?;
    let user = format!("{TOKEN},admin,admin,\"system:masters\"\n");
    fs::write(folder.join("tokens.csv"), user)?;
    let admin = kubeconfig(folder, port, TOKEN);
    fs::write(folder.join("kubeconfig"), admin)
}

fn kubeconfig(folder: &Path, port: u16, token: &str) -> String {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": folder.join("apiserver.crt"),
        }}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "bench", "context": {
            "cluster": "bench", "user": "user", "namespace": "kube-system",
        }}],
        "current-context": "bench",
    });
    kubeconfig.to_string()
}

fn spawn(parts: &Parts, etcd: &str, folder: &Path, port: u16) -> Result<Child, String> {
    let log = File::create(folder.join("kube-apiserver.log")).map_err(|error| error.to_string())?;
    let file = |name: &str| folder.join(name).display().to_string();
    Command::new(&parts.kube_apiserver)
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        // It refuses to write an address of the loopback interface into the endpoints of its service.
        .arg("--endpoint-reconciler-type=none")
        .arg(format!("--secure-port={port}"))
        .arg(format!("--etcd-servers={etcd}"))
        .arg(format!("--cert-dir={}", folder.display()))
        .arg(format!("--token-auth-file={}", file("tokens.csv")))
        .arg(format!(
            "--service-account-key-file={}",
            file("accounts.pub")
        ))
        .arg(format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ))
        .args(["--service-account-issuer=https://kubernetes.default.svc.cluster.local"])
        .args([
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("{}: {error}", parts.kube_apiserver.display()))
}
