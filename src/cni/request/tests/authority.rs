//! Requirements on the rights of the author of a network configuration.

use serde_json::{Value, json};

use super::super::sample::{Sample, assert_found};
use super::plain;
use crate::request::{Datastore, NamedBy, Parsed, RequestError};

const USUAL: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";
const LENIENT: [&str; 3] = ["DEL", "CHECK", "GC"];

/// A valid invocation of `verb` with these keys, on a node with these files.
fn on(verb: &str, files: &[(&str, &Value)], ipam: Value) -> Sample {
    let mut sample = plain(verb).ipam(ipam);
    for (path, keys) in files {
        let machine = std::mem::take(&mut sample.machine);
        sample.machine = machine.with(path, 0o600, &keys.to_string());
    }
    sample
}

/// A flat file of a node, with a secret.
fn flat_file() -> Value {
    json!({"etcd_host": "https://nodes", "etcd_username": "node", "etcd_password": "hunter2",
        "node_name": "node-9"})
}

/// The endpoints, the user and the prefix of etcd.
fn access(parsed: &Parsed) -> String {
    let access = parsed.datastore.etcd().expect("it is etcd");
    let login = access.login.as_ref().map_or("-", |(name, _)| name.as_str());
    format!("{} {login} {}", access.endpoints.join(","), access.prefix)
}

const NODES: &str = "https://nodes:2379 node /whereabouts/v1/";

/// A value for each key that belongs to the node. None of these values may count.
fn nodes_keys() -> Vec<(&'static str, Value)> {
    let file = "/etc/whereabouts/x";
    vec![
        ("etcd_host", json!("evil")),
        ("etcd_prefix", json!("/evil/")),
        ("etcd_username", json!("evil")),
        ("etcd_password", json!("swordfish")),
        ("etcd_password_file", json!(file)),
        ("etcd_ca_cert_file", json!(file)),
        ("etcd_cert_file", json!(file)),
        ("etcd_key_file", json!(file)),
        ("node_name", json!("evil")),
        ("cluster_id", json!("evil")),
        ("otlp_endpoint", json!("evil")),
        ("trace_socket", json!("/run/whereabouts/evil")),
        ("metrics_socket", json!("/run/whereabouts/evil")),
    ]
}

#[test]
fn a_network_configuration_never_says_what_the_flat_file_that_names_etcd_says_of_the_node() {
    for (key, value) in nodes_keys() {
        let ipam = json!({"etcd_host": null, key: value});
        let keys = flat_file();
        let sample = |verb| on(verb, &[(USUAL, &keys)], ipam.clone());
        let expected = format!(
            "ipam.{key} cannot be set in a network configuration: {USUAL} configures etcd, and does not list \
             the key in network_config_may_set"
        );
        for verb in ["ADD", "STATUS"] {
            let found = sample(verb).parsed().map(|_| String::new());
            assert_found(found, Err((7, &expected)));
        }
        for verb in LENIENT {
            let sample = sample(verb);
            let remarks = sample.remarks();
            assert!(
                remarks.contains(&format!("Warn: ignored: {expected}")),
                "{remarks}"
            );
            let parsed = sample.parsed().expect("it lives with it");
            assert_eq!(access(&parsed), NODES, "{verb} {key}");
            assert_eq!(parsed.tracing, None, "{verb} {key}");
        }
        let node = sample("GC").gc().expect("it lives with it").node;
        assert_eq!(node.as_deref(), Some("node-9"), "{key}");
    }
}

#[test]
fn a_key_beside_the_ipam_of_a_flat_file_is_an_error_and_not_lost() {
    let path = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";
    let nested = json!({"name": "net", "type": "bridge", "ipam": flat_file()});
    let parsed = on("ADD", &[(path, &nested)], json!({"etcd_host": null})).parsed();
    assert_eq!(access(&parsed.expect("it is read")), NODES);
    let mut stray = nested.clone();
    stray["datastore"] = json!("local");
    let refused = on("ADD", &[(path, &stray)], json!({"etcd_host": null})).parsed();
    let words = format!("{path}: datastore and {path}: ipam cannot be given together");
    assert_found(refused.map(|_| String::new()), Err((7, &words)));
}

