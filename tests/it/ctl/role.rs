//! The deployment's certificates and its role in etcd: enough for plugin and tool, and no more.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{FAILED, WELL, assert_said, tool, tool_binary};
use crate::ctl::page::Server;
use crate::plugin::{Call, Pod};
use crate::support::{free_port, poll};

/// How often a start is tried: another process may take a port that was free a moment ago.
const STARTS: usize = 5;

/// An etcd with the certificates of `folder`. It ends when the test lets go of it.
pub(super) struct Etcd {
    child: Child,
    folder: PathBuf,
    /// Where clients reach it.
    pub(super) url: String,
    peer: String,
    arguments: &'static [&'static str],
}

impl Etcd {
    /// One that asks its clients for their certificates.
    pub(super) fn new(folder: &Path) -> Self {
        Self::with(folder, &["--client-cert-auth"])
    }

    fn with(folder: &Path, arguments: &'static [&'static str]) -> Self {
        let started = (0..STARTS).find_map(|_| Self::start(folder, arguments));
        started.expect("etcd starts")
    }

    /// `None` when it ended instead of coming up.
    fn start(folder: &Path, arguments: &'static [&'static str]) -> Option<Self> {
        let url = format!("https://127.0.0.1:{}", free_port());
        let peer = format!("http://127.0.0.1:{}", free_port());
        let child = spawn(folder, &url, &peer, arguments);
        let folder = folder.to_path_buf();
        let mut etcd = Self {
            child,
            folder,
            url,
            peer,
            arguments,
        };
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

    /// Starts it again, with its data, once it was killed.
    fn start_again(&mut self) {
        self.child.wait().expect("a child can be waited for");
        self.child = spawn(&self.folder, &self.url, &self.peer, self.arguments);
    }

    /// etcd's own client, or a script that calls it, with the certificate of a user.
    fn as_user(&self, user: &str, mut command: Command) -> Output {
        let output = self.configured(user, &mut command).output();
        output.expect("etcdctl and bash are installed")
    }

    fn configured<'c>(&self, user: &str, command: &'c mut Command) -> &'c mut Command {
        let path = |name: &str| self.folder.join(name);
        command
            .env("ETCDCTL_ENDPOINTS", &self.url)
            .env("ETCDCTL_CACERT", path("ca.crt"))
            .env("ETCDCTL_CERT", path(&format!("{user}.crt")))
            .env("ETCDCTL_KEY", path(&format!("{user}.key")))
    }

    pub(super) fn ctl(&self, user: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("etcdctl");
        command.args(arguments);
        self.as_user(user, command)
    }

    /// The script that makes the role, with the certificate of a user.
    pub(super) fn role(&self, user: &str, arguments: &[&str]) -> Output {
        let mut role = script("etcd-role.sh");
        role.args(arguments);
        self.as_user(user, role)
    }

    /// That everybody can use it as before.
    #[track_caller]
    fn assert_open(&self) {
        for user in ["root", "client", "read", "server"] {
            assert_well(&self.ctl(user, &["put", "/anywhere", "x"]));
            assert_well(&self.ctl(user, &["del", "/anywhere"]));
        }
        let users = self.ctl("read", &["user", "list"]);
        assert_well(&users);
        assert!(!text(&users.stdout).contains("way-back"), "{users:?}");
    }

    /// The keys of a config that reach it as the client, with this prefix.
    fn access(&self, user: &str, prefix: &str) -> serde_json::Value {
        json!({
            "type": "whereabouts",
            "range": "10.0.0.0/24",
            "etcd_host": self.url,
            "etcd_prefix": prefix,
            "etcd_ca_cert_file": self.folder.join("ca.crt"),
            "etcd_cert_file": self.folder.join(format!("{user}.crt")),
            "etcd_key_file": self.folder.join(format!("{user}.key")),
            "node_name": "node-1",
        })
    }

    fn add(&self, prefix: &str) -> crate::plugin::Answer {
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "x", "ipam": self.access("client", prefix),
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
    let folder = whereabouts_fixtures::binaries::top().join("deploy");
    // A shell cannot trap a signal that it is told to ignore, as background commands are told of SIGINT.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", "bash"]);
    command.arg(folder.join(name));
    command
}

