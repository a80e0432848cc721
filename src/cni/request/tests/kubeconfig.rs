//! Requirements on `datastore: kubernetes` and the kubeconfig that it names.

use serde_json::{Value, json};

use super::super::sample::{Sample, assert_found};
use super::plain;
use crate::request::{Datastore, Parsed, RequestError};

const FLAT_FILE: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.conf";
const USUAL: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig";

/// A kubeconfig with the token of the file `token` beside it.
fn kubeconfig(server: &str) -> Value {
    json!({
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}],
    })
}

/// An invocation with these keys on a node with a flat file, a kubeconfig in the usual place, and one in another place.
fn on(verb: &str, flat_file: Option<Value>, ipam: Value) -> Sample {
    let mut sample = plain(verb).ipam(json!({"etcd_host": null})).ipam(ipam);
    let usual = kubeconfig("https://usual").to_string();
    let other = kubeconfig("https://other").to_string();
    let mut machine = std::mem::take(&mut sample.machine)
        .with(USUAL, 0o600, &usual)
        .with("/etc/cni/net.d/whereabouts.d/token", 0o600, "hunter2\n")
        .with("/etc/whereabouts/kubeconfig", 0o600, &other)
        .with("/etc/whereabouts/token", 0o600, "hunter3")
        .with("/tmp/whereabouts/kubeconfig", 0o600, &other)
        .with("/tmp/whereabouts/token", 0o600, "hunter4");
    if let Some(keys) = flat_file {
        machine = machine.with(FLAT_FILE, 0o600, &keys.to_string());
    }
    sample.machine = machine;
    sample
}

/// The URL's host and the token of the access.
fn access(parsed: Result<Parsed, RequestError>) -> Result<String, RequestError> {
    parsed.map(|parsed| match parsed.datastore {
        Datastore::Kubernetes(access) => {
            let token = access.token.expect("a token");
            format!("{} {}", access.server.host(), token.reveal())
        }
        other => format!("{other:?}"),
    })
}

fn check(flat_file: Option<&Value>, ipam: &Value, expected: Result<&str, &str>) {
    for verb in ["ADD", "STATUS"] {
        let found = access(on(verb, flat_file.cloned(), ipam.clone()).parsed());
        assert_found(found, expected.map_err(|part| (7, part)));
    }
}

