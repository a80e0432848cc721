//! Kubeconfigs: what is read, and what is refused.

use std::path::Path;

use super::fake::TOKEN;
use crate::{Access, KubeconfigError, read_kubeconfig};

/// A kubeconfig as kubectl writes it. `CLUSTER` and `USER` are lines of the two entries.
const FILE: &str = "apiVersion: v1
kind: Config
current-context: here
preferences: {}
contexts:
- name: elsewhere
  context: {cluster: none, user: none}
- name: here
  context: {cluster: one, user: node, namespace: default}
clusters:
- name: one
  cluster:
    CLUSTER
users:
- name: node
  user:
    USER
";

const SERVER: &str = "server: https://10.96.0.1";

fn load(path: &Path) -> Result<Vec<u8>, String> {
    let content = match path.to_str().expect("text") {
        "/etc/whereabouts.d/token" => format!("{TOKEN}\n"),
        "/pki/ca.crt" => "a CA".to_owned(),
        "/etc/whereabouts.d/empty" => " \n".to_owned(),
        other => return Err(format!("cannot be read: {other} does not exist")),
    };
    Ok(content.into_bytes())
}

fn read(text: &str) -> Result<Access, KubeconfigError> {
    let path = Path::new("/etc/whereabouts.d/kubeconfig");
    read_kubeconfig(path, &|file| {
        if file == path {
            Ok(text.as_bytes().to_vec())
        } else {
            load(file)
        }
    })
}

fn with(cluster: &str, user: &str) -> Result<Access, KubeconfigError> {
    read(&FILE.replace("CLUSTER", cluster).replace("USER", user))
}

fn shown(access: &Access) -> String {
    let token = access.token.as_ref().map_or("-", |token| token.reveal());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ca = access.ca.as_deref().map_or("-".to_owned(), text);
    let identity = access.identity.as_ref();
    let identity = identity.map_or("-".to_owned(), |(certificate, key)| {
        format!("{}/{}", text(certificate), key.reveal())
    });
    format!("{} {ca} {token} {identity}", access.server.authority())
}

#[test]
fn token_ca_and_certificate_come_from_files_or_from_the_kubeconfig() {
    let cases = [
        (SERVER, "token: t", "10.96.0.1:443 - t -"),
        (
            "{server: 'https://api.example:6443', certificate-authority: /pki/ca.crt}",
            "tokenFile: token",
            &format!("api.example:6443 a CA {TOKEN} -"),
        ),
        // The file is the newer one.
        (
            "{server: 'https://10.0.0.1', certificate-authority-data: aGk=}",
            "{token: old, tokenFile: token}",
            &format!("10.0.0.1:443 hi {TOKEN} -"),
        ),
        (
            SERVER,
            "{client-certificate-data: aGk=, client-key-data: aG8=}",
            "10.96.0.1:443 - - hi/ho",
        ),
        (SERVER, "{}", "10.96.0.1:443 - - -"),
    ];
    for (cluster, user, expected) in cases {
        let access = with(cluster, user).expect(cluster);
        assert_eq!(shown(&access), expected);
    }
}

#[test]
fn json_is_a_kubeconfig_too() {
    let text = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://[fd00::1]:6443"}}],
        "users": [{"name": "c", "user": {"tokenFile": "token"}}]}"#;
    let access = read(text).expect("JSON");
    assert_eq!(shown(&access), format!("[fd00::1]:6443 - {TOKEN} -"));
}

#[test]
fn what_cannot_be_used_is_refused_by_its_key() {
    let cases = [
        ("server: http://10.96.0.1", "{}", "clusters[one].server"),
        ("{}", "{}", "clusters[one].server"),
        (
            "{server: 'https://a', insecure-skip-tls-verify: true}",
            "{}",
            "insecure-skip-tls-verify",
        ),
        (
            "{server: 'https://a', proxy-url: 'http://p'}",
            "{}",
            "proxy-url",
        ),
        (
            "{server: 'https://a', certificate-authority-data: '%%'}",
            "{}",
            "certificate-authority-data",
        ),
        (
            "{server: 'https://a', certificate-authority: none}",
            "{}",
            "does not exist",
        ),
        (SERVER, "{exec: {command: aws}}", "users[node].exec"),
        (SERVER, "{auth-provider: {name: gcp}}", "auth-provider"),
        (
            SERVER,
            "{username: u, password: a-token-that-is-secret}",
            "username",
        ),
        (
            SERVER,
            "{as: admin, token: a-token-that-is-secret}",
            "users[node].as",
        ),
        (SERVER, "tokenFile: empty", "is an empty file"),
        (SERVER, "tokenFile: none", "users[node].tokenFile"),
        (
            SERVER,
            "{client-certificate-data: aGk=}",
            "client-key is missing",
        ),
        (
            SERVER,
            "{client-key-data: aGk=}",
            "client-certificate is missing",
        ),
        (
            SERVER,
            "token: [a-token-that-is-secret]",
            "the file is no kubeconfig",
        ),
        (
            SERVER,
            "{token: a-token-that-is-secret, token: b}",
            "the file is no YAML (line",
        ),
    ];
    for (cluster, user, words) in cases {
        let error = with(cluster, user).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("token-that"), "{error}");
    }
}

#[test]
fn an_absent_context_cluster_or_user_is_told() {
    for (before, after, words) in [
        (
            "current-context: here",
            "current-context: gone",
            "contexts has no entry with the name \"gone\"",
        ),
        (
            "cluster: one",
            "cluster: two",
            "clusters has no entry with the name \"two\"",
        ),
        (
            "user: node",
            "user: root",
            "users has no entry with the name \"root\"",
        ),
    ] {
        let text = FILE.replace("CLUSTER", SERVER).replace("USER", "{}");
        let error = read(&text.replacen(before, after, 1)).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    }
    for text in ["", "[]", "a: [", "\u{0}"] {
        read(text).expect_err("no kubeconfig");
    }
}
