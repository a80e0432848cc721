//! The deployment's certificates and its role in etcd: enough for plugin and tool, and no more.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::json;

use super::{FAILED, WELL, assert_said, tool};
use crate::plugin::{Call, Pod};
use crate::support::{free_port, poll};

/// How often a start is tried: another process may take a port that was free a moment ago.
const STARTS: usize = 5;

/// An etcd that asks its clients for the certificates of `folder`. It ends when the test lets go of
/// it.
struct Etcd {
    child: Child,
    folder: PathBuf,
    url: String,
}

impl Etcd {
    /// `None` when it ended instead of coming up.
    fn start(folder: &Path, start: usize) -> Option<Self> {
        let url = format!("https://127.0.0.1:{}", free_port());
        let peer = format!("http://127.0.0.1:{}", free_port());
        let child = Command::new("etcd")
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .arg("--data-dir")
            .arg(folder.join(format!("data-{start}")))
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--initial-cluster",
                &format!("default={peer}"),
                "--client-cert-auth",
            ])
            .arg("--trusted-ca-file")
            .arg(folder.join("ca.crt"))
            .arg("--cert-file")
            .arg(folder.join("server.crt"))
            .arg("--key-file")
            .arg(folder.join("server.key"))
            .spawn()
            .expect("etcd is installed");
        let folder = folder.to_path_buf();
        let mut etcd = Self { child, folder, url };
        let is_up = poll("etcd answers", || {
            let ended = etcd.child.try_wait().expect("a child can be asked for");
            let healthy = || etcd.ctl("root", &["endpoint", "health"]).status.success();
            match ended {
                Some(_) => Some(false),
                None => healthy().then_some(true),
            }
        });
        is_up.then_some(etcd)
    }

    /// etcd's own client, or a script that calls it, with the certificate of a user.
    fn as_user(&self, user: &str, mut command: Command) -> Output {
        let path = |name: &str| self.folder.join(name);
        command
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", &self.url)
            .env("ETCDCTL_CACERT", path("ca.crt"))
            .env("ETCDCTL_CERT", path(&format!("{user}.crt")))
            .env("ETCDCTL_KEY", path(&format!("{user}.key")));
        command.output().expect("etcdctl and bash are installed")
    }

    fn ctl(&self, user: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("etcdctl");
        command.args(arguments);
        self.as_user(user, command)
    }

    /// The keys of a config that reach it as the client, with this prefix.
    fn access(&self, prefix: &str) -> serde_json::Value {
        json!({
            "type": "whereabouts",
            "range": "10.0.0.0/24",
            "etcd_host": self.url,
            "etcd_prefix": prefix,
            "etcd_ca_cert_file": self.folder.join("ca.crt"),
            "etcd_cert_file": self.folder.join("client.crt"),
            "etcd_key_file": self.folder.join("client.key"),
            "node_name": "node-1",
        })
    }

    fn add(&self, prefix: &str) -> crate::plugin::Answer {
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "x", "ipam": self.access(prefix),
        });
        let pod = Pod::new("c");
        Call::new()
            .variable("CNI_COMMAND", "ADD")
            .variable("CNI_CONTAINERID", &pod.container)
            .variable("CNI_NETNS", &pod.netns)
            .variable("CNI_IFNAME", &pod.interface)
            .stdin(config.to_string())
            .run()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It fails only for a process that was waited for, which has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut command = Command::new("bash");
    command.arg(folder.join(name));
    command
}

#[track_caller]
fn assert_well(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_role_of_the_deployment_is_enough_for_plugin_and_tool_and_ends_at_the_prefix() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut certificates = script("make-certificates.sh");
    certificates.arg(folder.path()).arg("127.0.0.1");
    assert_well(&certificates.output().expect("bash is installed"));
    let started = (0..STARTS).find_map(|start| Etcd::start(folder.path(), start));
    let etcd = started.expect("etcd starts");
    let role = || {
        let mut role = script("etcd-role.sh");
        role.arg("/mine/");
        etcd.as_user("root", role)
    };
    assert_well(&role());
    assert_well(&role());

    assert_eq!(etcd.add("/mine/").address(), "10.0.0.1/24");
    etcd.add("/other/")
        .assert_error(105, &["permission denied"]);
    assert!(
        !etcd
            .ctl("client", &["get", "--prefix", "/"])
            .status
            .success()
    );
    assert!(!etcd.ctl("client", &["put", "/mine", "x"]).status.success());
    assert!(!etcd.ctl("client", &["user", "list"]).status.success());

    let flat_file = folder.path().join("whereabouts.conf");
    let on = |prefix: &str, arguments: &[&str]| {
        let keys = etcd.access(prefix).to_string();
        std::fs::write(&flat_file, keys).expect("the folder can be written");
        let path = flat_file.to_str().expect("a path is text");
        tool(arguments)
            .argument("--configuration-path")
            .argument(path)
            .run()
    };
    for command in ["ranges", "claims", "queue", "check"] {
        assert_eq!(on("/mine/", &[command]).exit_code, WELL, "{command}");
    }
    let backup = folder.path().join("backup");
    let backup = backup.to_str().expect("a path is text");
    assert_said(&on("/mine/", &["backup", backup]), WELL, &["2 entries"]);
    assert_said(
        &on("/mine/", &["release", "10.0.0.1", "--yes"]),
        WELL,
        &["released"],
    );
    assert_said(&on("/other/", &["ranges"]), FAILED, &["permission denied"]);
}
