//! `install` and `uninstall`: on a folder, again and again, while the plugin is executed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{FAILED, TOOL, WELL, assert_said, tool};
use crate::plugin::{Answer, Call, Foreigner, Pod, Site, await_in_line};
use crate::support::poll;

/// A node: where its plugins and its flat file are.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().expect("a temporary folder"));
        let source = node.path("source");
        fs::create_dir_all(source.join("secrets")).expect("the folder can be written");
        let plugin = Call::folder().join("whereabouts");
        fs::copy(plugin, source.join("whereabouts")).expect("the plugin is built");
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
    let node = Node::new();
    assert_said(&node.install(&[]), WELL, &["wrote", "whereabouts.conf"]);
    let installed = [
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

#[test]
fn a_part_that_is_missing_is_exit_status_2_and_leaves_the_plugin_as_it_was() {
    let node = Node::new();
    assert_said(&node.install(&[]), WELL, &[]);
    fs::remove_file(node.path("source/whereabouts.conf")).expect("it is there");
    assert_said(&node.install(&[]), FAILED, &["whereabouts.conf"]);
    assert_eq!(node.files().len(), 7);
}

/// Another build of the plugin: it has some bytes more.
fn change_plugin(source: &Path, round: u8) {
    let mut bytes = fs::read(source).expect("it is there");
    bytes.push(round);
    fs::write(source, bytes).expect("the folder can be written");
}

#[test]
fn an_installation_over_a_plugin_that_is_executed_all_the_time_disturbs_no_execution() {
    let node = Node::new();
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
    assert_eq!(node.files().len(), 7, "no temporary file is left");
}

#[test]
fn an_execution_of_the_old_plugin_goes_on_after_the_new_one_is_installed() {
    let node = Node::new();
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
    let mut staying = std::process::Command::new(TOOL)
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
