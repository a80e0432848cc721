//! Requirements on access to etcd, each through a whole invocation.

use serde_json::{Value, json};

use super::super::sample::{Sample, assert_found};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n";

/// A DEL, which depends on the access and on little else, on a machine with all files.
fn sample(ipam: Value) -> Sample {
    let mut sample = Sample::of("DEL").ipam(ipam);
    sample.machine = std::mem::take(&mut sample.machine)
        .with("/etc/whereabouts/ca", 0o644, CERTIFICATE)
        .with("/etc/whereabouts/cert", 0o644, CERTIFICATE)
        .with("/etc/whereabouts/key", 0o600, KEY)
        .with("/etc/whereabouts/open-key", 0o640, KEY)
        .with("/etc/whereabouts/password", 0o600, "hunter2\n")
        .with("/etc/whereabouts/open-password", 0o644, "hunter2\n")
        .with("/etc/whereabouts/empty", 0o600, "\n");
    sample
}

/// `expected` is the endpoints, the user, and with TLS `ca` and `identity`.
fn check(ipam: Value, expected: Result<&str, (u32, &str)>) {
    let found = sample(ipam).parsed().map(|parsed| {
        let access = parsed.datastore.etcd().expect("it is etcd").clone();
        let mut said = access.endpoints;
        if let Some(tls) = access.tls {
            said.push("tls".to_owned());
            said.extend(tls.ca.map(|_| "ca".to_owned()));
            said.extend(tls.identity.map(|_| "identity".to_owned()));
        }
        said.extend(access.login.map(|(name, password)| {
            assert_eq!(password.reveal(), "hunter2");
            name
        }));
        said.join(" ")
    });
    if let Err(error) = &found {
        assert!(!error.details().contains("hunter2"), "{}", error.details());
    }
    assert_found(found, expected);
}

#[test]
fn etcd_host_is_one_a_comma_list_or_a_json_list() {
    check(
        json!({"etcd_host": "127.0.0.1:2379"}),
        Ok("http://127.0.0.1:2379"),
    );
    let expected = "http://a:2379 http://[fd00::1]:4001 http://c:2379";
    check(json!({"etcd_host": "a, [fd00::1]:4001,c"}), Ok(expected));
    check(
        json!({"etcd_host": ["a", "http://[fd00::1]:4001", "c:2379"]}),
        Ok(expected),
    );
}

#[test]
fn an_etcd_host_that_is_none_is_code_7_and_names_key_and_value() {
    check(
        json!({"etcd_host": null}),
        Err((7, "ipam.etcd_host is missing")),
    );
    check(
        json!({"etcd_host": []}),
        Err((7, "ipam.etcd_host is missing: the list is empty")),
    );
    check(
        json!({"etcd_host": ""}),
        Err((7, "ipam.etcd_host is missing")),
    );
    check(
        json!({"etcd_host": "a,,b"}),
        Err((7, "ipam.etcd_host: \"\" is no endpoint")),
    );
    check(
        json!({"etcd_host": ["a", "b:x"]}),
        Err((7, "ipam.etcd_host[1]: \"b:x\"")),
    );
    let expected = "ipam.etcd_host: expected a string or a list of strings, found a number 5";
    check(json!({"etcd_host": 5}), Err((7, expected)));
    check(
        json!({"etcd_host": vec!["a"; 33]}),
        Err((7, "33 are too many, at most 32")),
    );
    let secret = "ipam.etcd_host: an endpoint has a user or a password";
    check(
        json!({"etcd_host": "http://me:hunter2@a"}),
        Err((7, secret)),
    );
}

#[test]
fn no_scheme_with_a_ca_certificate_or_key_means_tls() {
    let ca = json!({"etcd_host": "a", "etcd_ca_cert_file": "/etc/whereabouts/ca"});
    check(ca, Ok("https://a:2379 tls ca"));
    let identity = json!({"etcd_host": "a,https://b", "etcd_cert_file": "/etc/whereabouts/cert",
        "etcd_key_file": "/etc/whereabouts/key"});
    check(identity, Ok("https://a:2379 https://b:2379 tls identity"));
    check(json!({"etcd_host": "https://a"}), Ok("https://a:2379 tls"));
}

#[test]
fn http_with_a_ca_certificate_or_key_is_code_7() {
    let ca = json!({"etcd_host": "b,http://a", "etcd_ca_cert_file": "/etc/whereabouts/ca"});
    check(
        ca,
        Err((
            7,
            "\"http://a\" is not TLS, but ipam.etcd_ca_cert_file is given",
        )),
    );
    let key = json!({"etcd_host": "http://a", "etcd_key_file": "/etc/whereabouts/key"});
    check(key, Err((7, "is not TLS, but ipam.etcd_key_file is given")));
}

#[test]
fn a_certificate_without_its_key_and_a_key_without_its_certificate_are_code_7() {
    let expected = "ipam.etcd_key_file is missing: it is needed with ipam.etcd_cert_file";
    check(
        json!({"etcd_cert_file": "/etc/whereabouts/cert"}),
        Err((7, expected)),
    );
    let expected = "ipam.etcd_cert_file is missing: it is needed with ipam.etcd_key_file";
    check(
        json!({"etcd_key_file": "/etc/whereabouts/key"}),
        Err((7, expected)),
    );
}