#[test]
fn a_network_configuration_may_set_what_the_flat_file_allows_and_no_more() {
    let mut keys = flat_file();
    keys["network_config_may_set"] = json!(["etcd_host", "log_file"]);
    let files: &[(&str, &Value)] = &[(USUAL, &keys)];
    let ipam = json!({"etcd_host": "https://mine", "log_file": "/srv/log"});
    let parsed = on("ADD", files, ipam.clone()).parsed().expect("allowed");
    assert_eq!(access(&parsed), "https://mine:2379 node /whereabouts/v1/");
    assert_eq!(parsed.logging.named_by, NamedBy::Node);
    let found = on("ADD", files, ipam).ipam(json!({"etcd_prefix": "/mine/"}));
    let found = found.parsed().map(|_| String::new());
    assert_found(
        found,
        Err((7, "ipam.etcd_prefix cannot be set in a network")),
    );
}

#[test]
fn a_network_configuration_cannot_allow_itself_anything() {
    let keys = flat_file();
    let ipam = json!({"etcd_host": "evil", "network_config_may_set": ["etcd_host"]});
    let found = on("ADD", &[(USUAL, &keys)], ipam.clone()).parsed();
    let expected = "ipam.network_config_may_set cannot be set in a network configuration";
    assert_found(found.map(|_| String::new()), Err((7, expected)));
    let del = on("DEL", &[(USUAL, &keys)], ipam).parsed().expect("a DEL");
    assert_eq!(access(&del), NODES);
    // A flat file that is not the node's cannot allow them either.
    let named = json!({"network_config_may_set": ["log_file"], "etcd_host": "a"});
    let ipam = json!({"etcd_host": null, "node_name": null, "configuration_path": "/tmp/flat",
        "log_file": "/etc/nologin"});
    let found = on("ADD", &[("/tmp/flat", &named)], ipam).parsed();
    assert_found(
        found.map(|_| String::new()),
        Err((7, "ipam.log_file: \"/etc/nologin\"")),
    );
}

#[test]
fn a_list_of_allowed_keys_that_is_wrong_allows_nothing() {
    let mut keys = flat_file();
    keys["network_config_may_set"] = json!(["etcd_host", "range"]);
    let ipam = json!({"etcd_host": "evil"});
    let found = on("ADD", &[(USUAL, &keys)], ipam.clone()).parsed();
    let expected = "network_config_may_set[1]: \"range\" is none of etcd_host, etcd_prefix,";
    assert_found(found.map(|_| String::new()), Err((7, expected)));
    let del = on("DEL", &[(USUAL, &keys)], ipam).parsed().expect("a DEL");
    assert_eq!(access(&del), NODES);
}

#[test]
fn the_keys_of_etcd_count_where_the_flat_file_says_nothing_of_it() {
    let keys = json!({"log_level": "warn"});
    let ipam = json!({"etcd_host": "mine", "etcd_prefix": "/mine/", "node_name": "mine"});
    for files in [&[][..], &[(USUAL, &keys)]] {
        let parsed = on("ADD", files, ipam.clone()).parsed().expect("allowed");
        assert_eq!(access(&parsed), "http://mine:2379 - /mine/");
    }
}

/// Checks whether a network configuration may set `key` to `path`. The node has no flat file, or one
/// that does not configure etcd. A forbidden path is an error of ADD; DEL ignores the key.
fn check_place(key: &str, path: &str, may: bool) {
    let ipam = json!({key: path});
    let refused = format!("ipam.{key}: {path:?} cannot be named in a network configuration");
    let other = json!({"log_level": "warn"});
    for files in [&[][..], &[(USUAL, &other)]] {
        let found = on("ADD", files, ipam.clone()).parsed();
        let is_refused = |error: &RequestError| error.details().contains(&refused);
        assert_eq!(
            found.as_ref().err().is_some_and(is_refused),
            !may,
            "{found:?}"
        );
        if !may {
            assert_eq!(found.expect_err("refused").code(), 7);
            let remarks = on("DEL", files, ipam.clone()).remarks();
            assert!(remarks.contains(&refused), "{remarks}");
        }
    }
}

