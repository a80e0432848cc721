//! The standard streams and files of the process: streams that take nothing, files that are none, and a machine
//! without
//! threads. None of them blocks a verb, and none of them is taken for a bug.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::plugin::{Answer, Call, Network, Pod, Site, log_folder, node_file};

const CIDR: &str = "10.0.0.0/24";

/// ADD, by a shell that does `script` with the plugin as `$0` and `path` as `$1`.
fn add_by(script: &str, network: &Network, path: &Path) -> Answer {
    by(script, network.call("ADD", &Pod::new("c")), path)
}

/// A call of the plugin, by such a shell.
fn by(script: &str, call: Call, path: &Path) -> Answer {
    let plugin = Call::folder().join("whereabouts");
    let (plugin, path) = (plugin.display().to_string(), path.display().to_string());
    let call = call
        .program("/bin/bash")
        .variable("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let arguments = ["-c", script, &plugin, &path];
    arguments
        .iter()
        .fold(call, |call, one| call.argument(one))
        .run()
}

#[test]
fn an_answer_that_standard_output_does_not_take_is_exit_code_1() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fifo = folder.path().join("fifo");
    for script in [
        "exec \"$0\" > /dev/full",
        // A pipe that nobody reads any more.
        "mkfifo \"$1\"; exec 3<> \"$1\" 4> \"$1\" 3<&-; exec \"$0\" >&4",
        "exec \"$0\" >&-",
        "exec \"$0\" 1< \"$0\"",
        "exec \"$0\" 1< /dev/null",
    ] {
        let site = Site::shared();
        let network = site.network(CIDR);
        let added = add_by(script, &network, &fifo);
        assert_eq!(added.exit_code, Some(1), "{added:?}");
        assert!(added.stderr.contains("standard output"), "{added:?}");
        network.del(&Pod::new("c")).assert_silent();
        let failed = network.ipam(json!({"range": "x"}));
        assert_eq!(add_by(script, &failed, &fifo).exit_code, Some(1));
        site.assert_at_rest(0);
        let _ = fs::remove_file(&fifo);
    }
}

#[test]
fn without_a_standard_output_no_address_is_given_and_del_works() {
    for script in [
        "exec \"$0\" >&-",
        "exec \"$0\" >&- 2>&-",
        "exec \"$0\" 1< /dev/null",
    ] {
        let site = Site::shared();
        let network = site.network(CIDR);
        let run = |verb| {
            by(
                script,
                network.call(verb, &Pod::new("c")),
                Path::new("/nowhere"),
            )
        };
        for verb in ["ADD", "VERSION"] {
            assert_eq!(run(verb).exit_code, Some(1), "{verb} {script}");
            site.assert_at_rest(0);
        }
        network.add(&Pod::new("c")).result();
        for verb in ["STATUS", "GC", "DEL"] {
            assert_eq!(run(verb).exit_code, Some(0), "{verb} {script}");
        }
        site.assert_at_rest(0);
    }
    // Somebody may want to know the exit code alone.
    let site = Site::shared();
    let added = add_by(
        "exec \"$0\" > /dev/null",
        &site.network(CIDR),
        Path::new("/nowhere"),
    );
    assert_eq!(added.exit_code, Some(0), "{added:?}");
    site.assert_at_rest(1);
}

#[test]
fn a_standard_error_and_a_log_that_take_nothing_fail_no_verb() {
    let folder = log_folder();
    let log = folder.path().join("log");
    for script in [
        "exec \"$0\" 2> /dev/full",
        "exec \"$0\" 2>&-",
        // The log has reached the largest size of a file.
        "ulimit -f 0; exec \"$0\"",
    ] {
        let site = Site::shared();
        let network = site
            .network(CIDR)
            .ipam(json!({"log_file": log, "log_level": "debug"}));
        assert_eq!(add_by(script, &network, &log).address(), "10.0.0.1/24");
        let network = network.ipam(json!({"log_file": "/var/log/whereabouts-nowhere/log"}));
        assert_eq!(add_by(script, &network, &log).address(), "10.0.0.1/24");
        site.assert_at_rest(1);
    }
}

