//! `migrate`: all that whereabouts in Kubernetes remembers, and the way back.

use std::fs;

use serde_json::{Value, json};
use whereabouts_core::identity::Identity;

use super::{FAILED, FOUND, WELL, assert_said, json_of, on, tool};
use crate::plugin::{Answer, Network, Pod, Site};

/// The objects of a real cluster.
fn object_files() -> [String; 4] {
    ["ippools", "reservations", "networks", "pods"].map(|kind| {
        let path = whereabouts_fixtures::binaries::top().join("tests/it/ctl/ancestor");
        path.join(format!("{kind}.yaml")).display().to_string()
    })
}

fn migrate(site: &Site, more: &[&str]) -> Answer {
    let files = object_files();
    let files = files.iter().map(String::as_str);
    let arguments: Vec<&str> = ["migrate"].into_iter().chain(files).collect();
    on(site, &[&arguments[..], more].concat()).run()
}

/// A network of that cluster on this etcd.
fn network(site: &Site, name: &str, ipam: Value) -> Network {
    site.without_range()
        .config(json!({"name": name}))
        .ipam(ipam)
}

/// `net1` of the pod db-1, as its runtime names it.
fn db_1() -> Pod {
    Pod::new("713c73565c6cd6ad2a9cd9b5a6ffaae2098da0026a1e7f5667277ad45cebe0aa").interface("net1")
}

#[test]
fn a_cluster_is_taken_over_after_a_dry_run_and_not_twice() {
    let site = Site::shared();
    let shown = migrate(&site, &[]);
    assert_said(
        &shown,
        WELL,
        &["would be claimed", "default/db-1", "node-b"],
    );
    let end = "\n23 of 23 can be taken over; --yes does it\n";
    assert!(shown.stdout.ends_with(end), "{shown:?}");
    assert_eq!(site.entries(), [], "nothing is written");
    for what in ["claimed", "held already"] {
        let done = migrate(&site, &["--yes"]);
        assert_said(
            &done,
            WELL,
            &[what, "10.60.0.1 is the gateway of default/storage"],
        );
        assert!(done.stdout.ends_with("\n23 of 23 taken over\n"), "{done:?}");
        let audit = site.audit();
        assert_eq!(audit.findings, []);
        assert_eq!(
            (audit.claims, audit.addresses, audit.set_bits),
            (20, 23, 23)
        );
    }
}

/// As in the guide: the operator's machine has no identity, and the nodes have that of the cluster's authority.
#[test]
fn nodes_that_have_an_identity_go_on_where_a_migration_by_the_same_file_has_ended() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let authority = folder.path().join("ca.crt");
    let certificate = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n";
    fs::write(&authority, certificate).expect("the folder can be written");
    let from = authority.to_str().expect("a path is text");
    let told = migrate(&site, &["--yes", "--cluster-id-from", from]);
    assert_said(&told, WELL, &["23 of 23 taken over"]);
    let id = Identity::of_file(certificate.as_bytes());
    let range = json!({"range": "10.60.0.0/24"});
    let without = network(&site, "storage", range.clone()).add(&Pod::new("without"));
    without.assert_error(7, &[id.as_str(), "cluster_id"]);
    let node = network(&site, "storage", range).ipam(json!({"cluster_id": id.as_str()}));
    assert_eq!(node.add(&Pod::new("new")).address(), "10.60.0.5/24");
    let absent = folder.path().join("absent");
    let absent = absent.to_str().expect("a path is text");
    let refused = migrate(&site, &["--yes", "--cluster-id-from", absent]);
    assert_said(
        &refused,
        FAILED,
        &["--cluster-id-from: ", "absent: No such file"],
    );
}