#[test]
fn a_network_configuration_names_files_of_this_plugin_alone() {
    for key in [
        "etcd_password_file",
        "etcd_ca_cert_file",
        "etcd_cert_file",
        "etcd_key_file",
    ] {
        for path in [
            "/etc/whereabouts/password",
            "/etc/cni/net.d/whereabouts.d/client.key",
            "/etc/kubernetes/cni/net.d/whereabouts.d/ca.crt",
            "/etc/etcd/whereabouts.key",
            "/var/lib/rancher/k3s/agent/etc/cni/net.d/whereabouts.d/ca.crt",
            "/tmp/tried/ca.crt",
        ] {
            check_place(key, path, true);
        }
        for path in [
            "/etc/shadow",
            "/etc/kubernetes/pki/apiserver-etcd-client.key",
            "/etc/etcd/server.key",
            "/etc/whereabouts/../shadow",
            "/etc/whereabouts.d/../../root/.ssh/id_rsa",
            "/tmp/../etc/shadow",
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "/var/lib/kubelet/pki/whereabouts",
            "/proc/self/environ",
            "/",
            "/etc",
            "/tmp",
        ] {
            check_place(key, path, false);
        }
    }
}

#[test]
fn a_network_configuration_logs_to_files_of_this_plugin_alone() {
    for path in [
        "/var/log/whereabouts.log",
        "/var/log/whereabouts/net-1.log",
        "/tmp/whereabouts.log",
        "/tmp/whereabouts-1/log",
    ] {
        check_place("log_file", path, true);
        let parsed = plain("ADD").ipam(json!({"log_file": path})).parsed();
        assert_eq!(parsed.expect("allowed").logging.named_by, NamedBy::Network);
    }
    for path in [
        "/etc/nologin",
        "/var/log/syslog",
        "/var/log/pods/whereabouts.log",
        "/var/log/whereabouts/../../../etc/nologin",
        "/tmp/whereabouts/../x",
        "/tmp/x",
        "/root/.ssh/authorized_keys",
        "/dev/stdout",
        "/var/log",
    ] {
        check_place("log_file", path, false);
    }
    let keys = json!({"log_file": "/srv/log"});
    let parsed = on("ADD", &[(USUAL, &keys)], json!({}))
        .parsed()
        .expect("the node's");
    let logging = parsed.logging;
    assert_eq!(logging.file, Some("/srv/log".into()));
    assert_eq!(logging.named_by, NamedBy::Node);
}

#[test]
fn a_network_configuration_sends_spans_to_sockets_of_this_plugin_alone() {
    for path in [
        "/run/whereabouts/trace.sock",
        "/var/run/whereabouts.sock",
        "/tmp/t",
    ] {
        check_place("trace_socket", path, true);
        check_place("metrics_socket", path, true);
    }
    for path in ["/run/systemd/journal/socket", "/dev/log", "/run/../etc/x"] {
        check_place("trace_socket", path, false);
        check_place("metrics_socket", path, false);
    }
}

#[test]
fn a_link_out_of_a_temporary_folder_is_where_it_leads_to() {
    let mut sample = plain("ADD").ipam(json!({"etcd_username": "me",
        "etcd_password_file": "/tmp/x"}));
    let links = &mut sample.machine.links;
    links.insert("/tmp/x".into(), "/etc/shadow".into());
    let found = sample.parsed().map(|_| String::new());
    assert_found(
        found,
        Err((7, "ipam.etcd_password_file: \"/tmp/x\" cannot be named")),
    );
}