fn spawn(folder: &Path, url: &str, peer: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new("etcd");
    command
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .arg("--data-dir")
        .arg(folder.join(format!("data-{}", url.replace(['/', ':'], "-"))))
        .args(["--listen-client-urls", url, "--advertise-client-urls", url])
        .args(["--listen-peer-urls", peer])
        .args(["--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(arguments);
    for (option, file) in [
        ("--trusted-ca-file", "ca.crt"),
        ("--cert-file", "server.crt"),
        ("--key-file", "server.key"),
    ] {
        command.arg(option).arg(folder.join(file));
    }
    command.spawn().expect("etcd is installed")
}

/// A folder with the certificates of an etcd on this machine.
pub(super) fn certified() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut certificates = script("make-certificates.sh");
    certificates.arg(folder.path()).arg("127.0.0.1");
    assert_well(&certificates.output().expect("bash is installed"));
    folder
}

#[track_caller]
pub(super) fn assert_well(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_role_of_the_deployment_is_enough_for_plugin_and_tool_and_ends_at_the_prefix() {
    let folder = certified();
    let etcd = Etcd::new(folder.path());
    assert_well(&etcd.role("root", &["/mine/"]));
    assert_well(&etcd.role("root", &["/mine/"]));

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
    let by = |user: &str, prefix: &str, arguments: &[&str]| {
        let keys = etcd.access(user, prefix).to_string();
        std::fs::write(&flat_file, keys).expect("the folder can be written");
        let path = flat_file.to_str().expect("a path is text");
        tool(arguments)
            .argument("--configuration-path")
            .argument(path)
            .run()
    };
    let on = |prefix: &str, arguments: &[&str]| by("client", prefix, arguments);
    for command in ["ranges", "claims", "queue", "check"] {
        assert_eq!(
            by("read", "/mine/", &[command]).exit_code,
            WELL,
            "{command}"
        );
        assert_eq!(on("/mine/", &[command]).exit_code, WELL, "{command}");
    }
    let released = by("read", "/mine/", &["release", "10.0.0.1", "--yes"]);
    assert_said(&released, FAILED, &["permission denied"]);
    let path = flat_file.to_str().expect("a path is text");
    Server::start(&["--configuration-path", path]).await_state("live");
    let backup = folder.path().join("backup");
    let backup = backup.to_str().expect("a path is text");
    assert_said(&on("/mine/", &["backup", backup]), WELL, &["3 entries"]);
    assert_said(
        &on("/mine/", &["release", "10.0.0.1", "--yes"]),
        WELL,
        &["released"],
    );
    assert_said(&on("/other/", &["ranges"]), FAILED, &["permission denied"]);
}

#[track_caller]
fn assert_refused(output: &Output, part: &str) {
    assert!(!output.status.success(), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains(part), "no {part:?} in {said}");
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_etcd_of_somebody_else_is_left_as_it_is() {
    let folder = certified();
    let etcd = Etcd::new(folder.path());
    let check = |make: &str, unmake: &str, part: &str| {
        let ctl = |line: &str| etcd.ctl("read", &line.split(' ').collect::<Vec<_>>());
        assert_well(&ctl(make));
        assert_refused(&etcd.role("root", &[]), part);
        etcd.assert_open();
        assert_well(&ctl(unmake));
    };
    check(
        "put /registry/pods x",
        "del /registry/pods",
        "/registry/pods",
    );
    check(
        "put /whereabouts/v10 x",
        "del /whereabouts/v10",
        "/whereabouts/v10",
    );
    check("put z x", "del z", "keys of somebody else: z");
    check(
        "role add theirs",
        "role delete theirs",
        "roles of somebody else: theirs",
    );
    check(
        "user add them:x",
        "user delete them",
        "users of somebody else: them",
    );

    assert_well(&etcd.ctl("read", &["user", "add", "server", "--no-password"]));
    assert_well(&etcd.ctl("read", &["user", "grant-role", "server", "root"]));
    assert_well(&etcd.ctl("read", &["put", "theirs", "x"]));
    assert_well(&etcd.role("root", &["--shared"]));
    assert_well(&etcd.ctl("server", &["get", "theirs"]));
    assert_well(&etcd.role("root", &["--shared"]));
}

#[test]
fn a_certificate_that_could_not_turn_authentication_off_does_not_turn_it_on() {
    let folder = certified();
    let etcd = Etcd::new(folder.path());
    assert_refused(&etcd.role("client", &[]), "is not root");
    let mut nobody = script("etcd-role.sh");
    nobody.env("ETCDCTL_ENDPOINTS", &etcd.url);
    assert_refused(&nobody.output().expect("bash is installed"), "ETCDCTL_CERT");
    etcd.assert_open();
}

#[test]
fn an_etcd_that_asks_for_no_certificate_has_no_authentication_afterwards() {
    let folder = certified();
    let etcd = Etcd::with(folder.path(), &[]);
    assert_refused(&etcd.role("root", &[]), "--client-cert-auth");
    etcd.assert_open();
}

#[test]
fn authentication_is_off_again_if_a_certificate_can_do_too_much_or_too_little() {
    let folder = certified();
    let etcd = Etcd::new(folder.path());
    let check = |pair: &str, of: &str, part: &str| {
        let path = |name: &str, end: &str| folder.path().join(format!("{name}.{end}"));
        for end in ["crt", "key"] {
            let kept = format!("{end}.kept");
            fs::copy(path(pair, end), path(pair, &kept)).expect("it is there");
            fs::copy(path(of, end), path(pair, end)).expect("it is there");
        }
        let refused = etcd.role("root", &[]);
        for end in ["crt", "key"] {
            let kept = format!("{end}.kept");
            fs::rename(path(pair, &kept), path(pair, end)).expect("it is there");
        }
        assert_refused(&refused, part);
        assert_refused(&refused, "authentication is off");
        etcd.assert_open();
    };
    check("client", "root", "must not be allowed to: get");
    check("client", "read", "must be allowed to: del");
    check("client", "server", "must be allowed to: get");
    check("read", "client", "must not be allowed to: del");
    assert_well(&etcd.role("root", &[]));
}

/// The script, where etcd's own client does `harm` as soon as it has turned authentication on.
fn harmed_role(etcd: &Etcd, harm: &str) -> Command {
    let bin = etcd.folder.join("bin");
    fs::create_dir_all(&bin).expect("the folder can be written");
    let shim = format!(
        "#!/bin/bash\nPATH=${{PATH#*:}} etcdctl \"$@\" || exit\n[[ $* != 'auth enable' ]] || {harm}\n"
    );
    fs::write(bin.join("etcdctl"), shim).expect("the folder can be written");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bin.join("etcdctl"), executable).expect("it is there");
    let path = std::env::var("PATH").expect("a path of programs");
    let mut role = script("etcd-role.sh");
    role.env("PATH", format!("{}:{path}", bin.display()));
    role
}

#[test]
fn a_member_that_is_killed_in_the_middle_leaves_authentication_off() {
    let folder = certified();
    let mut etcd = Etcd::new(folder.path());
    let mut role = harmed_role(&etcd, &format!("kill -9 {}", etcd.child.id()));
    etcd.configured("root", &mut role)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut running = role.spawn().expect("bash is installed");
    let stderr = running.stderr.take().expect("it is piped");
    let mut said = BufReader::new(stderr).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("turning authentication off again")));
    etcd.start_again();
    assert!(said.any(|line| line.contains("authentication is off")));
    let ended = running.wait().expect("a child can be waited for");
    assert_eq!(ended.code(), Some(1));
    etcd.assert_open();
    assert_well(&etcd.role("root", &[]));
}

