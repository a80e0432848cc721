//! `install` and `uninstall`: on a folder, again and again, while the plugin is executed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{FAILED, FOUND, WELL, assert_said, tool, tool_binary};
use crate::plugin::{Answer, Call, Foreigner, Pod, Site, await_in_line};
use crate::support::poll;

/// A node: where its plugins and its flat file are.
struct Node(tempfile::TempDir);

impl Node {
    /// With something smaller than the plugin.
    fn new() -> Self {
        let node = Self::without_plugin();
        let plugin = node.path("source/whereabouts");
        fs::write(plugin, "a plugin").expect("the folder can be written");
        node
    }

    fn with_the_plugin() -> Self {
        let node = Self::without_plugin();
        let plugin = Call::folder().join("whereabouts");
        fs::copy(plugin, node.path("source/whereabouts")).expect("the plugin is built");
        node
    }

    fn without_plugin() -> Self {
        let node = Self(tempfile::tempdir().expect("a temporary folder"));
        let source = node.path("source");
        fs::create_dir_all(source.join("secrets")).expect("the folder can be written");
        let flat_file = json!({"etcd_host": "a", "etcd_ca_cert_file": "/x/ca.crt"}).to_string();
        for (name, content) in [
            ("whereabouts.conf", flat_file.as_str()),
            ("secrets/ca.crt", "certificate"),
            ("secrets/client.key", "key"),
            ("secrets/.hidden", "not a secret's file"),
        ] {
            fs::write(source.join(name), content).expect("the folder can be written");
        }
        node
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, command: &str, more: &[&str]) -> Answer {
        self.call(command, more).run()
    }

    fn call(&self, command: &str, more: &[&str]) -> Call {
        let text = |name: &str| self.path(name).to_str().expect("a path is text").to_owned();
        let (bin, config) = (text("bin"), text("net.d/whereabouts.d"));
        let place = [command, "--bin-dir", &bin, "--config-dir", &config];
        tool(&[&place[..], more].concat())
    }

    fn install(&self, more: &[&str]) -> Answer {
        let text = |name: &str| self.path(name).to_str().expect("a path is text").to_owned();
        let (plugin, flat) = (text("source/whereabouts"), text("source/whereabouts.conf"));
        let secrets = text("source/secrets");
        let parts = [
            "--plugin",
            &plugin,
            "--flat-file",
            &flat,
            "--secrets",
            &secrets,
            "--node-name",
            "node-7",
            "--other-name",
        ];
        self.run("install", &[&parts[..], more].concat())
    }

    /// Name and mode of everything in the two folders.
    fn files(&self) -> Vec<(String, u32)> {
        let mut files = Vec::new();
        for folder in ["bin", "net.d/whereabouts.d"] {
            let Ok(entries) = fs::read_dir(self.path(folder)) else {
                continue;
            };
            for entry in entries {
                let entry = entry.expect("a folder can be read");
                let mode = entry.metadata().expect("it is there").permissions().mode();
                let name = entry.file_name().to_string_lossy().into_owned();
                files.push((name, mode & 0o777));
            }
        }
        files.sort();
        files
    }
}

#[test]
fn what_is_installed_has_its_mode_and_is_removed_again() {
    let node = Node::with_the_plugin();
    assert_said(&node.install(&[]), WELL, &["wrote", "whereabouts.conf"]);
    let installed = [
        (".installed-by-whereaboutsctl", 0o644),
        (".installed-by-whereaboutsctl", 0o644),
        ("ca.crt", 0o600),
        ("client.key", 0o600),
        ("nodename", 0o644),
        ("whereaboots", 0o755),
        ("whereabouts", 0o755),
        ("whereabouts.conf", 0o600),
    ];
    let installed = installed.map(|(name, mode)| (name.to_owned(), mode));
    assert_eq!(node.files(), installed);
    let again = node.install(&[]);
    assert_eq!(
        (again.exit_code, again.stdout.as_str()),
        (WELL, ""),
        "nothing has changed"
    );
    let about = Call::new().program(node.path("bin/whereabouts")).run();
    assert_eq!(about.exit_code, Some(0), "it can be executed");

    let removed = node.run("uninstall", &[]);
    assert_said(&removed, WELL, &["removed"]);
    assert_eq!(node.files(), []);
    assert!(!node.path("net.d/whereabouts.d").exists());
    assert_eq!(
        node.run("uninstall", &[]).exit_code,
        WELL,
        "it is gone already"
    );
}

