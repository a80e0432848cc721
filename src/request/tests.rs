//! Requirements on whole invocations: verbs, tolerance, stdin, and what no input may do.

use std::io;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::sample::{Sample, assert_found, show};
use super::*;
use crate::invocation::StdinError;

/// Every key of `ipam` that means something, with a good value.
fn every_key() -> Vec<(&'static str, Value)> {
    vec![
        ("type", json!("whereabouts")),
        ("range", json!("10.0.0.0/24")),
        ("range_start", json!("10.0.0.5")),
        ("range_end", json!("10.0.0.9")),
        ("exclude", json!(["10.0.0.7"])),
        (
            "ipRanges",
            json!([{"range": "fd00::/64", "range_start": "fd00::5",
            "range_end": "fd00::9", "exclude": ["fd00::7"], "gateway": "fd00::1"}]),
        ),
        ("network_name", json!("red")),
        ("enable_overlapping_ranges", json!(true)),
        ("gateway", json!("10.0.0.1")),
        (
            "routes",
            json!([{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "mtu": 1400, "advmss": 1360,
            "priority": 1, "table": 100, "scope": 0}]),
        ),
        (
            "dns",
            json!({"nameservers": ["10.0.0.2"], "domain": "d", "search": ["s"],
            "options": ["o"]}),
        ),
        (
            "addresses",
            json!([{"address": "172.16.0.9/16", "gateway": "172.16.0.1"}]),
        ),
        ("log_file", json!("/tmp/whereabouts.log")),
        ("log_level", json!("debug")),
        ("etcd_host", json!("127.0.0.1:2379")),
        ("etcd_username", json!("me")),
        ("etcd_password", json!("hunter2")),
        ("etcd_prefix", json!("/mine/")),
        ("datastore", json!("etcd")),
        ("node_name", json!("node-1")),
        ("timeout", json!(10)),
        ("del_when_unreachable", json!("succeed")),
        ("status_when_full", json!("ok")),
    ]
}

/// Keys of files: with a good value they need the file.
const FILE_KEYS: [&str; 5] = [
    "configuration_path",
    "etcd_password_file",
    "etcd_key_file",
    "etcd_cert_file",
    "etcd_ca_cert_file",
];

fn full(verb: &str) -> Sample {
    let keys = every_key()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Sample::of(verb)
        .ipam(Value::Object(keys.collect()))
        .config(json!({"prevResult": {"ips": [{"address": "10.0.0.5/24"}]}}))
}

fn plain(verb: &str) -> Sample {
    Sample::of(verb)
        .ipam(json!({"range": "10.0.0.0/24"}))
        .config(json!({"prevResult": {}}))
}

#[test]
fn every_key_is_known_for_every_verb() {
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let expected = "Warn: the password goes to etcd without TLS";
        assert_eq!(full(verb).remarks(), expected, "{verb}");
    }
}

#[test]
fn a_wrong_type_of_any_key_is_code_7_and_names_the_key() {
    let wrong = [
        json!(5.5),
        json!("\u{1}"),
        json!([[]]),
        json!({"x": 1}),
        json!(true),
    ];
    let keys = every_key().into_iter().map(|(key, _)| key).chain(FILE_KEYS);
    for key in keys {
        let errors: Vec<RequestError> = wrong
            .iter()
            .filter_map(|value| plain("ADD").ipam(json!({key: value})).parsed().err())
            .collect();
        assert!(errors.len() >= 3, "{key}: {errors:?}");
        for error in errors {
            assert_eq!(error.code(), 7, "{}", error.details());
            assert!(
                error.to_string().contains(&format!("ipam.{key}")),
                "{}",
                error.details()
            );
        }
    }
}

#[test]
fn del_check_and_gc_live_with_a_wrong_type_of_any_key_but_those_of_etcd() {
    let keys = every_key().into_iter().map(|(key, _)| key);
    for key in keys.filter(|key| !key.starts_with("etcd_")) {
        for verb in ["DEL", "CHECK", "GC"] {
            let sample = plain(verb).ipam(json!({key: [[]]}));
            let remarks = sample.remarks();
            assert!(
                remarks.contains(&format!("ignored: ipam.{key}")),
                "{verb}: {remarks}"
            );
        }
        assert!(
            plain("STATUS").ipam(json!({key: [[]]})).parsed().is_err(),
            "{key}"
        );
    }
    for verb in ["DEL", "CHECK", "GC"] {
        let error = plain(verb)
            .ipam(json!({"etcd_host": 5}))
            .parsed()
            .expect_err("no etcd");
        assert_eq!(error.code(), 7);
    }
}