#[test]
fn a_password_of_several_lines_is_none_and_is_not_shown() {
    for content in [
        "hunter2\nx",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n",
        "hunter2\u{0}",
    ] {
        let ipam = json!({"etcd_username": "me", "etcd_password_file": "/etc/whereabouts/p"});
        let mut sample = plain("DEL").ipam(ipam);
        let machine = std::mem::take(&mut sample.machine);
        sample.machine = machine.with("/etc/whereabouts/p", 0o600, content);
        let error = sample.parsed().expect_err("no password");
        assert!(!error.details().contains("hunter2"), "{}", error.details());
        let expected = "ipam.etcd_password_file: the password has more than one line";
        assert_found(Err(error), Err((7, expected)));
    }
}

/// Checks which flat file counts for a configuration that names `path`, by its `network_name`, or
/// the error of ADD. DEL never fails for a path that ADD refuses: the usual file then counts.
fn check_path(path: &str, files: &[(&str, &Value)], expected: Result<&str, &str>) {
    let ipam = json!({"configuration_path": path, "etcd_host": null, "node_name": null});
    let pool = |sample: Sample| {
        let add = sample.add()?;
        let pool = &add.ask.expect("a range").wants[0].range.pool;
        Ok(pool.to_string())
    };
    let found = pool(on("ADD", files, ipam.clone()));
    assert_found(found, expected.map_err(|part| (7, part)));
    if expected.is_err() && files.iter().any(|(path, _)| *path == USUAL) {
        let del = on("DEL", files, ipam).del().expect("a DEL");
        assert_eq!(del.queues[0].pool.to_string(), "usual", "{path}");
    }
}

#[test]
fn a_network_configuration_names_a_flat_file_of_the_node() {
    let named = json!({"network_name": "named", "etcd_host": "a"});
    let usual = json!({"network_name": "usual", "etcd_host": "b"});
    for path in [
        "/etc/whereabouts.conf",
        "/etc/kubernetes/cni/net.d/whereabouts.d/whereabouts.conf",
        "/var/lib/rancher/rke2/agent/etc/cni/net.d/whereabouts.d/whereabouts.conf",
    ] {
        check_path(path, &[(path, &named)], Ok("named"));
        check_path(path, &[(path, &named), (USUAL, &usual)], Ok("named"));
    }
    check_path(USUAL, &[(USUAL, &usual)], Ok("usual"));
    let foreign = "cannot be named in a network configuration";
    for path in [
        "/var/lib/kubelet/pods/1/evil",
        "/run/containerd/rootfs/etc/whereabouts.conf",
    ] {
        check_path(path, &[(path, &named)], Err(foreign));
        check_path(path, &[(path, &named), (USUAL, &usual)], Err(foreign));
        check_path(path, &[(USUAL, &usual)], Err(foreign));
    }
    let mut allowing = usual.clone();
    allowing["network_config_may_set"] = json!(["configuration_path"]);
    check_path(
        "/srv/flat",
        &[("/srv/flat", &named), (USUAL, &allowing)],
        Ok("named"),
    );
}

#[test]
fn a_flat_file_in_a_temporary_folder_counts_only_where_the_node_has_none() {
    let named = json!({"network_name": "named", "etcd_host": "a"});
    let usual = json!({"network_name": "usual", "etcd_host": "b"});
    check_path("/tmp/flat", &[("/tmp/flat", &named)], Ok("named"));
    let foreign = "cannot be named in a network configuration";
    check_path(
        "/tmp/flat",
        &[("/tmp/flat", &named), (USUAL, &usual)],
        Err(foreign),
    );
    // The file sets no more than the network configuration itself.
    let logs = json!({"etcd_host": "a", "log_file": "/etc/nologin"});
    check_path(
        "/tmp/flat",
        &[("/tmp/flat", &logs)],
        Err("log_file: \"/etc/nologin\" cannot be named"),
    );
    let ipam = json!({"configuration_path": "/tmp/flat", "etcd_host": "evil"});
    let found = on("ADD", &[("/tmp/flat", &named)], ipam).parsed();
    assert_found(
        found.map(|_| String::new()),
        Err((7, "ipam.etcd_host cannot be set in a network")),
    );
}