#[test]
fn a_run_that_is_ended_in_the_middle_leaves_authentication_off() {
    let folder = certified();
    let etcd = Etcd::new(folder.path());
    for signal in ["TERM", "INT"] {
        let role = harmed_role(&etcd, &format!("kill -{signal} $PPID"));
        assert_refused(&etcd.as_user("root", role), "authentication is off");
        etcd.assert_open();
    }
}

#[test]
fn passwords_and_roles_of_earlier_days_are_gone() {
    let folder = certified();
    let etcd = Etcd::new(folder.path());
    for line in [
        "role add root",
        "user add root:secret",
        "user add whereabouts:secret",
        "user grant-role whereabouts root",
        "role add whereabouts",
        "role grant-permission whereabouts read /registry",
    ] {
        assert_well(&etcd.ctl("root", &line.split(' ').collect::<Vec<_>>()));
    }
    assert_well(&etcd.role("root", &[]));
    for user in ["root", "whereabouts", "whereabouts-way-back"] {
        let login = format!("--user={user}:secret");
        assert!(!etcd.ctl("root", &[&login, "user", "list"]).status.success());
    }
    for refused in [&["user", "list"][..], &["get", "/registry"]] {
        assert!(!etcd.ctl("client", refused).status.success());
    }
    // A role that is given later goes when the script is run again.
    assert_well(&etcd.ctl("root", &["user", "grant-role", "whereabouts", "root"]));
    assert_well(&etcd.role("root", &[]));
    assert!(!etcd.ctl("client", &["user", "list"]).status.success());
}