#[test]
fn after_it_no_network_gives_what_is_held_and_each_frees_its_own() {
    let site = Site::shared();
    assert_said(&migrate(&site, &["--yes"]), WELL, &["23 of 23 taken over"]);
    let range = json!({"range": "10.61.0.0/28", "network_name": "team-a"});
    let team_a = network(&site, "team-a", range);
    let range = json!({"range": "10.61.0.0/28", "network_name": "team-b"});
    let team_b = network(&site, "team-b", range);
    let storage = network(&site, "storage", json!({"range": "10.60.0.0/24"}));
    let part = network(&site, "part", json!({"range": "10.60.0.16/28"}));
    let dual = json!({"ipRanges": [{"range": "10.62.0.0/24"}, {"range": "fd62::/64"}]});
    let dual = network(&site, "dual", dual);
    for (network, expected) in [
        (&team_a, vec!["10.61.0.4/28"]),
        (&team_b, vec!["10.61.0.4/28"]),
        (&storage, vec!["10.60.0.5/24"]),
        (&part, vec!["10.60.0.20/28"]),
        (&dual, vec!["10.62.0.4/24", "fd62::4/64"]),
    ] {
        assert_eq!(network.add(&Pod::new("new")).addresses(), expected);
    }
    // A repeated ADD is answered as the first one was.
    let db_1 = db_1();
    assert_eq!(team_a.add(&db_1).address(), "10.61.0.1/28");
    assert_eq!(
        dual.add(&db_1.clone().interface("net2")).addresses(),
        ["10.62.0.2/24", "fd62::2/64"]
    );
    team_b.del(&db_1).assert_silent();
    assert_eq!(team_a.add(&Pod::new("next")).address(), "10.61.0.5/28");
    team_a.del(&db_1).assert_silent();
    assert_eq!(team_a.add(&Pod::new("last")).address(), "10.61.0.1/28");
    assert_eq!(site.audit().findings, []);
}

#[test]
fn gc_knows_the_node_and_spares_what_has_no_network_namespace() {
    let site = Site::shared();
    assert_said(&migrate(&site, &["--yes"]), WELL, &["23 of 23 taken over"]);
    let by_netns = [
        "gc", "--netns", "--node", "node-a", "--grace", "0s", "--yes",
    ];
    std::fs::create_dir_all("/run/netns").expect("tests run as root");
    assert_said(
        &on(&site, &by_netns).run(),
        WELL,
        &["0 claims of node node-a"],
    );
    // Of the network team-a, db-0 and db-1 are on node-a, and db-2 is not.
    let list = json!({"name": "team-a", "cni.dev/valid-attachments": [
        {"containerID": db_1().container, "ifname": "net1"},
    ]});
    let gc = on(&site, &["gc", "--node", "node-a", "--valid", "-", "--yes"]);
    let done = gc.stdin(list.to_string()).run();
    assert_said(
        &done,
        WELL,
        &["default/db-0", "1 claim of node node-a", "1 is released"],
    );
    assert_eq!(site.audit().claims, 19);
}

#[test]
fn what_is_held_here_stays_and_the_end_tells_how_many_are_not_taken_over() {
    let site = Site::shared();
    let storage = network(&site, "storage", json!({"range": "10.60.0.0/24"}));
    assert_eq!(storage.add(&Pod::new("here")).address(), "10.60.0.1/24");
    for (more, end) in [(&[][..], "can be taken over"), (&["--yes"], "taken over")] {
        let answer = migrate(&site, more);
        let refused = "10.60.0.1 is held by another attachment";
        assert_said(&answer, FOUND, &[refused, &format!("22 of 23 {end}")]);
    }
    assert_eq!(storage.add(&Pod::new("here")).address(), "10.60.0.1/24");
}

#[test]
fn standard_input_is_taken_too_and_input_that_is_not_whole_is_an_error() {
    let site = Site::shared();
    let files = object_files();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("a file"));
    let text = texts.collect::<Vec<_>>().join("---\n");
    let done = on(&site, &["migrate", "-", "-o", "json"]).stdin(text).run();
    let told = done.result();
    assert_eq!((&told["taken"], &told["of"]), (&json!(23), &json!(23)));
    assert_eq!(told["dry_run"], json!(true));
    let pools = on(&site, &["migrate", &files[0], "--yes"]).run();
    assert_said(&pools, FAILED, &["there is no NetworkAttachmentDefinition"]);
    let reservations = on(&site, &["migrate", &files[1], "--yes"]).run();
    assert_said(&reservations, FAILED, &["there is no IPPool"]);
    assert_said(&tool(&["migrate"]).run(), FAILED, &["FILE"]);
    assert_eq!(site.entries(), [], "nothing is written");
}

