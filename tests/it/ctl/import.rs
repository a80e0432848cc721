//! `import`: what others have remembered, and how it is released.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use whereabouts_store::Write;

use super::{FAILED, FOUND, WELL, addresses, assert_said, json_of, on};
use crate::plugin::{Network, Pod, Site, put};

const CIDR: &str = "192.168.2.224/28";

/// Puts a range of the first whereabouts plugin below a prefix of this test's own.
fn ancestor(site: &Site, lines: &str) -> String {
    let prefix = format!("/ancestor{}", site.prefix);
    let write = |key: String, value: &str| {
        let value = value.as_bytes().to_vec();
        let (key, lease) = (key.into_bytes(), 0);
        put(site, Write::Put { key, value, lease });
    };
    write(format!("{prefix}192.168.2.225/28"), lines);
    write(format!("{prefix}192.168.2.225/28/694d5765b1d9c3f1"), "");
    prefix
}

fn import_etcd(site: &Site, prefix: &str, more: &[&str]) -> crate::plugin::Answer {
    let arguments = [
        "import",
        "etcd",
        "--from-prefix",
        prefix,
        "--network",
        "net",
    ];
    on(site, &[&arguments[..], more].concat()).run()
}

#[test]
fn the_ancestors_ranges_are_claimed_after_a_dry_run_and_not_twice() {
    let site = Site::shared();
    let prefix = ancestor(&site, "192.168.2.225 abc\n192.168.2.227 def");
    let shown = import_etcd(&site, &prefix, &["--dry-run"]);
    assert_said(
        &shown,
        WELL,
        &["would be claimed  192.168.2.225  abc", "192.168.2.227  def"],
    );
    assert_eq!(site.entries(), [], "nothing is written");
    let done = import_etcd(&site, &prefix, &["--yes"]);
    assert_said(&done, WELL, &["claimed  192.168.2.225  abc"]);
    site.assert_at_rest(2);
    assert_said(
        &import_etcd(&site, &prefix, &["--yes"]),
        WELL,
        &["held already"],
    );
    site.assert_at_rest(2);
    let network = site.network(CIDR);
    assert_eq!(network.add(&Pod::new("new")).address(), "192.168.2.226/28");
}

#[test]
fn what_is_held_here_or_makes_no_sense_is_told_and_the_rest_is_claimed() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("here")).result();
    let lines = "192.168.2.225 abc\n192.168.2.226 def\n192.168.9.9 ghi\nnonsense";
    let prefix = ancestor(&site, lines);
    for more in ["--dry-run", "--yes"] {
        let answer = import_etcd(&site, &prefix, &[more]);
        let parts = [
            "192.168.2.225 is held by another",
            "192.168.9.9 is outside",
            "\"nonsense\"",
        ];
        assert_said(&answer, FOUND, &parts);
    }
    site.assert_at_rest(2);
}

/// A claim without an interface, of the container `abc`.
fn imported() -> (Site, Network) {
    let site = Site::shared();
    let prefix = ancestor(&site, "192.168.2.230 abc");
    assert_said(
        &import_etcd(&site, &prefix, &["--yes", "--node", "node-1"]),
        WELL,
        &["claimed"],
    );
    let network = site.network(CIDR);
    (site, network)
}