#[test]
fn a_named_flat_file_that_another_user_can_write_does_not_count() {
    let path = "/etc/whereabouts.conf";
    let usual = json!({"network_name": "usual", "etcd_host": "b"});
    for (mode, is_ours) in [(0o666, true), (0o620, true), (0o600, false)] {
        let sample = |verb| {
            let ipam = json!({"configuration_path": path, "etcd_host": null});
            let mut sample = on(verb, &[(USUAL, &usual)], ipam);
            let machine = std::mem::take(&mut sample.machine);
            sample.machine = machine.with(path, mode, r#"{"etcd_host": "evil"}"#);
            let file = sample
                .machine
                .files
                .get_mut(path)
                .expect("it was put there");
            file.is_ours = is_ours;
            sample
        };
        let found = sample("ADD").parsed().map(|_| String::new());
        assert_found(
            found,
            Err((7, "does not belong to root, or other users can write it")),
        );
        let del = sample("DEL").parsed().expect("a DEL");
        assert_eq!(access(&del), "http://b:2379 - /whereabouts/v1/");
    }
}

#[test]
fn an_absent_flat_file_is_replaced_by_the_usual_one_with_a_warning() {
    let usual = json!({"network_name": "usual", "etcd_host": "b"});
    let path = "/etc/kubernetes/cni/net.d/whereabouts.d/other.conf";
    check_path(path, &[(USUAL, &usual)], Ok("usual"));
    let ipam = json!({"configuration_path": path, "etcd_host": null});
    let sample = on("ADD", &[(USUAL, &usual)], ipam);
    let expected = format!(
        "Warn: the usual flat file is used: ipam.configuration_path: cannot read {path:?}: entity \
         not found"
    );
    assert_eq!(sample.remarks(), expected);
    check_path(path, &[], Err("ipam.configuration_path: cannot read"));
}

#[test]
fn headers_of_the_node_go_to_no_collector_of_a_network_configuration() {
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret");
    let headers = |sample: Sample| {
        let sample = sample.variable(headers.0, headers.1);
        let tracing = sample.parsed().expect("a good config").tracing;
        let collector = tracing.and_then(|tracing| tracing.collector);
        collector.expect("there is one").headers.len()
    };
    let key = json!({"otlp_endpoint": "c"});
    assert_eq!(headers(plain("ADD").ipam(key.clone())), 0);
    assert_eq!(headers(on("ADD", &[(USUAL, &key)], json!({}))), 1);
    let allowed = json!({"network_config_may_set": ["otlp_endpoint"]});
    assert_eq!(headers(on("ADD", &[(USUAL, &allowed)], key)), 1);
    let inherited = plain("ADD").variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c");
    assert_eq!(headers(inherited), 1);
}

/// A file of the node that is no flat file, or that sets less than the usual one.
#[test]
fn a_named_file_that_leaves_etcd_open_takes_nothing_out_of_the_hands_of_the_usual_one() {
    let path = "/etc/whereabouts/other.json";
    let ipam = json!({"configuration_path": path, "etcd_host": "evil", "node_name": null});
    let mut allowing = flat_file();
    allowing["network_config_may_set"] = json!(["configuration_path"]);
    let silent = json!({"log_level": "debug"});
    for (usual, expected) in [
        (
            flat_file(),
            Err((7, "ipam.configuration_path cannot be set in a network")),
        ),
        (allowing, Ok("http://evil:2379 - /whereabouts/v1/")),
        (silent.clone(), Ok("http://evil:2379 - /whereabouts/v1/")),
    ] {
        for named in [
            silent.clone(),
            json!({"ipam": {}}),
            json!({"etcd_host": ""}),
        ] {
            let files: &[(&str, &Value)] = &[(USUAL, &usual), (path, &named)];
            let found = on("ADD", files, ipam.clone()).parsed();
            assert_found(found.map(|parsed| access(&parsed)), expected);
            let expected = expected.unwrap_or(NODES);
            let found = on("DEL", files, ipam.clone()).parsed();
            assert_found(found.map(|parsed| access(&parsed)), Ok(expected));
        }
    }
}

/// Which file the datastore is, or that it is etcd.
fn file(parsed: &Parsed) -> String {
    match &parsed.datastore {
        Datastore::Local(path) => path.display().to_string(),
        Datastore::Etcd(access) => access.endpoints.join(","),
        Datastore::Kubernetes(access) => access.server.host().to_owned(),
    }
}

#[test]
fn a_network_configuration_may_choose_a_file_below_the_plugins_folder_alone() {
    let local = |path: &str| {
        let ipam = json!({"etcd_host": null, "datastore": "local", "local_path": path});
        on("ADD", &[], ipam).parsed().map(|parsed| file(&parsed))
    };
    for path in ["/var/lib/whereabouts/a.db", "/var/lib/whereabouts/lab/b"] {
        assert_found(local(path), Ok(path));
    }
    let refused = "cannot be named in a network configuration; /var/lib/whereabouts/* can";
    for path in [
        "/tmp/a.db",
        "/etc/whereabouts/a.db",
        "/var/lib/whereabouts",
        "/var/lib/whereabouts-2/a.db",
        "/var/lib/whereabouts/../kubelet/a.db",
        "/var/lib/etcd/member/snap/db",
    ] {
        assert_found(local(path), Err((7, refused)));
    }
    let keys = json!({"network_config_may_set": ["local_path"]});
    let ipam = json!({"etcd_host": null, "datastore": "local", "local_path": "/srv/a.db"});
    let allowed = on("ADD", &[(USUAL, &keys)], ipam).parsed();
    assert_found(allowed.map(|parsed| file(&parsed)), Ok("/srv/a.db"));
}

#[test]
fn the_datastore_is_the_nodes_once_its_flat_file_names_one() {
    let etcd = flat_file();
    let local = json!({"datastore": "local", "local_path": "/srv/node.db"});
    let no_host = |mut keys: Value| {
        keys["etcd_host"] = keys.get("etcd_host").cloned().unwrap_or(Value::Null);
        keys
    };
    for (keys, ipam, key, nodes) in [
        (
            &etcd,
            json!({"datastore": "local"}),
            "datastore",
            "https://nodes:2379",
        ),
        (
            &local,
            json!({"datastore": "etcd", "etcd_host": "evil"}),
            "etcd_host",
            "/srv/node.db",
        ),
        (
            &local,
            json!({"datastore": "etcd"}),
            "datastore",
            "/srv/node.db",
        ),
        (
            &local,
            json!({"etcd_host": "evil"}),
            "etcd_host",
            "/srv/node.db",
        ),
        (
            &local,
            json!({"local_path": "/var/lib/whereabouts/a.db"}),
            "local_path",
            "/srv/node.db",
        ),
    ] {
        let ipam = no_host(ipam);
        let found = on("ADD", &[(USUAL, keys)], ipam.clone()).parsed();
        let expected =
            format!("ipam.{key} cannot be set in a network configuration: {USUAL} configures");
        assert_found(found.map(|parsed| file(&parsed)), Err((7, &expected)));
        let del = on("DEL", &[(USUAL, keys)], ipam).parsed();
        assert_eq!(file(&del.expect("it lives with it")), nodes);
    }
    // The same datastore may be named.
    let ipam = json!({"etcd_host": null, "datastore": "local"});
    let same = on("ADD", &[(USUAL, &local)], ipam).parsed();
    assert_found(same.map(|parsed| file(&parsed)), Ok("/srv/node.db"));
}

#[test]
fn the_usual_file_is_taken_where_none_is_named() {
    let ipam = json!({"etcd_host": null, "datastore": "local"});
    let found = on("ADD", &[], ipam).parsed();
    let usual = "/var/lib/whereabouts/local.db";
    assert_found(found.map(|parsed| file(&parsed)), Ok(usual));
    let ipam = json!({"etcd_host": null, "datastore": "local", "local_path": "local.db"});
    let relative = on("ADD", &[], ipam).parsed();
    assert_found(
        relative.map(|parsed| file(&parsed)),
        Err((7, "ipam.local_path: \"local.db\"")),
    );
}
