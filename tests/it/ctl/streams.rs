//! Standard streams that take nothing, and files that are none.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{FAILED, FOUND, WELL, assert_said, on, tool, tool_binary};
use crate::plugin::{Answer, Call, Pod, Site};

/// The tool on what `site` has, by a shell that does `script` with it and its arguments as `$@`.
fn by(script: &str, site: &Site, arguments: &[&str]) -> Answer {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fifo = folder.path().join("fifo");
    let call = Call::new().program("/bin/bash");
    let call = call.variable("PATH", "/usr/bin:/bin");
    let call = call.variable("FIFO", fifo.display().to_string());
    let endpoints = site.access().endpoints.join(",");
    let words = ["-c", script, "bash", tool_binary()];
    let etcd = ["--etcd-host", &endpoints, "--etcd-prefix", &site.prefix];
    let words = [&words[..], arguments, &etcd].concat();
    words
        .iter()
        .fold(call, |call, one| call.argument(one))
        .run()
}

#[test]
fn standard_output_that_takes_nothing_is_exit_status_1_and_standard_error_does_not_matter() {
    let site = Site::shared();
    site.network("10.0.0.0/24").add(&Pod::new("c")).result();
    // A pipe that nobody reads any more.
    let closed = "mkfifo $FIFO; exec 3<> $FIFO 4> $FIFO 3<&-; exec \"$@\" >&4";
    for arguments in [
        &["claims"][..],
        &["ranges", "-o", "json"],
        &["check", "-o", "yaml"],
    ] {
        for script in ["exec \"$@\" > /dev/full", closed] {
            let ended = by(script, &site, arguments);
            assert_said(&ended, FOUND, &[]);
            assert!(!ended.stderr.contains("panicked"), "{ended:?}");
        }
        for script in ["exec \"$@\" 2> /dev/full", "exec \"$@\" 2>&-"] {
            assert_said(&by(script, &site, arguments), WELL, &[]);
        }
    }
    let gc = ["gc", "--node", "node-1", "--valid", "/nothing", "--yes"];
    assert_said(&by("exec \"$@\" 2> /dev/full", &site, &gc), FAILED, &[]);
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    assert_said(&by("exec \"$@\" > /dev/full", &site, &serve), FOUND, &[]);
}

#[test]
fn a_file_that_is_none_is_exit_status_2_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fifo = folder.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a new name");
    let site = Site::shared();
    let fifo = fifo.to_str().expect("a path is text");
    for file in [fifo, "/proc/kmsg"] {
        for arguments in [
            &["ranges", "--config", file][..],
            &["gc", "--node", "n", "--valid", file],
            &["claims", "--etcd-password-file", file],
            &["claims", "--configuration-path", file],
            &["restore", file],
        ] {
            assert_said(&on(&site, arguments).run(), FAILED, &["it is not"]);
        }
        let lint = tool(&["lint", file]).run();
        assert!(lint.exit_code != WELL, "{lint:?}");
        let bin = folder.path().join("bin").display().to_string();
        let install = [
            "install",
            "--bin-dir",
            &bin,
            "--plugin",
            file,
            "--config-dir",
            &bin,
        ];
        assert_said(&tool(&install).run(), FAILED, &["it is not"]);
    }
}
