//! Ranges that networks name and no pod has used, on a real API server: in etcd by the controller, and without etcd by the
//! readers themselves.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whereabouts_core::network::DefinitionName;
use whereabouts_fixtures::apiserver::ApiServer;
use whereabouts_store::Revision;
use whereabouts_store::keys::Key;
use whereabouts_store::record;

use super::lab::{ACCOUNT, Lab};
use crate::ctl::networks::{assert_only, page_shows};
use crate::ctl::page::Server;
use crate::ctl::{WELL, assert_said, on, tool};
use crate::plugin::{Answer, Site};
use crate::support::poll;

const CIDR: &str = "10.77.0.0/28";

/// The kind of networks, as Multus installs it.
fn install_multus(server: &ApiServer) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    server.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
        "spec": {
            "group": "k8s.cni.cncf.io", "scope": "Namespaced",
            "names": {"plural": "network-attachment-definitions", "singular": "network-attachment-definition",
                "kind": "NetworkAttachmentDefinition", "shortNames": ["net-attach-def"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    }));
    let kind = "crd/network-attachment-definitions.k8s.cni.cncf.io";
    server.kubectl(&["wait", "--for=condition=Established", kind]);
}

fn apply(server: &ApiServer, namespace: &str, name: &str, ipam: &Value) {
    let mut ipam = ipam.clone();
    ipam["type"] = "whereabouts".into();
    let config = json!({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "ipam": ipam});
    server.apply(&json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"config": config.to_string()},
    }));
}

/// The statements in etcd: the intervals of each network, and the revision of its key.
fn stated(site: &Site) -> BTreeMap<String, (String, Revision)> {
    let entries = site.entries().into_iter();
    let stated = entries.filter_map(|entry| match site.keys().decode(&entry.key) {
        Ok(Key::Network(DefinitionName { namespace, name })) => {
            let ranges = record::decode_network(&entry.value).expect("a statement");
            let usable = ranges.iter().flat_map(|one| &one.usable);
            let usable: Vec<String> = usable.map(ToString::to_string).collect();
            let told = (usable.join(" "), entry.modified);
            Some((format!("{namespace}/{name}"), told))
        }
        Ok(_) | Err(_) => None,
    });
    stated.collect()
}

/// A watch begins anew up to half a minute after a failure, and an expired one twice as late.
fn await_stated(site: &Site, expected: &[(&str, &str)]) {
    let begun = Instant::now();
    loop {
        let stated = stated(site);
        let told = stated.iter();
        let told = told.map(|(name, (usable, _))| (name.as_str(), usable.as_str()));
        if told.eq(expected.iter().copied()) {
            return;
        }
        let is_late = begun.elapsed() > Duration::from_mins(3);
        assert!(!is_late, "{stated:?} instead of {expected:?}");
        sleep(Duration::from_millis(100));
    }
}

struct Setting {
    site: Site,
    kubeconfig: String,
}

impl Setting {
    fn controller(&self) -> Server {
        let endpoints = self.site.access().endpoints.join(",");
        let arguments = [
            "--etcd-host",
            &endpoints,
            "--etcd-prefix",
            &self.site.prefix,
            "--kubeconfig",
            &self.kubeconfig,
            "--identity",
            "one",
            "--every",
            "1s",
        ];
        Server::start_as("controller", &arguments)
    }
}

fn rounds(controller: &Server) -> u64 {
    let metrics = controller.get("/metrics");
    let line = "whereabouts_reconcile_rounds_total{result=\"done\"} ";
    let count = metrics.lines().find_map(|text| text.strip_prefix(line));
    count.expect("it is served").parse().expect("a number")
}

/// Lets the controller do so many rounds more.
fn await_rounds(controller: &Server, more: u64) {
    let begun = rounds(controller);
    poll("rounds", || {
        (rounds(controller) >= begun + more).then_some(())
    });
}

fn await_metric(controller: &Server, line: &str) {
    poll(line, || {
        let metrics = controller.get("/metrics");
        metrics.lines().any(|text| text == line).then_some(())
    });
}