/// Each is an end with a reason, after less than the time in which a person gives up.
#[test]
fn hostile_input_ends_with_a_reason_and_writes_nothing() {
    let site = Site::shared();
    let bomb = ('b'..='j').zip('a'..).fold(
        "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned(),
        |bomb, (name, of)| {
            format!(
                "{bomb}{name}: &{name} [{}]\n",
                vec![format!("*{of}"); 9].join(", ")
            )
        },
    );
    let list = |items: &str| format!(r#"{{"kind": "List", "items": {items}}}"#);
    let deep_list = (0..50).fold("[]".to_owned(), |inner, _| format!("[{}]", list(&inner)));
    for (text, reason) in [
        (bomb, "budget"),
        ("[".repeat(200_000), "recursion"),
        ("- ".repeat(50_000), "budget"),
        (r#"{"a":"#.repeat(50_000), "recursion"),
        (list(&deep_list), "there is no IPPool"),
        (list(r#"{"kind": "IPPool"}"#), "there is no IPPool"),
        (
            "kind: IPPool\nkind: Pod\n".to_owned(),
            "kind is given twice",
        ),
        ("a: &a [*a]\n".to_owned(), "recursive"),
        (
            "!!python/object/apply:os.system [id]\n".to_owned(),
            "there is no IPPool",
        ),
        ("{\"kind\": \"IPPool\"".to_owned(), "EOF"),
        ("\u{1b}[2J".to_owned(), ""),
        ("\0".to_owned(), ""),
        (String::new(), "there is no IPPool"),
        ("---\n---\n...\n".to_owned(), "there is no IPPool"),
    ] {
        let answer = on(&site, &["migrate", "-", "--yes"]).stdin(text).run();
        assert_said(&answer, FAILED, &[reason]);
        assert_eq!(
            answer.stderr,
            whereabouts_core::escaped::lines(&answer.stderr)
        );
    }
    assert_eq!(site.entries(), [], "nothing is written");
}

/// Kind, name and content of objects.
fn specs(list: &Value) -> Vec<(String, Value)> {
    let items = list["items"].as_array().expect("a list");
    let mut specs: Vec<(String, Value)> = items
        .iter()
        .map(|item| {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let metadata = &item["metadata"];
            let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
            (
                format!("{} {namespace} {name}", text(&item["kind"])),
                item["spec"].clone(),
            )
        })
        .collect();
    specs.sort_by(|one, other| one.0.cmp(&other.0));
    specs
}

#[test]
fn what_was_taken_over_is_given_back_as_it_was() {
    let site = Site::shared();
    assert_said(&migrate(&site, &["--yes"]), WELL, &["23 of 23 taken over"]);
    let given = on(&site, &["migrate", "--export"]).run();
    assert_eq!(given.exit_code, WELL, "{given:?}");
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).expect("YAML");
    let [pools, reservations, ..] = object_files();
    let mut expected = Vec::new();
    for file in [pools, reservations] {
        expected.extend(specs(&read(
            &std::fs::read_to_string(file).expect("a file"),
        )));
    }
    assert_eq!(specs(&read(&given.stdout)), expected);
    assert_eq!(
        json_of(&site, &["migrate", "--export"]),
        read(&given.stdout)
    );
}

#[test]
fn a_claim_that_no_ippool_can_have_keeps_the_whole_from_being_given_back() {
    let site = Site::shared();
    let network = site
        .network("fd00::/48")
        .ipam(json!({"range_start": "fd00:0:0:8000::1"}));
    network.add(&Pod::new("far")).result();
    let given = on(&site, &["migrate", "--export"]).run();
    assert_said(&given, FOUND, &["fd00:0:0:8000::1 of eth0", "too far"]);
    assert_eq!(given.stdout, "");
    network.del(&Pod::new("far")).assert_silent();
    let named = site
        .network("10.0.0.0/24")
        .ipam(json!({"network_name": "Team_A"}));
    named.add(&Pod::new("named")).result();
    let given = on(&site, &["migrate", "--export"]).run();
    assert_said(&given, FOUND, &["network_name \"Team_A\""]);
}

#[test]
fn the_guide_shows_the_fence_as_it_is_deployed() {
    let text = |path: &str| {
        let path = whereabouts_fixtures::binaries::top().join(path);
        std::fs::read_to_string(path).expect("a file of the repository")
    };
    let fence = text("deploy/kubernetes/fence.yaml");
    let start = fence.find("apiVersion").expect("a policy");
    assert!(text("docs/OPERATIONS.md").contains(&fence[start..]));
}