#[test]
fn what_somebody_else_has_put_there_stays() {
    let node = Node::new();
    assert_said(&node.install(&[]), WELL, &[]);
    let theirs = node.path("net.d/whereabouts.d/theirs");
    fs::write(&theirs, "x").expect("the folder can be written");
    assert_said(&node.run("uninstall", &[]), WELL, &[]);
    assert!(theirs.exists());
    assert_eq!(node.files().len(), 1);
}

/// Makes a file what this program has not written.
fn spoil(path: &Path) {
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
    fs::write(path, "somebody else's").expect("the folder can be written");
}

#[test]
fn a_plugin_that_was_never_installed_is_not_removed() {
    let node = Node::new();
    let plugin = node.path("bin/whereabouts");
    spoil(&plugin);
    let left = node.run("uninstall", &[]);
    assert_said(&left, FOUND, &["left", "bin/whereabouts"]);
    assert!(plugin.exists());
    // Not either if it is the same file.
    fs::copy(node.path("source/whereabouts"), &plugin).expect("it is there");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&plugin, executable).expect("it is there");
    assert_said(&node.install(&[]), WELL, &["nodename"]);
    assert_said(&node.run("uninstall", &[]), FOUND, &["bin/whereabouts"]);
    assert_eq!(node.files(), [("whereabouts".to_owned(), 0o755)]);
}

#[test]
fn what_has_changed_since_is_not_removed() {
    let node = Node::new();
    assert_said(&node.install(&[]), WELL, &[]);
    let changed = ["net.d/whereabouts.d/ca.crt", "bin/whereaboots"];
    for name in changed {
        spoil(&node.path(name));
    }
    for _ in 0..2 {
        assert_said(&node.run("uninstall", &[]), FOUND, &changed);
        // Each with the note that it was installed.
        assert_eq!(node.files().len(), 4);
    }
    for name in changed {
        fs::remove_file(node.path(name)).expect("it is there");
    }
    assert_said(&node.run("uninstall", &[]), WELL, &[]);
    assert_eq!(node.files(), []);
}

