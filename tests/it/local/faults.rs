//! A file, a folder and a disk that cannot be used.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Host, number};
use crate::ctl::{FAILED, assert_said};
use crate::plugin::{Answer, Call, Network, Pod, pods};

/// That ADD, DEL and STATUS fail so, and that nothing is written.
#[track_caller]
fn assert_unusable(host: &Host, code: u64, parts: &[&str]) {
    let network = host.network("10.0.0.0/24");
    let before = fs::read(host.path()).ok();
    network.add(&Pod::new("new")).assert_error(code, parts);
    network.del(&Pod::new("c0")).assert_error(code, parts);
    network.gc(Some(&[])).assert_error(code, parts);
    network.status().assert_error(50, parts);
    let tool = host.tool(&["check"]).run();
    assert_said(&tool, FAILED, parts);
    assert_eq!(fs::read(host.path()).ok(), before, "nothing is written");
}

/// A host with two claims, all of which is in the file itself.
fn host() -> Host {
    let host = Host::new();
    let network = host.network("10.0.0.0/24");
    for pod in pods(2) {
        network.add(&pod).result();
    }
    host.fold();
    host
}

#[test]
fn a_damaged_file_is_told_from_a_good_one() {
    for (offset, bytes) in [(0, &[0; 16][..]), (4096, &[0xff; 4096]), (8192, &[7; 64])] {
        let host = host();
        host.damage(offset, bytes);
        assert_unusable(&host, 104, &["local.db"]);
    }
}

#[test]
fn a_truncated_file_is_told_from_a_new_one() {
    for length in [0, 1, 100, 4096, 8192] {
        let host = host();
        let file = fs::File::options().write(true).open(host.path());
        file.expect("it is there")
            .set_len(length)
            .expect("it is ours");
        assert_unusable(&host, 104, &["local.db"]);
    }
}

#[test]
fn a_file_that_is_no_database_or_another_programs_is_left_alone() {
    let host = Host::new();
    fs::write(
        host.path(),
        "not a database, but long enough to be taken for one".repeat(100),
    )
    .expect("it is ours");
    assert_unusable(&host, 104, &["local.db", "not a database"]);
    let host = Host::new();
    host.connect()
        .execute_batch("CREATE TABLE theirs (a)")
        .expect("a database");
    assert_unusable(&host, 104, &["local.db", "another program's database"]);
    let host = Host::new();
    fs::create_dir(host.path()).expect("it is ours");
    assert_unusable(&host, 104, &["local.db", "not a regular file"]);
}

#[test]
fn a_newer_format_is_left_alone() {
    let host = host();
    host.connect()
        .pragma_update(None, "user_version", 2)
        .expect("it is ours");
    host.fold();
    assert_unusable(&host, 104, &["format version 2"]);
}

#[test]
fn a_file_that_is_lost_beside_its_log_is_not_made_anew() {
    let host = Host::new();
    host.network("10.0.0.0/24").add(&Pod::new("a")).result();
    fs::remove_file(host.path()).expect("it is ours");
    assert_unusable(&host, 104, &["local.db", "is lost", "local.db-wal"]);
    fs::remove_file(host.log()).expect("it is ours");
    assert_eq!(number(&host.network("10.0.0.0/24").add(&Pod::new("b"))), 1);
}

#[test]
fn a_folder_that_is_missing_is_not_made() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("mount/local.db");
    let host = Host::with(&json!({"local_path": path}));
    let network = host.network("10.0.0.0/24");
    let parts = ["mount", "is its disk mounted?"];
    network.add(&Pod::new("a")).assert_error(11, &parts);
    network.del(&Pod::new("a")).assert_error(11, &parts);
    network.status().assert_error(50, &parts);
    fs::create_dir(folder.path().join("mount")).expect("it is ours");
    assert_eq!(number(&network.add(&Pod::new("a"))), 1);
}