#[test]
fn a_key_almost_right_is_an_error_that_names_both_but_a_remark_for_del_check_and_gc() {
    let respelt = |key: &str| {
        let camel = key.split('_').enumerate().map(|(index, word)| match index {
            0 => word.to_owned(),
            _ => word[..1].to_uppercase() + &word[1..],
        });
        let camel: String = camel.collect();
        [
            camel,
            key.replace('_', "-"),
            key.to_uppercase(),
            format!("{key}x"),
        ]
    };
    let keys = every_key().into_iter().map(|(key, _)| key).chain(FILE_KEYS);
    for key in keys.filter(|key| *key != "dns") {
        for misspelt in respelt(key).iter().filter(|misspelt| *misspelt != key) {
            let expected = format!("\"ipam.{misspelt}\" is unknown; is {key} meant?");
            let found = plain("ADD")
                .ipam(json!({misspelt: 1}))
                .parsed()
                .map(|_| String::new());
            assert_found(found, Err((7, &expected)));
            for verb in ["DEL", "CHECK", "GC"] {
                let remarks = plain(verb).ipam(json!({misspelt: 1})).remarks();
                assert!(remarks.contains(&expected), "{verb}: {remarks}");
            }
        }
    }
}

#[test]
fn an_unknown_key_is_a_remark_and_keys_of_other_plugins_are_not() {
    let sample = plain("ADD").ipam(json!({"colour": "red", "subnet": "10.0.0.0/24"}));
    assert_eq!(
        sample.remarks(),
        "Warn: unknown, ignored: \"ipam.colour, ipam.subnet\""
    );
    let sample = plain("ADD").config(json!({"nam": 1, "mtu": 5, "runtimeConfig": {"ip": 1}}));
    assert_eq!(sample.remarks(), "");
}

#[test]
fn the_ancestors_keys_without_meaning_here_are_debug_remarks() {
    let sample = plain("ADD").ipam(json!({
        "datastore": "etcd", "kubernetes": {"kubeconfig": "/x"}, "leader_lease_duration": 1500,
        "leader_renew_deadline": 1000, "leader_retry_period": 500, "sleep_for_race": 0,
        "node_slice_size": "/22", "reconciler_cron_expression": "30 4 * * *"}));
    let remarks = sample.remarks();
    assert_eq!(remarks.lines().count(), 7, "{remarks}");
    assert!(
        remarks.lines().all(|line| line.starts_with("Debug: ipam.")),
        "{remarks}"
    );
    let found = plain("ADD")
        .ipam(json!({"datastore": "kubernetes"}))
        .parsed();
    let expected = "ipam.datastore: \"kubernetes\" is not supported";
    assert_found(found.map(|_| String::new()), Err((7, expected)));
}

#[test]
fn a_key_given_twice_is_code_7() {
    let check = |stdin: &str, expected: &str| {
        let found = plain("ADD").parse_stdin(Ok(stdin.as_bytes().to_vec()));
        let error = found.expect_err("a repeated key").error;
        assert_found(Err(error), Err((7, expected)));
    };
    check(
        r#"{"name": "n", "ipam": {"etcd_host": "a", "range": "10.0.0.0/8", "range": "10.0.0.0/8"}}"#,
        "ipam.range is given twice",
    );
    check(
        r#"{"name": "n", "name": "m", "ipam": {}}"#,
        "name is given twice",
    );
    check(
        r#"{"name": "n", "ipam": {}, "ipam": {}}"#,
        "ipam is given twice",
    );
    check(
        r#"{"name": "n", "ipam": {"etcd_host": "a", "etcd_password": "x", "etcd_password": "y"}}"#,
        "ipam.etcd_password is given twice",
    );
}

#[test]
fn the_plugin_works_in_canada() {
    assert_eq!(
        plain("ADD").ipam(json!({"type": "whereaboots"})).remarks(),
        ""
    );
}

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
    check_config("DEL", json!({"name": ""}), Err((7, "name: \"\" is empty")));
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
fn no_command_at_all_is_no_error_whatever_is_on_stdin() {
    let mut sample = plain("");
    assert!(matches!(sample.parse(), Ok(Outcome::About)));
    sample.variables.clear();
    assert!(matches!(
        sample.parse_stdin(Ok(Vec::new())),
        Ok(Outcome::About)
    ));
}

