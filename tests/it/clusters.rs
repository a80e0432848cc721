//! Two clusters on one etcd: nodes of equal names, and what one of them must not do to the other.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use whereabouts_store::Write;
use whereabouts_store::keys::Key;

use crate::ctl::{FAILED, FOUND, WELL, assert_said, tool};
use crate::delegated::Namespace;
use crate::plugin::{Answer, Network, Pod, Running, Site, pods, put};

/// A node `node-1` of some cluster, as its flat file says.
struct Side {
    folder: TempDir,
    network: Network,
    /// Where there is none at all, a reaper concludes nothing.
    _another: Namespace,
}

impl Side {
    /// Of a cluster with this identity, below the part `part` of the site.
    fn new(site: &Site, part: &str, cluster_id: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("whereabouts.conf");
        let prefix = format!("{}{part}", site.prefix);
        let flat_file = json!({
            "etcd_host": site.access().endpoints,
            "etcd_prefix": prefix,
            "node_name": "node-1",
            "cluster_id": cluster_id,
        });
        fs::write(&path, flat_file.to_string()).expect("the folder can be written");
        let network = site.network("10.0.0.0/24").ipam(json!({
            "etcd_host": Value::Null,
            "etcd_prefix": Value::Null,
            "node_name": Value::Null,
            "configuration_path": path,
        }));
        Self {
            folder,
            network,
            _another: Namespace::create(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The operator's tool on this node.
    fn tool(&self, arguments: &[&str]) -> Answer {
        let path = self.path("whereabouts.conf");
        let path = path.to_str().expect("a path is text");
        tool(&[arguments, &["--configuration-path", path]].concat()).run()
    }

    /// A run of the reaper. No network namespace of these tests is there.
    fn reap(&self) -> Answer {
        let netns = ["gc", "--netns", "--grace", "0s", "--yes"];
        self.tool(&[&netns[..], &["--node", "node-1"]].concat())
    }
}

const BOTH: [&str; 4] = ["cluster west", "east", "etcd_prefix", "cluster_id"];

#[test]
fn the_keys_are_of_the_cluster_that_comes_first_and_no_other_gets_or_frees_an_address() {
    for (first, second) in [("west", "east"), ("east", "west")] {
        let site = Site::shared();
        let (ours, theirs) = (
            Side::new(&site, "", Some(first)),
            Side::new(&site, "", Some(second)),
        );
        let said = [
            &format!("cluster {first}"),
            second,
            "etcd_prefix",
            "cluster_id",
        ];
        assert_eq!(ours.network.add(&Pod::new("ours")).address(), "10.0.0.1/24");
        theirs
            .network
            .add(&Pod::new("theirs"))
            .assert_error(7, &said);
        assert_said(&theirs.reap(), FAILED, &said);
        theirs.network.gc(Some(&[])).assert_error(7, &said);
        site.assert_at_rest(1);
        theirs.network.del(&Pod::new("theirs")).assert_silent();
        site.assert_at_rest(1);
        assert_said(&ours.reap(), WELL, &["1 is released"]);
        site.assert_at_rest(0);
        // The store stays its own, also when nothing is left in it.
        theirs
            .network
            .add(&Pod::new("theirs"))
            .assert_error(7, &said);
    }
}

#[test]
fn each_cluster_has_its_own_addresses_below_its_own_prefix() {
    let site = Site::shared();
    let (west, east) = (
        Side::new(&site, "west/", Some("west")),
        Side::new(&site, "east/", Some("east")),
    );
    for side in [&west, &east] {
        assert_eq!(side.network.add(&Pod::new("c")).address(), "10.0.0.1/24");
    }
    assert_said(&west.reap(), WELL, &["1 is released"]);
    let claims = east.tool(&["claims"]);
    assert_said(&claims, WELL, &["10.0.0.1"]);
}

#[test]
fn an_attachment_of_the_same_name_in_another_cluster_is_not_taken_for_the_own() {
    let site = Site::shared();
    let (west, east) = (
        Side::new(&site, "", Some("west")),
        Side::new(&site, "", Some("east")),
    );
    let pod = Pod::new("same");
    west.network.add(&pod).result();
    east.network.add(&pod).assert_error(7, &BOTH);
    assert_eq!(
        west.network.add(&pod).address(),
        "10.0.0.1/24",
        "added again"
    );
}

#[test]
fn a_node_that_does_not_know_its_cluster_gets_and_collects_nothing_of_one_but_deletes_its_own() {
    let site = Site::shared();
    let west = Side::new(&site, "", Some("west"));
    let unknown = Side::new(&site, "", None);
    let (early, late) = (Pod::new("early"), Pod::new("late"));
    west.network.add(&early).result();
    let said = ["cluster west", "not known", "cluster_id", "etcd_prefix"];
    unknown.network.add(&late).assert_error(7, &said);
    unknown.network.gc(Some(&[])).assert_error(7, &said);
    assert_said(&unknown.reap(), FAILED, &said);
    site.assert_at_rest(1);
    unknown.network.del(&early).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn a_cluster_without_an_identity_works_as_long_as_nobody_has_one() {
    let site = Site::shared();
    let unknown = Side::new(&site, "", None);
    unknown.network.add(&Pod::new("a")).result();
    // Nobody knows whether what is there is theirs.
    let west = Side::new(&site, "", Some("west"));
    let said = ["west", "cluster --set", "etcd_prefix"];
    west.network.add(&Pod::new("b")).assert_error(7, &said);
    west.network.gc(Some(&[])).assert_error(7, &said);
    assert_said(&west.reap(), FAILED, &said);
    site.assert_at_rest(1);
    assert_eq!(unknown.network.add(&Pod::new("c")).address(), "10.0.0.2/24");
    assert_said(&unknown.reap(), WELL, &["2 are released"]);
    // Without claims there is nothing to be wrong about.
    assert_eq!(west.network.add(&Pod::new("b")).address(), "10.0.0.1/24");
    unknown
        .network
        .add(&Pod::new("d"))
        .assert_error(7, &["west"]);
}

#[test]
fn of_clusters_that_come_at_once_one_has_the_store() {
    let site = Site::shared();
    let sides = ["west", "east"].map(|id| Side::new(&site, "", Some(id)));
    let unknown = Side::new(&site, "", None);
    let sides = [&sides[0], &sides[1], &unknown];
    let pods = pods(24);
    let each = || pods.iter().zip(sides.iter().cycle());
    let running: Vec<Running> = each()
        .map(|(pod, side)| side.network.call("ADD", pod).start())
        .collect();
    let answers: Vec<Answer> = running.into_iter().map(Running::finish).collect();
    let mut given = [0; 3];
    for (number, answer) in answers.iter().enumerate() {
        match answer.exit_code {
            Some(0) => given[number % 3] += 1,
            _ => answer.assert_error(7, &["etcd_prefix"]),
        }
    }
    let mut sorted = given;
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [0, 0, 8],
        "all addresses are one cluster's: {given:?}"
    );
    site.assert_at_rest(8);
    for (pod, side) in each() {
        side.network.del(pod).assert_silent();
    }
    site.assert_at_rest(0);
}

#[test]
fn a_person_says_whose_the_keys_are() {
    let site = Site::shared();
    let (west, east) = (
        Side::new(&site, "", Some("west")),
        Side::new(&site, "", Some("east")),
    );
    assert_said(&west.tool(&["cluster"]), FOUND, &["no cluster", "west"]);
    west.network.add(&Pod::new("a")).result();
    assert_said(&west.tool(&["cluster"]), WELL, &["cluster west"]);
    assert_said(&east.tool(&["cluster"]), FOUND, &["cluster west", "east"]);
    let shown = east.tool(&["cluster", "--set", "east", "--dry-run"]);
    assert_said(&shown, WELL, &["1 claim", "cluster west"]);
    assert_said(&west.tool(&["cluster"]), WELL, &["cluster west"]);
    let wrong = east.tool(&["cluster", "--set", "a\nb", "--yes"]);
    assert_said(&wrong, FAILED, &["control characters"]);
    let set = east.tool(&["cluster", "--set", "east", "--yes"]);
    assert_said(&set, WELL, &["cluster east"]);
    assert_eq!(east.network.add(&Pod::new("b")).address(), "10.0.0.2/24");
    west.network
        .add(&Pod::new("c"))
        .assert_error(7, &["cluster east"]);
    // Its pods are deleted all the same.
    west.network.del(&Pod::new("a")).assert_silent();
    site.assert_at_rest(1);
}

#[test]
fn an_identity_that_cannot_be_read_is_no_other_and_is_set_by_a_person() {
    let site = Site::shared();
    let west = Side::new(&site, "", Some("west"));
    let put_cluster = Write::Put {
        key: site.keys().encode(&Key::Cluster),
        value: vec![9, 9],
        lease: 0,
    };
    put(&site, put_cluster);
    let key = format!("{}cluster", site.prefix);
    let add = || west.network.add(&Pod::new("a"));
    add().assert_error(104, &[&key, "version 9"]);
    assert_said(&west.tool(&["cluster"]), FOUND, &["cannot be read"]);
    let set = west.tool(&["cluster", "--set", "west", "--yes"]);
    assert_said(&set, WELL, &["cluster west"]);
    add().result();
}

#[test]
fn a_person_releases_and_repairs_only_in_a_store_that_is_not_known_to_be_anothers() {
    let site = Site::shared();
    let west = Side::new(&site, "", Some("west"));
    let east = Side::new(&site, "", Some("east"));
    let unknown = Side::new(&site, "", None);
    west.network.add(&Pod::new("a")).result();
    let release = ["release", "10.0.0.1", "--yes"];
    assert_said(&east.tool(&release), FAILED, &BOTH);
    let imported = east.path("10.0.0.9");
    fs::write(&imported, "other\neth0").expect("the folder can be written");
    let import = |side: &Side| {
        let folder = east.folder.path().to_str().expect("a path is text");
        side.tool(&[
            "import",
            "host-local",
            folder,
            "--range",
            "10.0.0.0/24",
            "--network",
            "net",
            "--yes",
        ])
    };
    assert_said(&import(&east), FAILED, &BOTH);
    site.assert_at_rest(1);
    for look in [
        &["claims"][..],
        &["ranges"],
        &["map", "10.0.0.0/24"],
        &["show", "a"],
    ] {
        assert_said(&east.tool(look), WELL, &[]);
    }
    assert_said(&unknown.tool(&release), WELL, &["released 10.0.0.1"]);
    site.assert_at_rest(0);
}

#[test]
fn a_backup_is_restored_for_its_own_cluster_alone() {
    let site = Site::shared();
    let (west, east) = (
        Side::new(&site, "west/", Some("west")),
        Side::new(&site, "east/", Some("east")),
    );
    let file = west.path("backup");
    let file = file.to_str().expect("a path is text");
    west.network.add(&Pod::new("a")).result();
    assert_said(&west.tool(&["backup", file]), WELL, &[]);
    let refused = east.tool(&["restore", file, "--yes"]);
    assert_said(&refused, FAILED, &["west", "east", "nothing is restored"]);
    east.network.add(&Pod::new("b")).result();
    // Not even for a tool that says it is the cluster of the backup: the keys are another's.
    let refused = east.tool(&[
        "restore",
        file,
        "--yes",
        "--replace",
        "--cluster-id",
        "west",
    ]);
    assert_said(&refused, FAILED, &["west", "east", "nothing is restored"]);
    assert_said(&east.tool(&["claims"]), WELL, &["10.0.0.1", " b "]);
    let restored = west.tool(&["restore", file, "--yes", "--replace"]);
    assert_said(&restored, WELL, &["restored"]);
    assert_said(&west.tool(&["cluster"]), WELL, &["cluster west"]);
    assert_eq!(west.network.add(&Pod::new("c")).address(), "10.0.0.2/24");
}

#[test]
fn claims_of_a_cluster_without_identity_are_restored_as_the_own() {
    let site = Site::shared();
    let unknown = Side::new(&site, "old/", None);
    let west = Side::new(&site, "new/", Some("west"));
    let file = west.path("backup");
    let file = file.to_str().expect("a path is text");
    unknown.network.add(&Pod::new("a")).result();
    assert_said(&unknown.tool(&["backup", file]), WELL, &[]);
    assert_said(&west.tool(&["restore", file, "--yes"]), WELL, &[]);
    assert_said(&west.tool(&["cluster"]), WELL, &["cluster west"]);
    assert_eq!(west.network.add(&Pod::new("b")).address(), "10.0.0.2/24");
}