fn openssl(arguments: &[&str]) -> bool {
    let output = Command::new("openssl").args(arguments).output();
    output.expect("openssl is installed").status.success()
}

#[test]
fn a_clients_certificate_is_for_clients_alone() {
    let folder = certified();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (pair, serves) in [
        ("client", false),
        ("read", false),
        ("root", false),
        ("server", true),
    ] {
        for (purpose, expected) in [("sslclient", true), ("sslserver", serves)] {
            let (authority, certificate) = (path("ca.crt"), path(&format!("{pair}.crt")));
            let verify = [
                "verify",
                "-purpose",
                purpose,
                "-CAfile",
                &authority,
                &certificate,
            ];
            assert_eq!(openssl(&verify), expected, "{pair}: {purpose}");
        }
    }
}

#[test]
fn certificates_that_cannot_be_made_are_reported_and_none_appears() {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("it is a folder");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    };
    let check = |spoil: &dyn Fn(&Path), name: &str, part: &str| {
        let folder = certified();
        let folder = folder.path();
        spoil(folder);
        let before = names(folder);
        let mut certificates = script("make-certificates.sh");
        certificates.arg(folder).arg(name);
        assert_refused(&certificates.output().expect("bash is installed"), part);
        assert_eq!(names(folder), before);
    };
    let remove = |folder: &Path, names: &[&str]| {
        for name in names {
            fs::remove_file(folder.join(name)).expect("it is there");
        }
    };
    let nothing: &dyn Fn(&Path) = &|_| {};
    let here = "127.0.0.1";
    check(nothing, "a,IP:10.0.0.1", "neither a name nor an address");
    check(nothing, "10.0.0.9", "server.crt is not for 10.0.0.9");
    check(
        &|folder| remove(folder, &["ca.key"]),
        here,
        "only one exists",
    );
    check(
        &|folder| remove(folder, &["read.crt"]),
        here,
        "only one exists",
    );
    check(
        &|folder| remove(folder, &["ca.key", "ca.crt"]),
        here,
        "openssl verify",
    );
    let server = ["server.key", "server.crt", "client.crt", "client.key"];
    check(
        &|folder| remove(folder, &server),
        "10.0.0.999",
        "bad ip address",
    );
    let exchange = |folder: &Path| {
        fs::copy(folder.join("read.key"), folder.join("client.key")).expect("it is there");
    };
    check(&exchange, here, "is not the key of");
    let mut nowhere = script("make-certificates.sh");
    nowhere.args(["/proc/nowhere", here]);
    assert_refused(
        &nowhere.output().expect("bash is installed"),
        "cannot be made",
    );
}

#[test]
fn a_server_beyond_loopback_says_so() {
    for (address, expected) in [
        ("127.0.0.1:0", false),
        ("[::1]:0", false),
        ("0.0.0.0:0", true),
    ] {
        let mut process = Command::new(tool_binary())
            .args(["serve", "--listen", address])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is built");
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("listening on")));
        let pid = Pid::from_child(&process);
        kill_process(pid, Signal::TERM).expect("it was not waited for");
        let ended = process
            .wait_with_output()
            .expect("a child can be waited for");
        let warned = text(&ended.stderr).contains("beyond loopback");
        assert_eq!(warned, expected, "{address}: {ended:?}");
    }
}