#[test]
fn version_needs_neither_variables_nor_config_and_is_answered_in_the_configs_version() {
    let check = |stdin: &str, expected: CniVersion| {
        let mut sample = Sample::of("VERSION");
        sample.variables.retain(|name, _| name == "CNI_COMMAND");
        let found = sample.parse_stdin(Ok(stdin.as_bytes().to_vec()));
        assert!(
            matches!(found, Ok(Outcome::Version(version)) if version == expected),
            "{stdin}: {found:?}"
        );
    };
    check(r#"{"cniVersion": "0.4.0"}"#, CniVersion::V0_4_0);
    check("{}", CniVersion::V0_1_0);
    check(r#"{"cniVersion": "9.9.9"}"#, CniVersion::NEWEST);
    check("", CniVersion::NEWEST);
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
    let wrong = json!({"log_file": "/w.log", "log_level": "trace", "range": "x"});
    let rejected = plain("ADD").ipam(wrong).parse().expect_err("a wrong range");
    let expected = Logging {
        file: Some("/w.log".into()),
        level: LogLevel::Trace,
    };
    assert_eq!(rejected.logging, expected);
}

#[test]
fn two_missing_variables_are_named_at_once_before_anything_else() {
    let sample = plain("ADD")
        .variable("CNI_CONTAINERID", "")
        .variable("CNI_NETNS", "");
    let rejected = sample
        .parse_stdin(Ok(Vec::new()))
        .expect_err("no variables");
    let expected = "ADD needs CNI_CONTAINERID, CNI_NETNS: not set";
    assert_found(Err(rejected.error), Err((4, expected)));
}

#[test]
fn cni_path_is_asked_of_gc_alone() {
    for verb in ["ADD", "DEL", "CHECK", "STATUS"] {
        assert!(
            plain(verb).variable("CNI_PATH", "").parsed().is_ok(),
            "{verb}"
        );
    }
    let error = plain("GC")
        .variable("CNI_PATH", "")
        .parsed()
        .expect_err("CNI_PATH");
    assert_eq!(error.to_string(), "GC needs CNI_PATH: not set");
}

#[test]
fn add_knows_for_whom_it_asks() {
    let sample = plain("ADD").variable(
        "CNI_ARGS",
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_UID=uid;X=y",
    );
    let ask = sample.add().expect("an ADD").ask.expect("a range");
    assert_eq!(
        ask.attachment.to_string(),
        "eth0 of container c1 in network net"
    );
    let expected = crate::claim::Owner {
        node: Some("node-1".to_owned()),
        pod_namespace: Some("ns".to_owned()),
        pod_name: Some("pod".to_owned()),
        pod_uid: Some("uid".to_owned()),
        netns: Some("/run/netns/c1".to_owned()),
    };
    assert_eq!(ask.owner, expected);
}

#[test]
fn wrong_cni_args_are_code_4_but_del_check_and_gc_live_with_them() {
    let error = plain("ADD")
        .variable("CNI_ARGS", "x")
        .parsed()
        .expect_err("wrong");
    assert_eq!(error.code(), 4);
    for verb in ["DEL", "CHECK", "GC"] {
        let remarks = plain(verb).variable("CNI_ARGS", "x").remarks();
        assert!(
            remarks.contains("ignored: CNI_ARGS: \"x\" has no '='"),
            "{verb}: {remarks}"
        );
    }
}

#[test]
fn del_needs_no_netns_and_no_prev_result_and_no_range() {
    let sample = Sample::of("DEL").variable("CNI_NETNS", "");
    let del = sample.del().expect("a DEL");
    assert_eq!(
        del.attachment.to_string(),
        "eth0 of container c1 in network net"
    );
    assert_eq!(del.queues, []);
    assert_eq!(sample.remarks(), "");
}

#[test]
fn del_knows_the_queues_of_all_ranges_whose_cidr_can_be_read() {
    let del = Sample::of("DEL").ipam(json!({
        "range": "10.0.0.5/24", "exclude": ["10.9.9.9"], "network_name": "red",
        "ipRanges": [{"range": "10.0.0.0/24"}, {"range": "x"}, {"range": "fd00::/64",
            "gateway": 5, "rangeStart": 1}, 5]}));
    let queues = del.del().expect("a DEL").queues;
    let queues: Vec<String> = queues.iter().map(ToString::to_string).collect();
    assert_eq!(queues, ["10.0.0.0/24 of pool red", "fd00::/64 of pool red"]);
}

#[test]
fn check_compares_prev_result_and_the_static_addresses() {
    let addresses = json!([{"address": "172.16.0.9/16"}, {"address": "10.0.0.9/24"}]);
    let sample = plain("CHECK").ipam(json!({"addresses": addresses}));
    let sample = sample.config(json!({"prevResult": {"ips": [{"address": "10.0.0.5/24"}]}}));
    let check = sample.check().expect("a CHECK");
    assert_eq!(check.attachment.interface, "eth0");
    assert_eq!(check.previous, ["10.0.0.5/24".parse().expect("a CIDR")]);
    assert_eq!(check.statics, ["172.16.0.9/16".parse().expect("a CIDR")]);
    let absent = sample
        .config(json!({"prevResult": null}))
        .check()
        .expect_err("needed");
    assert_found(Err(absent), Err((7, "prevResult is missing")));
}

#[test]
fn gc_knows_network_node_and_valid_attachments() {
    let list = |list: Value| plain("GC").config(json!({"cni.dev/valid-attachments": list}));
    let valid = list(json!([{"containerID": "c1", "ifname": "eth0"}]));
    let gc = valid.gc().expect("a GC");
    assert_eq!(
        (gc.network.as_str(), gc.node.as_deref()),
        ("net", Some("node-1"))
    );
    let expected = ValidAttachment {
        container: "c1".to_owned(),
        interface: "eth0".to_owned(),
    };
    assert_eq!(gc.valid, Some(vec![expected]));
    assert_eq!(list(Value::Null).gc().expect("a GC").valid, None);
    assert_eq!(list(json!([])).gc().expect("a GC").valid, Some(Vec::new()));
    let wrong = list(json!([{"containerID": "c1"}]))
        .gc()
        .expect_err("not tolerated");
    assert_found(
        Err(wrong),
        Err((7, "cni.dev/valid-attachments[0].ifname is missing")),
    );
}

#[test]
fn gc_of_a_nameless_node_knows_no_node() {
    let mut sample = plain("GC");
    sample.machine.host = Some("localhost".to_owned());
    assert_eq!(sample.gc().expect("a GC").node, None);
    assert!(sample.remarks().contains("the node's name is unknown"));
}

#[test]
fn status_wants_what_an_add_would_take_from_the_ranges() {
    let addresses = json!([{"address": "10.0.0.9/24"}]);
    let status = plain("STATUS")
        .ipam(json!({"addresses": addresses}))
        .status();
    let expected = "10.0.0.0/24 10.0.0.1-10.0.0.254";
    assert_found(status.map(|status| show(&status.wants)), Ok(expected));
    let wrong = plain("STATUS").ipam(json!({"range": "x"})).status();
    assert_found(wrong.map(|_| String::new()), Err((7, "ipam.range")));
}

#[test]
fn what_is_shown_of_a_value_is_bounded() {
    let long = "x".repeat(100_000);
    for key in every_key().into_iter().map(|(key, _)| key) {
        let Err(error) = plain("ADD").ipam(json!({key: long})).parsed() else {
            continue;
        };
        assert!(
            error.details().len() < 400,
            "{key}: {}",
            error.details().len()
        );
    }
    let remarks = plain("ADD").ipam(json!({long: 1})).remarks();
    assert!(remarks.len() < 200);
}

/// A JSON value out of what configs are made of.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-f:./,-]{0,20}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key(), inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn select_text() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "10.0.0.0/24",
        "10.0.0.5-10.0.0.9/24",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0",
        "255.255.255.255",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
        "10.0.0.5",
        "fd00::1",
        "1.1.0",
        "0.1.0",
    ])
}