#[test]
fn a_log_on_standard_output_is_refused_and_the_answer_is_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let out = path("out");
    fs::write(&out, "").expect("the folder can be written");
    symlink(&out, path("link")).expect("a new name");
    fs::hard_link(&out, path("other")).expect("a new name");
    let site = Site::shared();
    for log in [
        Path::new("/dev/stdout"),
        Path::new("/dev/fd/1"),
        Path::new("/proc/self/fd/1"),
        &out,
        &path("link"),
        &path("other"),
    ] {
        let flat_file = node_file(&json!({"log_file": log}));
        let keys = json!({"configuration_path": flat_file.path()});
        let network = site.network(CIDR).ipam(keys);
        let added = add_by("exec \"$0\" > \"$1\"", &network, &out);
        assert_eq!(added.exit_code, Some(0), "{added:?}");
        assert!(added.stderr.contains("nothing is logged"), "{added:?}");
        let answer = fs::read(&out).expect("it was written");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON and nothing else");
        assert_eq!(answer["ips"][0]["address"], "10.0.0.1/24");
    }
    let flat_file = node_file(&json!({"log_file": "/dev/stderr"}));
    let keys = json!({"configuration_path": flat_file.path()});
    let network = site.network(CIDR).ipam(keys);
    let added = network.add(&Pod::new("c"));
    assert!(
        added.stderr.contains("INFO"),
        "standard error may be the log: {added:?}"
    );
    site.assert_at_rest(1);
}

#[test]
fn a_file_that_is_none_is_an_error_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fifo = folder.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a new name");
    // A writer that says nothing.
    let writer = fs::File::options().read(true).write(true).open(&fifo);
    let writer = writer.expect("both ends need no other process");
    let site = Site::shared();
    let pod = Pod::new("c");
    for file in [
        &fifo,
        Path::new("/proc/kmsg"),
        Path::new("/dev/tty"),
        Path::new("/dev/zero"),
    ] {
        // The node says so: of a network configuration most of these paths are not even read.
        for key in ["etcd_ca_cert_file", "etcd_cert_file", "etcd_password_file"] {
            let flat_file = node_file(&json!({
                key: file, "etcd_host": "https://127.0.0.1:1", "etcd_username": "root",
                "etcd_key_file": (key == "etcd_cert_file").then_some(file),
            }));
            let keys = site.network(CIDR).ipam(json!({
                "configuration_path": flat_file.path(),
                "etcd_host": null, "etcd_prefix": null, "node_name": null,
            }));
            keys.add(&pod).assert_error(7, &[key, "cannot read"]);
        }
        let named = site.network(CIDR).ipam(json!({"configuration_path": file}));
        let reason = if file == fifo.as_path() {
            "cannot read"
        } else {
            "cannot be named in a network configuration"
        };
        named
            .add(&pod)
            .assert_error(7, &["configuration_path", reason]);
        let flat_file = node_file(&json!({"log_file": file}));
        let logs = site
            .network(CIDR)
            .ipam(json!({"configuration_path": flat_file.path(), "timeout": 2}));
        let added = logs.add(&pod);
        assert_eq!(added.address(), "10.0.0.1/24");
        assert!(added.stderr.contains("nothing is logged"), "{added:?}");
    }
    site.assert_at_rest(1);
    drop(writer);
}

/// The limit is of a user's threads, and root has none.
#[test]
fn a_machine_without_threads_is_code_11_and_no_bug() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).expect("it is ours");
    let plugin = folder.path().join("whereabouts");
    fs::copy(Call::folder().join("whereabouts"), &plugin).expect("the folder can be written");
    let site = Site::shared();
    // A name needs a thread that looks it up.
    let url = site
        .access()
        .endpoints
        .join(",")
        .replace("127.0.0.1", "localhost");
    // The usual flat file of the machine may be for root alone.
    let flat_file = node_file(&json!({}));
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(flat_file.path(), open).expect("it is ours");
    let keys = json!({"etcd_host": url, "configuration_path": flat_file.path()});
    let network = site.network(CIDR).ipam(keys);
    let script = "exec prlimit --nproc=1 setpriv --reuid=65534 --clear-groups \"$1\"";
    let failed = add_by(script, &network, &plugin);
    failed.assert_error(11, &["thread"]);
    site.assert_at_rest(0);
}
