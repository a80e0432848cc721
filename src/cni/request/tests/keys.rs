//! Requirements on the names and types of keys.

use serde_json::json;

use super::super::sample::{Sample, assert_found};
use super::{FILE_KEYS, every_key, full, plain};
use crate::request::RequestError;
use whereabouts_core::limits;

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
        // Without an identity, GC would collect the claims of another cluster's node.
        let verbs: &[&str] = match key {
            "cluster_id" => &["DEL", "CHECK"],
            _ => &["DEL", "CHECK", "GC"],
        };
        for verb in verbs {
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
    let sample = plain("ADD").ipam(json!({"colour": "red", "size": 5}));
    assert_eq!(
        sample.remarks(),
        "Warn: unknown, ignored: \"ipam.colour, ipam.size\""
    );
    let sample = plain("ADD").config(json!({"nam": 1, "mtu": 5, "runtimeConfig": {"ip": 1}}));
    assert_eq!(sample.remarks(), "");
}

#[test]
fn the_ancestors_keys_without_meaning_here_are_debug_remarks() {
    let sample = plain("ADD").ipam(json!({
        "datastore": "etcd", "kubernetes": {"kubeconfig": "/x"}, "leader_lease_duration": 1500,
        "leader_renew_deadline": 1000, "leader_retry_period": 500, "sleep_for_race": 0,
        "reconciler_cron_expression": "30 4 * * *"}));
    let remarks = sample.remarks();
    assert_eq!(remarks.lines().count(), 6, "{remarks}");
    assert!(
        remarks.lines().all(|line| line.starts_with("Debug: ipam.")),
        "{remarks}"
    );
    let slices = plain("ADD").ipam(json!({"node_slice_size": "/22"}));
    let expected = "Warn: ipam.node_slice_size is ignored: nodes have no slices, each address is \
        taken from the whole range";
    assert_eq!(slices.remarks(), expected);
    let found = plain("ADD").ipam(json!({"datastore": "consul"})).parsed();
    let expected = "ipam.datastore: \"consul\" is none of etcd, kubernetes and local";
    assert_found(found.map(|_| String::new()), Err((7, expected)));
}

#[test]
fn host_locals_keys_are_an_error_that_names_ours_unless_a_range_is_given() {
    for (key, ours) in [("subnet", "range"), ("ranges", "ipRanges")] {
        let expected = format!("ipam.{key} is a key of host-local; here it is {ours}");
        for verb in ["ADD", "STATUS"] {
            let alone = Sample::of(verb).ipam(json!({key: "10.0.0.0/24"}));
            let found = alone.parsed().map(|_| String::new());
            assert_found(found, Err((7, &expected)));
        }
        let del = Sample::of("DEL").ipam(json!({key: "10.0.0.0/24"}));
        let ignored = format!("Warn: ignored: {expected}");
        assert!(del.remarks().contains(&ignored), "{}", del.remarks());
        let beside = plain("ADD").ipam(json!({key: "10.0.0.0/24"}));
        assert_eq!(beside.remarks(), ignored);
    }
}

/// Generators of configs write an empty string for an option that nobody has set.
#[test]
fn an_empty_string_is_the_same_as_no_key() {
    for (key, _) in every_key() {
        let emptied = full("ADD").ipam(json!({key: ""}));
        let without = full("ADD").ipam(json!({key: null}));
        let shown = |sample: Sample| match sample.parsed() {
            Ok(parsed) => format!("{parsed:?}"),
            Err(error) => error.details(),
        };
        assert_eq!(shown(emptied), shown(without), "{key}");
    }
    for key in FILE_KEYS {
        assert_eq!(plain("ADD").ipam(json!({key: ""})).remarks(), "", "{key}");
    }
    let unknown = plain("ADD").ipam(json!({"colour": "", "rangeStart": ""}));
    assert_eq!(unknown.remarks(), "");
    let route = plain("ADD").ipam(json!({"routes": [{"dst": "10.1.0.0/16", "gw": ""}]}));
    assert_eq!(route.add().expect("an ADD").answer.routes[0].gw, None);
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
fn remarks_are_bounded() {
    let keys = (0..1000).map(|index| {
        (
            format!("rang{}", char::from_u32(0x4e00 + index).expect("a letter")),
            json!(1),
        )
    });
    let sample = plain("DEL").ipam(keys.collect());
    assert_eq!(sample.remarks().lines().count(), limits::REMARKS);
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