#[test]
fn the_controller_states_what_networks_do_and_readers_show_it() {
    let mut server = ApiServer::start();
    let setting = Setting {
        site: Site::shared(),
        kubeconfig: text(&server.admin_kubeconfig("admin")),
    };
    let site = &setting.site;
    // A cluster without Multus has no networks, and that is no error.
    let controller = setting.controller();
    await_rounds(&controller, 1);
    assert!(stated(site).is_empty());
    install_multus(&server);
    apply(
        &server,
        "default",
        "blue",
        &json!({"range": CIDR, "gateway": "10.77.0.1"}),
    );
    await_stated(site, &[("default/blue", "10.77.0.2-10.77.0.14")]);
    await_metric(&controller, "whereabouts_reconcile_networks 1");
    readers_show(site, "13");
    // The same range in another namespace, with other exclusions: both count. A network that ADD refuses does not.
    server.kubectl(&["create", "namespace", "tenant"]);
    apply(
        &server,
        "tenant",
        "red",
        &json!({"range": CIDR, "range_end": "10.77.0.1"}),
    );
    apply(
        &server,
        "tenant",
        "wrong",
        &json!({"range": "10.77.0.0/33"}),
    );
    await_stated(
        site,
        &[
            ("default/blue", "10.77.0.2-10.77.0.14"),
            ("tenant/red", "10.77.0.1-10.77.0.1"),
        ],
    );
    await_metric(&controller, "whereabouts_reconcile_networks_unusable 1");
    readers_show(site, "14");
    // A change.
    apply(&server, "tenant", "red", &json!({"range": "10.78.0.0/30"}));
    let expected = [
        ("default/blue", "10.77.0.2-10.77.0.14"),
        ("tenant/red", "10.78.0.1-10.78.0.2"),
    ];
    await_stated(site, &expected);
    // A controller that starts anew writes nothing at rest.
    let before = stated(site);
    drop(controller);
    let controller = setting.controller();
    await_metric(&controller, "whereabouts_reconcile_networks 2");
    await_rounds(&controller, 2);
    assert_eq!(stated(site), before);
    // A server that is away says nothing of networks.
    server.stop();
    sleep(Duration::from_secs(8));
    assert_eq!(stated(site), before);
    server.restart();
    // A damaged statement, and one that somebody has deleted, come back.
    let blue = Key::Network(DefinitionName {
        namespace: "default".to_owned(),
        name: "blue".to_owned(),
    });
    let key = String::from_utf8(site.keys().encode(&blue)).expect("a text");
    site.cluster.etcdctl(&["put", &key, "\u{1}nonsense"]);
    poll("the damaged statement is written anew", || {
        let entry = site.entry(&blue)?;
        record::decode_network(&entry.value).ok().map(drop)
    });
    site.cluster.etcdctl(&["del", &key]);
    await_stated(site, &expected);
    server.kubectl(&["-n", "tenant", "delete", "net-attach-def", "red", "wrong"]);
    await_stated(site, &expected[..1]);
    await_metric(&controller, "whereabouts_reconcile_networks_unusable 0");
    backups_leave_them_out(site);
    server.kubectl(&["delete", "net-attach-def", "blue"]);
    await_stated(site, &[]);
    site.assert_at_rest(0);
}

/// The tool, the page's API and the metrics have the range before any pod has used it.
fn readers_show(site: &Site, expected: &str) {
    assert_only(
        &on(site, &["ranges", "-o", "json"]).run().result(),
        expected,
        0,
    );
    let picture = on(site, &["map", CIDR, "-o", "json"]).run().result();
    let free = picture["rows"][0]["cells"]
        .as_str()
        .expect("cells")
        .matches('.')
        .count();
    assert_eq!(
        (free.to_string().as_str(), &picture["taken"]),
        (expected, &json!("0"))
    );
    let server = Server::of(site, &[]);
    page_shows(&server, expected);
    assert_said(&on(site, &["check"]).run(), WELL, &["findings          0"]);
}

/// A backup has claims and blocks, and a restore into a store with statements needs no `--replace`.
fn backups_leave_them_out(site: &Site) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = text(&folder.path().join("backup"));
    let before = stated(site);
    assert_said(&on(site, &["backup", &file]).run(), WELL, &["0 entries"]);
    let restored = on(site, &["restore", &file, "--yes"]).run();
    assert_said(&restored, WELL, &["0 keys deleted"]);
    assert_eq!(stated(site), before);
}

#[test]
fn readers_of_objects_list_the_networks_themselves() {
    let lab = Lab::start();
    let admin = text(&lab.server.admin_kubeconfig("admin"));
    let run = |kubeconfig: &str, arguments: &[&str]| -> Answer {
        let reach = ["--datastore", "kubernetes", "--kubeconfig", kubeconfig];
        tool(arguments).arguments(&reach).run()
    };
    // A cluster without Multus.
    assert_eq!(run(&admin, &["ranges", "-o", "json"]).result(), json!([]));
    let page = Server::start(&["--datastore", "kubernetes", "--kubeconfig", &admin]);
    page.await_state("live");
    install_multus(&lab.server);
    apply(
        &lab.server,
        "default",
        "blue",
        &json!({"range": CIDR, "gateway": "10.77.0.1"}),
    );
    apply(
        &lab.server,
        "default",
        "wrong",
        &json!({"range": "10.77.0.0/33"}),
    );
    let told = run(&admin, &["ranges", "-o", "json"]);
    assert_only(&told.result(), "13", 0);
    assert_said(
        &run(&admin, &["ranges"]),
        WELL,
        &[CIDR, "network default/wrong are not shown"],
    );
    let map = run(&admin, &["map", CIDR, "-o", "json"]).result();
    assert_eq!(map["rows"][0]["cells"], "--.............-");
    page_shows(&page, "13");
    // The rights of the page are enough.
    let create = ["-n", "kube-system", "create", "token", "whereabouts-page"];
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "whereabouts-page", "namespace": "kube-system"}});
    lab.server.apply(&account);
    let token = lab.server.kubectl(&create);
    let kubeconfig = text(&lab.server.kubeconfig("page", token.trim()));
    let told = run(&kubeconfig, &["ranges", "-o", "json"]);
    assert_only(&told.result(), "13", 0);
    // Those of a node are not, which is no absence.
    let kubeconfig = text(&lab.server.kubeconfig("node", &lab.token("a")));
    let told = run(&kubeconfig, &["ranges"]);
    assert_said(
        &told,
        WELL,
        &[
            "refuses access",
            ACCOUNT,
            "ranges that no pod has used may be missing",
        ],
    );
    lab.server.kubectl(&["delete", "net-attach-def", "blue"]);
    poll("the page forgets it", || {
        let ranges = page.json("/api/ranges")["ranges"].clone();
        ranges[0].is_null().then_some(())
    });
}

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("a text").to_owned()
}