#[test]
fn the_usual_folder_is_made() {
    let network = Network::of_node(Path::new("/etc/whereabouts-none"))
        .ipam(json!({"configuration_path": null, "datastore": "local", "range": "10.0.0.0/24"}));
    let script = "mount -t tmpfs none /var/lib && \"$0\" && stat -c %a /var/lib/whereabouts";
    let answer = in_namespace(&network.call("ADD", &Pod::new("a")), script);
    assert_eq!(answer.exit_code, Some(0), "{answer:?}");
    assert!(
        answer.stdout.contains("10.0.0.1/24") && answer.stdout.ends_with("700\n"),
        "{answer:?}"
    );
}

#[test]
fn a_lock_that_is_held_to_the_deadline_is_code_11() {
    let host = host();
    let connection = host.connect();
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .expect("it is free");
    let network = host.network("10.0.0.0/24").ipam(json!({"timeout": 1}));
    let begun = Instant::now();
    network
        .add(&Pod::new("new"))
        .assert_error(11, &["busy", "locked"]);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(5),
        "{took:?}"
    );
    // Those that only read do not wait.
    network.status().assert_silent();
    drop(connection);
    assert_eq!(number(&network.add(&Pod::new("new"))), 3);
    host.assert_at_rest(3);
}

#[test]
fn a_file_and_a_folder_that_may_not_be_written_are_code_105() {
    let host = host();
    let call = host.network("10.0.0.0/24").call("ADD", &Pod::new("new"));
    let folder = host.folder.path().display();
    let read_only =
        format!("mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && \"$0\"");
    in_namespace(&call, &read_only).assert_error(105, &["local.db", "may not be used"]);
    let file = format!(
        "mount --bind {0} {0} && mount -o remount,ro,bind {0} && \"$0\"",
        host.path().display()
    );
    in_namespace(&call, &file).assert_error(105, &["local.db", "may not be used"]);
    host.assert_at_rest(2);
    let new = Host::new();
    let call = new.network("10.0.0.0/24").call("ADD", &Pod::new("a"));
    let folder = new.folder.path().display();
    let read_only =
        format!("mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && \"$0\"");
    in_namespace(&call, &read_only).assert_error(105, &["local.db", "may not be used"]);
    assert!(!new.path().exists());
}

#[test]
fn a_full_disk_is_code_11_and_leaves_nothing_half() {
    let host = Host::new();
    let answer = full_disk(&host);
    assert!(answer.stdout.contains("\"code\":11"), "{answer:?}");
}

/// ADDs on a small disk until one fails, and what the tool then says of the file.
fn full_disk(host: &Host) -> Answer {
    let folder = host.folder.path().display().to_string();
    let network = host.network("10.0.0.0/22");
    let config = tempfile::NamedTempFile::new().expect("a file");
    fs::write(config.path(), network.json()).expect("it is ours");
    let (config, flat_file) = (config.path().display(), host.flat_file.path().display());
    let tool = crate::ctl::tool_binary();
    let script = format!(
        "mount -t tmpfs -o size=300k none {folder} || exit 9
         add() {{ CNI_CONTAINERID=$1 \"$0\" <{config}; }}
         head -c 300k /dev/zero >{folder}/ballast 2>/dev/null
         add first && exit 8
         [ \"$(ls -A {folder})\" = ballast ] || exit 7
         rm {folder}/ballast
         number=0
         while add c$number >/tmp/answer.$$; do number=$((number + 1)); [ $number -lt 2000 ] || exit 6; done
         cat /tmp/answer.$$; rm /tmp/answer.$$
         [ $number -gt 20 ] || exit 5
         {tool} check --configuration-path {flat_file} || exit 4
         [ \"$({tool} claims --configuration-path {flat_file} | grep -c ' c[0-9]')\" = $number ] || exit 3"
    );
    let call = network.call("ADD", &Pod::new("any"));
    let answer = in_namespace(&call, &script);
    assert_eq!(answer.exit_code, Some(0), "{answer:?}");
    answer
}

/// Runs `script` in a mount namespace of its own, with the plugin as `$0` and the variables of `call`.
fn in_namespace(call: &Call, script: &str) -> Answer {
    let arguments = ["--mount", "sh", "-c", script].map(str::to_owned);
    call.clone().below("/usr/bin/unshare", &arguments).run()
}