#[test]
fn a_file_that_is_missing_relative_or_no_pem_is_code_7() {
    let missing = "ipam.etcd_ca_cert_file: cannot read \"/etc/whereabouts/none\": entity not found";
    check(
        json!({"etcd_ca_cert_file": "/etc/whereabouts/none"}),
        Err((7, missing)),
    );
    check(
        json!({"etcd_ca_cert_file": "ca"}),
        Err((7, "\"ca\" is not an absolute path")),
    );
    check(
        json!({"etcd_ca_cert_file": "/etc/whereabouts/password"}),
        Err((7, "is not a PEM file")),
    );
}

#[test]
fn user_and_password_come_together_the_password_from_a_file_too() {
    let with = |key: &str, value: &str| json!({"etcd_username": "me", key: value});
    check(with("etcd_password", "hunter2"), Ok("http://etcd:2379 me"));
    check(
        with("etcd_password_file", "/etc/whereabouts/password"),
        Ok("http://etcd:2379 me"),
    );
    check(
        json!({"etcd_username": "me"}),
        Err((7, "ipam.etcd_password is missing")),
    );
    check(
        json!({"etcd_password": "hunter2"}),
        Err((7, "ipam.etcd_username is missing")),
    );
    let both = json!({"etcd_username": "me", "etcd_password": "hunter2",
        "etcd_password_file": "/etc/whereabouts/password"});
    check(
        both,
        Err((7, "ipam.etcd_password and ipam.etcd_password_file")),
    );
}

#[test]
fn no_error_shows_a_password() {
    let with = |value: Value| json!({"etcd_username": "me", "etcd_password": value});
    let expected = "ipam.etcd_password: expected a string, found a list";
    check(with(json!(["hunter2"])), Err((7, expected)));
    let found = sample(with(json!(12_345_678)))
        .parsed()
        .expect_err("a number");
    assert!(!found.details().contains("12345678"), "{}", found.details());
    check(with(json!("")), Err((7, "ipam.etcd_password is missing")));
    let empty = json!({"etcd_username": "me", "etcd_password_file": "/etc/whereabouts/empty"});
    check(
        empty,
        Err((7, "ipam.etcd_password_file: the password is empty")),
    );
    let misspelt = json!({"etcd_pasword": "hunter2", "etcd_pass": "hunter2"});
    assert!(!sample(misspelt.clone()).remarks().contains("hunter2"));
    let add = Sample::of("ADD").ipam(misspelt);
    assert!(
        !add.parsed()
            .expect_err("misspelt")
            .details()
            .contains("hunter2")
    );
    let good = sample(with(json!("hunter2"))).parse();
    assert!(good.is_ok() && !format!("{good:?}").contains("hunter2"));
}

fn check_remarks(ipam: Value, expected: &str) {
    assert_eq!(sample(ipam).remarks(), expected);
}

#[test]
fn a_password_without_tls_and_a_secret_that_others_can_read_are_warnings() {
    let login = |host: &str, file: &str| json!({"etcd_host": host, "etcd_username": "me", "etcd_password_file": file});
    check_remarks(login("https://a", "/etc/whereabouts/password"), "");
    let expected = "Warn: the password goes to etcd without TLS";
    check_remarks(
        login("https://a,http://b", "/etc/whereabouts/password"),
        expected,
    );
    let expected = "Warn: ipam.etcd_password_file: \"/etc/whereabouts/open-password\" is secret, and readable \
        by others than its owner";
    check_remarks(
        login("https://a", "/etc/whereabouts/open-password"),
        expected,
    );
    let key =
        |file: &str| json!({"etcd_cert_file": "/etc/whereabouts/cert", "etcd_key_file": file});
    check_remarks(key("/etc/whereabouts/key"), "");
    let expected = "Warn: ipam.etcd_key_file: \"/etc/whereabouts/open-key\" is secret, and readable by others \
        than its owner";
    check_remarks(key("/etc/whereabouts/open-key"), expected);
}

fn check_prefix(value: &Value, expected: Result<&str, (u32, &str)>) {
    let parsed = sample(json!({"etcd_prefix": value})).parsed();
    assert_found(
        parsed.map(|parsed| parsed.datastore.etcd().expect("it is etcd").prefix.clone()),
        expected,
    );
}

#[test]
fn a_prefix_begins_with_a_slash_and_is_more_than_that() {
    check_prefix(&Value::Null, Ok("/whereabouts/v1/"));
    check_prefix(&json!("/mine"), Ok("/mine"));
    check_prefix(
        &json!("mine/"),
        Err((7, "ipam.etcd_prefix: \"mine/\" does not begin with")),
    );
    for all in ["/", "//"] {
        check_prefix(&json!(all), Err((7, "is all of etcd")));
    }
    check_prefix(&json!(""), Ok("/whereabouts/v1/"));
    check_prefix(&json!("/a\u{0}"), Err((7, "has control characters")));
    check_prefix(&json!(1), Err((7, "ipam.etcd_prefix: expected a string")));
}