#[test]
fn what_belongs_to_somebody_else_is_replaced_only_on_request() {
    let check = |name: &str, make: &dyn Fn(&Path)| {
        let node = Node::new();
        let path = node.path(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        make(&path);
        let before = node.files();
        let refused = node.install(&[]);
        assert_said(&refused, FAILED, &[name, "--replace-foreign"]);
        assert_eq!(node.files(), before, "nothing is installed");
        assert_said(&node.install(&["--replace-foreign"]), WELL, &[name]);
        assert_eq!(node.files().len(), 8);
        assert_said(&node.run("uninstall", &[]), WELL, &[name]);
        assert_eq!(node.files(), []);
    };
    let elsewhere = tempfile::NamedTempFile::new().expect("a temporary file");
    let link = |path: &Path| std::os::unix::fs::symlink(elsewhere.path(), path);
    for name in [
        "bin/whereabouts",
        "bin/whereaboots",
        "net.d/whereabouts.d/client.key",
    ] {
        check(name, &spoil);
        check(name, &|path| link(path).expect("a link is made"));
    }
    let there = fs::read(elsewhere.path()).expect("the link's target is there");
    assert_eq!(there, b"", "nobody follows a link");

    let node = Node::new();
    assert_said(&node.install(&[]), WELL, &[]);
    spoil(&node.path("net.d/whereabouts.d/whereabouts.conf"));
    assert_said(
        &node.install(&[]),
        FAILED,
        &["whereabouts.conf", "--replace-foreign"],
    );
    assert_said(
        &node.install(&["--replace-foreign"]),
        WELL,
        &["whereabouts.conf"],
    );
}

#[test]
fn an_installation_that_was_killed_is_taken_up_again() {
    let node = Node::new();
    let listed = node.path("bin/.installed-by-whereaboutsctl");
    let read = |path: &Path| fs::read(path).expect("it is there");
    assert_said(&node.install(&[]), WELL, &[]);
    let (old, noted) = (read(&node.path("bin/whereabouts")), read(&listed));
    change_plugin(&node.path("source/whereabouts"), 1);
    assert_said(&node.install(&[]), WELL, &["bin/whereabouts"]);
    // The new content is noted, and the old one is still there.
    fs::write(node.path("bin/whereabouts"), old).expect("the folder can be written");
    fs::write(&listed, [noted, read(&listed)].concat()).expect("the folder can be written");
    assert_said(&node.install(&[]), WELL, &["bin/whereabouts"]);
    assert_said(&node.run("uninstall", &[]), WELL, &["bin/whereabouts"]);
    assert_eq!(node.files(), []);
}

#[test]
fn a_note_leads_to_no_other_folder() {
    let node = Node::new();
    assert_said(&node.install(&[]), WELL, &[]);
    let listed = node.path("bin/.installed-by-whereaboutsctl");
    let theirs = node.path("source/secrets/ca.crt");
    let noted = fs::read_to_string(node.path("net.d/whereabouts.d/.installed-by-whereaboutsctl"));
    let noted = noted
        .expect("it is there")
        .replace("  ", "  ../source/secrets/");
    fs::write(&listed, noted).expect("the folder can be written");
    assert_said(&node.run("uninstall", &[]), FOUND, &["bin/whereabouts"]);
    assert!(theirs.exists());
}

#[test]
fn a_folder_that_is_a_volume_of_the_container_stays() {
    let node = Node::new();
    assert_said(&node.install(&[]), WELL, &[]);
    let text = |name: &str| node.path(name).to_str().expect("a path is text").to_owned();
    let (bin, config) = (text("bin"), text("net.d/whereabouts.d"));
    let script = "/bin/mount --bind \"$3\" \"$3\" && exec \"$1\" uninstall --bin-dir \"$2\" --config-dir \"$3\"";
    let call = [
        "--mount",
        "/bin/sh",
        "-c",
        script,
        "sh",
        tool_binary(),
        &bin,
        &config,
    ];
    let removed = tool(&call).program("/usr/bin/unshare").run();
    assert_said(&removed, WELL, &["removed"]);
    assert_eq!(node.files(), []);
}

#[test]
fn a_node_has_a_name_that_the_plugin_takes() {
    let node = Node::new();
    let long = "a".repeat(254);
    for name in ["", "a/b", "a\nb", "localhost", " a", &long] {
        let refused = node.run("install", &["--node-name", name]);
        assert_said(&refused, FAILED, &["--node-name"]);
        assert_eq!(node.files(), [], "{name:?}");
    }
}

#[test]
fn a_secret_cannot_take_the_place_of_the_flat_file() {
    for name in ["whereabouts.conf", "nodename", "cluster"] {
        let node = Node::new();
        spoil(&node.path("source/secrets").join(name));
        assert_said(
            &node.install(&[]),
            FAILED,
            &[name, "no secret has this name"],
        );
        assert_eq!(node.files(), []);
    }
}

#[test]
fn a_part_that_is_missing_is_exit_status_2_and_leaves_the_plugin_as_it_was() {
    let node = Node::new();
    assert_said(&node.install(&[]), WELL, &[]);
    fs::remove_file(node.path("source/whereabouts.conf")).expect("it is there");
    assert_said(&node.install(&[]), FAILED, &["whereabouts.conf"]);
    assert_eq!(node.files().len(), 8);
}

/// Another build of the plugin: it has some bytes more.
fn change_plugin(source: &Path, round: u8) {
    let mut bytes = fs::read(source).expect("it is there");
    bytes.push(round);
    fs::write(source, bytes).expect("the folder can be written");
}

#[test]
fn an_installation_over_a_plugin_that_is_executed_all_the_time_disturbs_no_execution() {
    let node = Node::with_the_plugin();
    assert_said(&node.install(&[]), WELL, &[]);
    let plugin = node.path("bin/whereabouts");
    let ended = AtomicBool::new(false);
    let executions: usize = thread::scope(|scope| {
        let execute = || {
            let mut count = 0;
            while !ended.load(Ordering::Relaxed) {
                let call = Call::new()
                    .program(&plugin)
                    .variable("CNI_COMMAND", "VERSION");
                let answer = call.stdin(r#"{"cniVersion": "1.0.0"}"#).run();
                assert_eq!(answer.exit_code, Some(0), "{answer:?}");
                count += 1;
            }
            count
        };
        let executing = [scope.spawn(execute), scope.spawn(execute)];
        for round in 0..10 {
            change_plugin(&node.path("source/whereabouts"), round);
            assert_said(&node.install(&[]), WELL, &["bin/whereabouts"]);
        }
        ended.store(true, Ordering::Relaxed);
        executing
            .map(|one| one.join().expect("no execution failed"))
            .iter()
            .sum()
    });
    assert!(executions > 10, "{executions}");
    let installed = fs::read(&plugin).expect("it is there");
    assert_eq!(
        installed,
        fs::read(node.path("source/whereabouts")).expect("it is there")
    );
    assert_eq!(node.files().len(), 8, "no temporary file is left");
}

#[test]
fn an_execution_of_the_old_plugin_goes_on_after_the_new_one_is_installed() {
    let node = Node::with_the_plugin();
    assert_said(&node.install(&[]), WELL, &[]);
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let gate = Foreigner::hold(&site, "10.0.0.0/24");
    let old = network.call("ADD", &Pod::new("c"));
    let mut old = old.program(node.path("bin/whereabouts")).start();
    await_in_line(&site, 1, &mut old);
    change_plugin(&node.path("source/whereabouts"), 1);
    assert_said(&node.install(&[]), WELL, &["bin/whereabouts"]);
    gate.leave(&site);
    assert_eq!(old.finish().address(), "10.0.0.1/24");
}

#[test]
fn who_stays_installs_what_has_changed_and_uninstalls_at_the_end() {
    let node = Node::new();
    let text = |name: &str| node.path(name).to_str().expect("a path is text").to_owned();
    let mut staying = std::process::Command::new(tool_binary())
        .args(["install", "--stay", "--then-uninstall", "--every", "50ms"])
        .args([
            "--bin-dir",
            &text("bin"),
            "--config-dir",
            &text("net.d/whereabouts.d"),
        ])
        .args([
            "--plugin",
            &text("source/whereabouts"),
            "--secrets",
            &text("source/secrets"),
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the tool starts");
    let certificate = node.path("net.d/whereabouts.d/ca.crt");
    let is = |content: &str| fs::read(&certificate).is_ok_and(|there| there == content.as_bytes());
    poll("it is installed", || {
        (is("certificate") && node.path("bin/whereabouts").exists()).then_some(())
    });
    fs::write(node.path("source/secrets/ca.crt"), "renewed").expect("the folder can be written");
    poll("what has changed is installed", || {
        is("renewed").then_some(())
    });
    kill_process(Pid::from_child(&staying), Signal::TERM).expect("it was not waited for");
    let ended = staying.wait().expect("a child can be waited for");
    assert!(ended.success(), "{ended}");
    assert_eq!(node.files(), []);
}