fn key() -> impl Strategy<Value = String> {
    let keys: Vec<&str> = every_key()
        .into_iter()
        .map(|(key, _)| key)
        .chain(FILE_KEYS)
        .collect();
    let others = [
        "dst",
        "gw",
        "address",
        "ips",
        "cni",
        "subnet",
        "rangeStart",
        "mtu",
        "ip4",
    ];
    let keys = keys.into_iter().chain(others).map(str::to_owned);
    prop_oneof![
        proptest::sample::select(keys.collect::<Vec<_>>()),
        any::<String>()
    ]
}

fn verb() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"])
}

proptest! {
    #[test]
    fn any_bytes_on_stdin_are_read_without_panic(verb in verb(), stdin: Vec<u8>) {
        let _ = plain(verb).parse_stdin(Ok(stdin));
    }

    #[test]
    fn any_damage_to_a_good_config_is_read_without_panic(
        verb in verb(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        length in any::<proptest::sample::Index>(),
    ) {
        let mut stdin = full(verb).config.to_string().into_bytes();
        for (index, byte) in damage {
            let index = index.index(stdin.len());
            stdin[index] = byte;
        }
        let _ = full(verb).parse_stdin(Ok(stdin.clone()));
        stdin.truncate(length.index(stdin.len()));
        let _ = full(verb).parse_stdin(Ok(stdin));
    }

    #[test]
    fn any_values_of_any_keys_are_read_without_panic(
        verb in verb(),
        ipam in proptest::collection::btree_map(key(), value(), 0..4),
        config in proptest::collection::btree_map(
            "runtimeConfig|args|prevResult|cniVersion|name|cni\\.dev/valid-attachments",
            value(),
            0..2,
        ),
        args in ".{0,30}",
    ) {
        let sample = full(verb)
            .ipam(ipam.into_iter().collect())
            .config(config.into_iter().collect())
            .variable("CNI_ARGS", &args);
        if let Err(rejected) = sample.parse() {
            prop_assert!([1, 4, 5, 6, 7].contains(&rejected.error.code()));
        }
    }
}
