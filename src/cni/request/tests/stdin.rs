//! Requirements on stdin, and on the version and the log of the answer.

use std::io;

use serde_json::{Value, json};

use super::super::sample::assert_found;
use super::plain;
use crate::invocation::StdinError;
use crate::request::{CniVersion, LogLevel, Logging, NamedBy};

#[test]
fn broken_truncated_empty_and_other_stdin_is_code_6() {
    let good = plain("ADD").config.to_string();
    let deep = "[".repeat(100_000);
    let cases: [&[u8]; 8] = [
        b"",
        b" ",
        b"{",
        b"\xff\xfe",
        &good.as_bytes()[..good.len() / 2],
        b"[]",
        b"null",
        deep.as_bytes(),
    ];
    for stdin in cases {
        for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
            let rejected = plain(verb)
                .parse_stdin(Ok(stdin.to_vec()))
                .expect_err("broken");
            assert_eq!(rejected.error.code(), 6, "{}", rejected.error.details());
            assert_eq!(rejected.version, CniVersion::NEWEST);
            assert!(rejected.error.details().len() < 200);
        }
    }
}

#[test]
fn stdin_that_is_too_large_or_unreadable_is_code_5() {
    let cases = [
        (StdinError::TooLarge, "stdin: it has more than"),
        (
            StdinError::Unreadable(io::ErrorKind::BrokenPipe),
            "stdin: it cannot be read",
        ),
    ];
    for (stdin, expected) in cases {
        let rejected = plain("ADD").parse_stdin(Err(stdin)).expect_err("no stdin");
        assert_found(Err(rejected.error), Err((5, expected)));
    }
}

fn check_config(verb: &str, config: Value, expected: Result<&str, (u32, &str)>) {
    let parsed = plain(verb).config(config).parsed();
    assert_found(parsed.map(|parsed| parsed.version.to_string()), expected);
}

#[test]
fn an_unsupported_version_is_code_1_and_names_it_and_the_list() {
    let expected = "\"9.9.9\" is not supported; supported are 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, \
        1.0.0, 1.1.0";
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        check_config(verb, json!({"cniVersion": "9.9.9"}), Err((1, expected)));
    }
    check_config(
        "ADD",
        json!({"cniVersion": 1}),
        Err((7, "cniVersion: expected a string")),
    );
}

#[test]
fn an_empty_or_absent_version_is_0_1_0() {
    check_config("ADD", json!({"cniVersion": ""}), Ok("0.1.0"));
    check_config("ADD", json!({"cniVersion": null}), Ok("0.1.0"));
    for version in CniVersion::ALL {
        check_config(
            "ADD",
            json!({"cniVersion": version.as_str()}),
            Ok(version.as_str()),
        );
    }
}

#[test]
fn check_gc_and_status_of_a_version_without_them_are_code_1() {
    let old = |version: &str| json!({"cniVersion": version});
    check_config(
        "CHECK",
        old("0.3.1"),
        Err((1, "CHECK needs cniVersion 0.4.0 or later")),
    );
    check_config("CHECK", old("0.4.0"), Ok("0.4.0"));
    check_config(
        "GC",
        old("1.0.0"),
        Err((1, "GC needs cniVersion 1.1.0 or later")),
    );
    check_config(
        "STATUS",
        old("1.0.0"),
        Err((1, "STATUS needs cniVersion 1.1.0 or later")),
    );
}

#[test]
fn a_missing_or_wrong_network_name_is_code_7() {
    check_config("ADD", json!({"name": null}), Err((7, "name is missing")));
    check_config("DEL", json!({"name": ""}), Err((7, "name is missing")));
    check_config(
        "GC",
        json!({"name": "a/b"}),
        Err((7, "name: \"a/b\" has the character '/'")),
    );
    check_config(
        "ADD",
        json!({"name": 5}),
        Err((7, "name: expected a string, found a number 5")),
    );
}

#[test]
fn a_missing_ipam_is_code_7() {
    check_config("ADD", json!({"ipam": null}), Err((7, "ipam is missing")));
    check_config(
        "DEL",
        json!({"ipam": []}),
        Err((7, "ipam: expected an object, found a list")),
    );
}

#[test]
fn an_error_is_answered_in_the_configs_version_and_logged_where_it_says() {
    let sample = plain("ADD")
        .config(json!({"cniVersion": "0.4.0"}))
        .variable("CNI_IFNAME", "");
    let rejected = sample.parse().expect_err("a variable is missing");
    assert_eq!(
        (rejected.error.code(), rejected.version),
        (4, CniVersion::V0_4_0)
    );
    let wrong = json!({"log_file": "/tmp/whereabouts.log", "log_level": "trace", "range": "x"});
    let rejected = plain("ADD").ipam(wrong).parse().expect_err("a wrong range");
    let expected = Logging {
        file: Some("/tmp/whereabouts.log".into()),
        level: LogLevel::Trace,
        named_by: NamedBy::Network,
    };
    assert_eq!(rejected.logging, expected);
}
