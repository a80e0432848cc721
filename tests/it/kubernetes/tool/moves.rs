//! `backup` and `restore` from etcd to objects and back: pods live on, and their claims move.

use serde_json::{Value, json};

use super::{Bench, folder, text};
use crate::ctl::{FOUND, WELL, assert_said, on};
use crate::plugin::{Answer, Network, Pod, Site, node_file, pods};

/// One network on both datastores.
struct Both {
    on_etcd: Network,
    on_objects: Network,
}

impl Both {
    fn of(site: &Site, flat_file: &std::path::Path, name: &str, ranges: &Value) -> Self {
        let same = |network: Network| network.config(json!({"name": name})).ipam(ranges.clone());
        Self {
            on_etcd: same(site.without_range()).ipam(json!({"node_name": "a"})),
            on_objects: same(Network::of_node(flat_file)),
        }
    }
}

fn ips(answer: &Answer) -> Value {
    answer.result()["ips"].clone()
}

/// The parts of the claims that a move must keep.
fn kept(claims: &Value) -> Vec<Value> {
    let claims = claims.as_array().expect("a list").iter();
    let part = |claim: &Value| {
        json!([
            claim["network"],
            claim["container"],
            claim["interface"],
            claim["addresses"],
            claim["node"],
            claim["pod"],
            claim["netns"],
        ])
    };
    let mut kept: Vec<Value> = claims.map(part).collect();
    kept.sort_by_key(ToString::to_string);
    kept
}

#[test]
fn claims_move_to_objects_and_back_while_their_pods_live() {
    let (bench, site) = (Bench::start(), Site::shared());
    let kubeconfig = bench.lab.server.kubeconfig("moves", &bench.lab.token("a"));
    let flat_file = node_file(&json!({
        "datastore": "kubernetes", "node_name": "a", "kubernetes": {"kubeconfig": kubeconfig},
    }));
    let both = |name, ranges: &Value| Both::of(&site, flat_file.path(), name, ranges);
    let networks = [
        both("plain", &json!({"range": "10.0.0.0/22"})),
        both(
            "team",
            &json!({"range": "10.0.0.0/24", "network_name": "team"}),
        ),
        both(
            "dual",
            &json!({"ipRanges": [{"range": "10.1.0.0/24"}, {"range": "fd00:1::/64"}]}),
        ),
        both("tight", &json!({"range": "10.2.0.0/29"})),
    ];
    let pods: Vec<Pod> = pods(6);
    let mut given = Vec::new();
    for network in &networks {
        for pod in &pods {
            given.push(ips(&network.on_etcd.add(pod)));
        }
        network.on_etcd.del(&pods[2]).assert_silent();
    }
    let of_etcd = || kept(&on(&site, &["claims", "-o", "json"]).run().result());
    let of_objects = || kept(&bench.json(&["claims"]));
    let before = of_etcd();
    assert_eq!(before.len(), 20);

    let folder = folder();
    let file = |name: &str| text(&folder.path().join(name));
    let there = file("there");
    assert_said(&on(&site, &["backup", &there]).run(), WELL, &["in "]);
    assert_said(
        &bench.run(&["restore", &there, "--dry-run"]),
        WELL,
        &["20 of 20 claims are to be held"],
    );
    assert_eq!(of_objects(), Vec::<Value>::new());
    assert_said(
        &bench.run(&["restore", &there, "--yes"]),
        WELL,
        &["20 of 20 claims are held now"],
    );
    assert_eq!(of_objects(), before);
    assert_said(&bench.run(&["check"]), WELL, &["findings          0"]);

    let new = Pod::new("new");
    for (network, given) in networks.iter().zip(given.chunks(pods.len())) {
        for (pod, ips_of_etcd) in pods.iter().zip(given) {
            if pod.container == pods[2].container {
                continue;
            }
            let again = network.on_objects.add(pod);
            assert_eq!(ips(&again), *ips_of_etcd, "{}", pod.container);
            network.on_objects.check(pod, &again.json()).assert_silent();
        }
        // The address that is free, and no other.
        assert_eq!(ips(&network.on_objects.add(&new)), given[2]);
        network.on_objects.del(&pods[0]).assert_silent();
    }
    let full = networks[3].on_objects.add(&Pod::new("first"));
    assert_eq!(ips(&full), given[18]);
    let full = networks[3].on_objects.add(&Pod::new("second"));
    assert!(full.stdout.contains("10.2.0.0/29"), "{full:?}");

    // The way back: the keys of etcd are those of before.
    let after = of_objects();
    let back = file("back");
    assert_said(&bench.run(&["backup", &back]), WELL, &["in "]);
    let refused = on(&site, &["restore", &back, "--yes"]).run();
    assert_said(&refused, FOUND, &["--replace"]);
    assert_said(
        &on(&site, &["restore", &back, "--replace", "--yes"]).run(),
        WELL,
        &["restored"],
    );
    assert_eq!(of_etcd(), after);
    for (network, given) in networks[..3].iter().zip(given.chunks(pods.len())) {
        assert_eq!(ips(&network.on_etcd.add(&new)), given[2]);
        assert_eq!(ips(&network.on_etcd.add(&Pod::new("first"))), given[0]);
    }
    assert_said(&on(&site, &["check"]).run(), WELL, &["findings          0"]);
}