#[test]
fn a_kubeconfig_gives_the_server_and_the_token() {
    let named = |path: &str| json!({"datastore": "kubernetes", "kubernetes": {"kubeconfig": path}});
    let with = json!({"datastore": "kubernetes"});
    check(None, &named(USUAL), Ok("usual hunter2"));
    check(
        None,
        &named("/etc/whereabouts/kubeconfig"),
        Ok("other hunter3"),
    );
    check(None, &with, Ok("usual hunter2"));
    check(Some(&with), &json!({}), Ok("usual hunter2"));
    check(
        Some(&named("/etc/whereabouts/kubeconfig")),
        &json!({}),
        Ok("other hunter3"),
    );
    // As in the samples of the original: the node's flat file says the same.
    check(Some(&named(USUAL)), &named(USUAL), Ok("usual hunter2"));
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named_and_shows_no_secret() {
    let cases = [
        (
            json!({"kubernetes": {"kubeconfig": "/etc/whereabouts/none"}}),
            "ipam.kubernetes.kubeconfig: cannot read \"/etc/whereabouts/none\": entity not found",
        ),
        (
            json!({"kubernetes": {"kubeconfig": "/etc/whereabouts/token"}}),
            "ipam.kubernetes.kubeconfig: \"/etc/whereabouts/token\" is refused: the file is no kubeconfig",
        ),
        (
            json!({"kubernetes": {"kubeconfig": 5}}),
            "ipam.kubernetes.kubeconfig: expected a string",
        ),
        (
            json!({"kubernetes": "x"}),
            "ipam.kubernetes: expected an object",
        ),
        (
            json!({"kubernetes": {"kubeConfig": USUAL}}),
            "ipam.kubernetes.kubeConfig",
        ),
    ];
    for (ipam, expected) in cases {
        let sample = on("ADD", None, json!({"datastore": "kubernetes"})).ipam(ipam);
        let found = access(sample.parsed());
        let details = found.as_ref().err().map(RequestError::details);
        assert!(!details.unwrap_or_default().contains("hunter"));
        assert_found(found, Err((7, expected)));
    }
    let sample = plain("ADD").ipam(json!({"etcd_host": null, "datastore": "kubernetes"}));
    let expected = "ipam.kubernetes.kubeconfig is missing: the datastore kubernetes needs it";
    assert_found(access(sample.parsed()), Err((7, expected)));
}

#[test]
fn a_network_configuration_names_no_kubeconfig_that_could_send_files_away() {
    let cannot = "cannot be named in a network configuration";
    for path in [
        "/var/lib/kubelet/kubeconfig",
        "/etc/kubernetes/admin.conf",
        "/etc/whereabouts/../kubernetes/admin.conf",
    ] {
        let ipam = json!({"datastore": "kubernetes", "kubernetes": {"kubeconfig": path}});
        check(None, &ipam, Err(cannot));
    }
    // In a temporary folder, any user may have written it.
    let tried = "/tmp/whereabouts/kubeconfig";
    let ipam = json!({"datastore": "kubernetes", "kubernetes": {"kubeconfig": tried}});
    check(None, &ipam, Ok("other hunter4"));
    let mut sending = kubeconfig("https://evil");
    sending["users"][0]["user"]["tokenFile"] = json!("/etc/cni/net.d/whereabouts.d/token");
    let mut sample = on("ADD", None, ipam);
    let machine = std::mem::take(&mut sample.machine);
    sample.machine = machine.with(tried, 0o600, &sending.to_string());
    let expected = "users[u].tokenFile is not in a temporary folder, as the kubeconfig is";
    assert_found(access(sample.parsed()), Err((7, expected)));
    // Beside a flat file of any user, and a link to a file that this user wrote elsewhere.
    let ipam = json!({"configuration_path": "/tmp/whereabouts/whereabouts.conf"});
    let mut sample = on("ADD", None, ipam);
    let beside = "/tmp/whereabouts/whereabouts.kubeconfig";
    let links = &mut sample.machine.links;
    links.insert(beside.into(), "/var/lib/kubelet/pods/x/evil".into());
    let machine = std::mem::take(&mut sample.machine);
    let flat_file = json!({"datastore": "kubernetes"}).to_string();
    sample.machine = machine
        .with("/tmp/whereabouts/whereabouts.conf", 0o600, &flat_file)
        .with(beside, 0o600, &sending.to_string());
    let expected = "is a link to another folder than a temporary one";
    assert_found(access(sample.parsed()), Err((7, expected)));
}

#[test]
fn a_network_configuration_sends_the_nodes_token_nowhere() {
    for file in ["whereabouts.token", "whereabouts.kubeconfig"] {
        let path = format!("/etc/cni/net.d/whereabouts.d/{file}");
        let ipam = json!({"etcd_host": "evil", "etcd_username": "x", "etcd_password_file": path});
        let mut sample = on("ADD", None, ipam);
        let machine = std::mem::take(&mut sample.machine);
        sample.machine = machine.with(&path, 0o600, "hunter5");
        let expected = "cannot be named in a network configuration";
        let found = access(sample.parsed());
        let details = found.as_ref().err().map(RequestError::details);
        assert!(!details.unwrap_or_default().contains("hunter"));
        assert_found(found, Err((7, expected)));
    }
}

#[test]
fn the_node_decides_on_the_datastore_and_the_kubeconfig() {
    let other = json!({"kubernetes": {"kubeconfig": "/etc/whereabouts/kubeconfig"}});
    let nodes = json!({"datastore": "kubernetes"});
    let refused = "configures the datastore kubernetes, and does not list the key";
    check(Some(&nodes), &other, Err(refused));
    for key in ["etcd_host", "node_name", "cluster_id"] {
        check(Some(&nodes), &json!({key: "evil"}), Err(refused));
    }
    for datastore in ["etcd", "local"] {
        check(Some(&nodes), &json!({"datastore": datastore}), Err(refused));
    }
    let allowing =
        json!({"datastore": "kubernetes", "network_config_may_set": ["kubernetes.kubeconfig"]});
    check(Some(&allowing), &other, Ok("other hunter3"));
    let of_etcd = json!({"etcd_host": "a"});
    let mut chosen = other;
    chosen["datastore"] = json!("kubernetes");
    check(
        Some(&of_etcd),
        &chosen,
        Err("configures etcd, and does not list the key"),
    );
    // DEL goes where the node says.
    let wrong = [
        json!("etcd"),
        json!("Kubernetes"),
        json!(["etcd"]),
        json!(7),
    ];
    let wrong = wrong.map(|datastore| json!({"datastore": datastore}));
    for ipam in wrong.into_iter().chain([chosen]) {
        let del = on("DEL", Some(nodes.clone()), ipam).parsed();
        assert_found(access(del), Ok("usual hunter2"));
    }
}

#[test]
fn a_kubeconfig_means_nothing_to_another_datastore() {
    for path in ["/x", "/etc/kubernetes/admin.conf"] {
        let ipam = json!({"etcd_host": "a", "kubernetes": {"kubeconfig": path}});
        let sample = on("ADD", None, ipam);
        assert_eq!(
            sample.remarks(),
            "Debug: ipam.kubernetes.kubeconfig has no meaning here, ignored"
        );
    }
}