#[test]
fn a_claim_without_an_interface_is_released_by_its_containers_del() {
    let (site, network) = imported();
    network.del(&Pod::new("abd")).assert_silent();
    network
        .clone()
        .config(json!({"name": "other"}))
        .del(&Pod::new("abc"))
        .assert_silent();
    site.assert_at_rest(1);
    network
        .del(&Pod::new("abc").interface("net1"))
        .assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn a_claim_without_an_interface_stays_while_its_container_has_another_one() {
    let (site, network) = imported();
    let known = Pod::new("abc").interface("net2");
    network.add(&known).result();
    network
        .del(&Pod::new("abc").interface("net1"))
        .assert_silent();
    site.assert_at_rest(2);
    network.del(&known).assert_silent();
    site.assert_at_rest(1);
    network
        .del(&Pod::new("abc").interface("net1"))
        .assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn gc_spares_a_claim_without_an_interface_while_its_container_lives() {
    let (site, network) = imported();
    network.gc(Some(&[&Pod::new("abc")])).assert_silent();
    site.assert_at_rest(1);
    let list = json!({"name": "net", "cni.dev/valid-attachments": [
        {"containerID": "abc", "ifname": "eth0"},
    ]});
    let gc = on(&site, &["gc", "--node", "node-1", "--valid", "-", "--yes"]);
    assert_said(&gc.stdin(list.to_string()).run(), WELL, &["0 are released"]);
    network.gc(Some(&[&Pod::new("abd")])).assert_silent();
    site.assert_at_rest(0);
}

const POOL: &str = r#"
apiVersion: whereabouts.cni.cncf.io/v1alpha1
kind: IPPool
metadata: {name: team-10.0.0.0-24, namespace: kube-system}
spec:
  range: 10.0.0.0/24
  allocations:
    "1": {id: aaa, podref: default/web-0, ifname: net1}
    "5": {id: bbb, podref: default/web-1}
    "6": {id: bbb, podref: default/web-1, ifname: "a b"}
"#;

fn import_pool(site: &Site, text: &str, more: &[&str]) -> crate::plugin::Answer {
    let arguments = ["import", "ippools", "-", "--network", "net", "--yes"];
    let call = on(site, &[&arguments[..], more].concat());
    call.stdin(text.to_owned()).run()
}

#[test]
fn one_ip_pool_is_claimed_with_pod_and_interface_in_the_pool_of_its_network_name() {
    let site = Site::shared();
    let done = import_pool(&site, POOL, &["--pool", "team"]);
    let parts = [
        "claimed  10.0.0.1",
        "10.0.0.5",
        "offset 6: the interface \"a b\" has a '/', a ':' or white space",
    ];
    assert_said(&done, FOUND, &parts);
    let claims = json_of(&site, &["claims", "--pool", "team"]);
    assert_eq!(addresses(&claims), ["10.0.0.1", "10.0.0.5"]);
    let pod = &claims[0]["pod"];
    assert_eq!(
        (&pod["namespace"], &pod["name"]),
        (&json!("default"), &json!("web-0"))
    );
    assert_eq!(
        (&claims[0]["interface"], &claims[1]["interface"]),
        (&json!("net1"), &Value::Null)
    );
    site.network("10.0.0.0/24")
        .del(&Pod::new("aaa").interface("net1"))
        .assert_silent();
    site.assert_at_rest(1);
}

#[test]
fn what_an_import_would_guess_or_does_not_know_is_an_error_and_claims_nothing() {
    let site = Site::shared();
    let two = format!("{POOL}---{}", POOL.replace("team-", ""));
    let reservation = "kind: OverlappingRangeIPReservation\nmetadata: {name: 10.0.0.1}\n";
    for (text, more, part) in [
        (POOL, &[][..], "network_name team"),
        (POOL, &["--pool", "other"], "is not of the pool other"),
        (&two, &["--pool", "team"], "migrate"),
        (reservation, &[], "migrate"),
        ("kind: Pod", &[], "there is no IPPool"),
        ("", &[], "there is no IPPool"),
    ] {
        assert_said(&import_pool(&site, text, more), FAILED, &[part]);
    }
    let nothing = import_etcd(&site, "/nothing/", &["--yes"]);
    assert_said(&nothing, FAILED, &["no key below /nothing/ is a range"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("notes"), "10.0.0.1").expect("the folder can be written");
    let nothing = import_host_local(&site, folder.path(), &["--range", "10.0.0.0/24"]);
    assert_said(&nothing, FAILED, &["has no file of host-local"]);
    assert_eq!(site.entries(), [], "nothing is written");
}

fn import_host_local(site: &Site, folder: &Path, more: &[&str]) -> crate::plugin::Answer {
    let directory = folder.to_str().expect("a path is text");
    let arguments = [
        "import",
        "host-local",
        directory,
        "--network",
        "net",
        "--yes",
    ];
    on(site, &[&arguments[..], more].concat()).run()
}

#[test]
fn a_file_of_host_local_that_cannot_be_used_is_told_and_the_others_are_claimed() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("10.0.0.1"), "abc\r\neth0").expect("the folder can be written");
    fs::write(path("10.0.0.2"), [0xff, 0xfe]).expect("the folder can be written");
    symlink(path("10.0.0.1"), path("10.0.0.3")).expect("the folder can be written");
    mknodat(CWD, path("10.0.0.4"), FileType::Fifo, Mode::RWXU, 0)
        .expect("the folder can be written");
    fs::create_dir(path("10.0.0.5")).expect("the folder can be written");
    fs::write(path("10.0.0.6"), "def\r\na:b").expect("the folder can be written");
    fs::write(path("10.0.0.7"), "ghi\r\neth0").expect("the folder can be written");
    let done = import_host_local(&site, folder.path(), &["--range", "10.0.0.0/24"]);
    let parts = [
        "10.0.0.2: it is not text",
        "10.0.0.3: it is a symbolic link",
        "10.0.0.4: it is not a regular file",
        "10.0.0.5: it is not a regular file",
        "10.0.0.6: the interface \"a:b\"",
    ];
    assert_said(&done, FOUND, &parts);
    assert_eq!(
        addresses(&json_of(&site, &["claims"])),
        ["10.0.0.1", "10.0.0.7"]
    );
}

#[test]
fn the_data_directory_of_host_local_is_claimed() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).expect("the folder can be written");
    };
    write("10.0.0.7", "abc\r\neth0");
    write("fd00::7", "abc\r\neth0");
    write("10.9.0.7", "abc\r\neth0");
    write("last_reserved_ip.0", "10.0.0.7");
    write("lock", "");
    let import = |more: &[&str]| import_host_local(&site, folder.path(), more);
    assert_said(&import(&[]), FAILED, &["--range"]);
    let done = import(&[
        "--range",
        "10.0.0.0/24",
        "--range",
        "fd00::/64",
        "--node",
        "node-1",
    ]);
    assert_said(
        &done,
        FOUND,
        &[
            "10.9.0.7: it is in none of the given ranges",
            "10.0.0.7,fd00::7",
        ],
    );
    let held = json_of(&site, &["claims", "--node", "node-1"]);
    assert_eq!(addresses(&held), ["10.0.0.7"]);
    site.network("10.0.0.0/24")
        .del(&Pod::new("abc"))
        .assert_silent();
    site.assert_at_rest(0);
}