#[test]
fn addresses_that_stay_move_with_and_without_an_attachment() {
    let (bench, site) = (Bench::start(), Site::shared());
    let kubeconfig = bench.lab.server.kubeconfig("stays", &bench.lab.token("a"));
    let flat_file = node_file(&json!({
        "datastore": "kubernetes", "node_name": "a", "kubernetes": {"kubeconfig": kubeconfig},
    }));
    let ipam = json!({"range": "10.3.0.0/24", "sticky": "statefulset"});
    let Both {
        on_etcd,
        on_objects,
    } = Both::of(&site, flat_file.path(), "sticky", &ipam);
    let web = |container: &str, ordinal: usize| {
        Pod::new(container).argument(&format!("K8S_POD_NAME=web-{ordinal}"))
    };
    let [living, resting] = [web("living", 0), web("gone", 1)];
    let addresses = [&living, &resting].map(|pod| ips(&on_etcd.add(pod)));
    on_etcd.del(&resting).assert_silent();
    let owners = |shown: &Value| {
        let owners = shown.as_array().expect("a list").iter();
        let part = |owner: &Value| json!([owner["pod"], owner["container"], owner["addresses"]]);
        owners.map(part).collect::<Vec<_>>()
    };
    let of_etcd = || owners(&on(&site, &["owners", "-o", "json"]).run().result());
    let of_objects = || owners(&bench.json(&["owners"]));
    let before = of_etcd();
    assert_eq!(before.len(), 2, "{before:?}");

    let folder = folder();
    let file = text(&folder.path().join("there"));
    assert_said(&on(&site, &["backup", &file]).run(), WELL, &["in "]);
    let words = "1 claim and 1 durable owner at rest";
    assert_said(
        &bench.run(&["restore", &file, "--dry-run"]),
        WELL,
        &[words, "2 of 2 claims are to be held"],
    );
    for held in ["2 of 2 claims are held now"; 2] {
        assert_said(&bench.run(&["restore", &file, "--yes"]), WELL, &[held]);
        assert_eq!(of_objects(), before);
    }
    assert_said(&bench.run(&["check"]), WELL, &["findings          0"]);

    // The next pods of both names have their addresses, and a new one has another one.
    on_objects.del(&living).assert_silent();
    let [living, resting] = [web("next", 0), web("another", 1)];
    let again = [&living, &resting].map(|pod| ips(&on_objects.add(pod)));
    assert_eq!(again, addresses);
    assert!(!addresses.contains(&ips(&on_objects.add(&web("third", 2)))));
    // An owner in use is not another container's.
    let in_use = on_objects.add(&web("thief", 0));
    in_use.assert_error(11, &["next"]);
    let after = of_objects();
    let back = text(&folder.path().join("back"));
    assert_said(&bench.run(&["backup", &back]), WELL, &["in "]);
    assert_said(
        &on(&site, &["restore", &back, "--replace", "--yes"]).run(),
        WELL,
        &["restored"],
    );
    assert_eq!(of_etcd(), after);
    // A person ends the owner of a pod that is gone.
    on_objects.del(&resting).assert_silent();
    let released = bench.run(&["release", "space/web-1", "--yes"]);
    assert_said(&released, WELL, &["released"]);
    assert_eq!(of_objects().len(), 2);
    assert_said(&bench.run(&["check"]), WELL, &["findings          0"]);
}
