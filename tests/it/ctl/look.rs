//! `ranges`, `map`, `claims` and `show`.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{FOUND, WELL, addresses, assert_said, json_of, on};
use crate::plugin::fill::fill;
use crate::plugin::{Pod, Site, pods, range};
use crate::support::etcd::Cluster;

#[test]
fn ranges_count_what_is_taken_of_each_and_what_overlaps_in_both() {
    let site = Site::shared();
    site.network("10.0.0.0/16").add(&Pod::new("wide")).result();
    for pod in pods(3) {
        site.network("10.0.0.0/24").add(&pod).result();
    }
    let own = json!({"enable_overlapping_ranges": false, "network_name": "red"});
    site.network("10.0.0.0/24")
        .ipam(own)
        .add(&Pod::new("own"))
        .result();
    let ranges = json_of(&site, &["ranges"]);
    let counts = |number: usize| {
        let one = &ranges[number];
        (
            one["range"].clone(),
            one["taken"].clone(),
            one["held"].clone(),
            one["size"].clone(),
        )
    };
    assert_eq!(
        counts(0),
        (json!("10.0.0.0/16"), json!("4"), json!(1), json!("65279"))
    );
    assert_eq!(
        counts(1),
        (json!("10.0.0.0/24"), json!("4"), json!(3), json!("254"))
    );
    assert_eq!(
        counts(2),
        (json!("10.0.0.0/24"), json!("1"), json!(1), json!("254"))
    );
    assert_eq!(ranges[2]["pool"], json!({"name": "red", "own": true}));
    let table = on(&site, &["ranges"]).run();
    assert_said(
        &table,
        WELL,
        &["RANGE", "#...................  1%  4      65279"],
    );
}

#[test]
fn a_config_adds_to_ranges_and_shows_those_that_nobody_uses() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("net.conf");
    let config = site.network("10.0.0.0/24").ipam(json!({
        "exclude": ["10.0.0.128/25"], "ipRanges": [{"range": "10.1.0.0/30"}],
    }));
    fs::write(&file, config.json()).expect("the folder can be written");
    let file = file.to_str().expect("a path is text");
    let ranges = json_of(&site, &["ranges", "--config", file]);
    assert_eq!(
        (&ranges[0]["size"], &ranges[0]["held"]),
        (&json!("127"), &json!(0))
    );
    assert_eq!(
        (&ranges[1]["range"], &ranges[1]["free"]),
        (&json!("10.1.0.0/30"), &json!("2"))
    );
    let map = json_of(&site, &["map", "10.0.0.0/24", "--config", file]);
    assert_eq!(map["rows"][2]["cells"], "-".repeat(64));
}

#[test]
fn the_map_of_a_range_shows_each_address() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/26");
    let pods = pods(5);
    for pod in &pods {
        network.add(pod).result();
    }
    network.del(&pods[2]).assert_silent();
    let map = on(&site, &["map", "10.0.0.0/26"]).run();
    let row = format!("10.0.0.0  -##.##{}-", ".".repeat(57));
    assert_said(&map, WELL, &[&row, "4 addresses are taken"]);
    let other = on(&site, &["map", "10.0.0.0/26", "--pool", "red"]).run();
    assert_said(&other, WELL, &["0 addresses are taken"]);
}

#[test]
fn the_map_of_a_large_range_shows_full_blocks_and_tenths() {
    let site = Site::of(Cluster::start(1));
    fill(&site, &range("10.0.0.0/8"), 20_000);
    let map = json_of(&site, &["map", "10.0.0.0/8"]);
    assert_eq!(
        (&map["addresses_per_cell"], &map["taken"]),
        (&json!("256"), &json!("20000"))
    );
    // 255 of each block but the first, in which 255 are given as well: 78 blocks and 110 addresses.
    let cells = format!("{}4{}", "#".repeat(14), ".".repeat(49));
    assert_eq!(map["rows"][1]["cells"], cells);
}

#[test]
fn claims_are_filtered_by_everything_that_is_said() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let other = site
        .network("10.1.0.0/24")
        .ipam(json!({"node_name": "node-2"}))
        .config(json!({"name": "other"}));
    network.add(&Pod::new("one")).result();
    network.add(&Pod::new("two")).result();
    network.add(&Pod::new("two").interface("eth1")).result();
    other.add(&Pod::new("three")).result();
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.1.0.1"]),
        (&["--node", "node-2"], &["10.1.0.1"]),
        (
            &["--range", "10.0.0.0/24", "--container", "two"],
            &["10.0.0.2", "10.0.0.3"],
        ),
        (&["--pod", "space/pod-one"], &["10.0.0.1"]),
        (&["--pod", "elsewhere/pod-one"], &[]),
        (&["--address", "10.0.0.3"], &["10.0.0.3"]),
        (&["--network", "other"], &["10.1.0.1"]),
        (&["--interface", "eth1"], &["10.0.0.3"]),
        (&["--node", "node-1", "--network", "other"], &[]),
    ];
    for (filter, expected) in cases {
        let arguments = [&["claims"], filter].concat();
        assert_eq!(
            addresses(&json_of(&site, &arguments)),
            expected,
            "{filter:?}"
        );
    }
    let table = on(&site, &["claims"]).run();
    assert_said(&table, WELL, &["ADDRESS", "space/pod-three", "node-2"]);
}

#[test]
fn show_finds_by_address_pod_and_container_and_says_when_there_is_none() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("abcdef")).result();
    for what in ["10.0.0.1", "space/pod-abcdef", "pod-abcdef", "abc"] {
        assert_eq!(
            addresses(&json_of(&site, &["show", what])),
            ["10.0.0.1"],
            "{what}"
        );
    }
    let shown = on(&site, &["show", "10.0.0.1"]).run();
    let parts = [
        "10.0.0.1/24 of range 10.0.0.0/24",
        "/run/netns/abcdef",
        "node-1",
        "revision",
    ];
    assert_said(&shown, WELL, &parts);
    for what in ["10.0.0.2", "pod-abc", "space/abcdef"] {
        assert_said(&on(&site, &["show", what]).run(), FOUND, &[what]);
    }
}

/// Runs the tool in a terminal of so many columns, and returns what the terminal gets.
fn in_terminal(site: &Site, columns: u32, arguments: &str) -> String {
    let tool = whereabouts_fixtures::binaries::tool();
    let (host, prefix) = (site.access().endpoints.join(","), &site.prefix);
    let line = format!(
        "stty rows 24 cols {columns}; exec {tool} {arguments} --etcd-host {host} --etcd-prefix {prefix}"
    );
    let typed = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .expect("Debian has `script`");
    assert!(typed.status.success(), "{typed:?}");
    String::from_utf8(typed.stdout)
        .expect("a text")
        .replace('\r', "")
}

#[test]
fn a_table_is_cut_to_the_terminal_and_never_in_a_pipe() {
    let site = Site::shared();
    // The table shortens the container's id anyway, and not the name of its pod.
    let middle = "x".repeat(100);
    let network = site.network("10.0.0.0/24");
    network
        .add(&Pod::new(&format!("begin{middle}end")))
        .result();
    let narrow = in_terminal(&site, 100, "claims");
    let is_cut = narrow.contains("space/pod-b") && narrow.contains("xend ");
    assert!(is_cut && !narrow.contains(&middle), "{narrow}");
    let whole = ["10.0.0.1 ", "10.0.0.0/24 ", "node-1 "];
    assert!(whole.iter().all(|cell| narrow.contains(cell)), "{narrow}");
    let longest = narrow.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{narrow}");
    assert!(in_terminal(&site, 400, "claims").contains(&middle));
    assert!(in_terminal(&site, 80, "claims -o wide").contains(&middle));
    assert_said(&on(&site, &["claims"]).run(), WELL, &[&middle]);
}

#[test]
fn a_map_without_a_taken_address_names_the_pools_that_have_the_range() {
    let site = Site::shared();
    let own = json!({"enable_overlapping_ranges": false, "network_name": "red"});
    let network = site.network("10.0.0.0/24").ipam(own);
    network.add(&Pod::new("own")).result();
    let empty = on(&site, &["map", "10.0.0.0/24"]).run();
    let expected = "No address of 10.0.0.0/24 is taken in pool (shared). Pools with this range: --pool red --own-pool";
    assert_said(&empty, WELL, &[expected]);
    let red = on(
        &site,
        &["map", "10.0.0.0/24", "--pool", "red", "--own-pool"],
    )
    .run();
    assert_said(&red, WELL, &["1 address is taken"]);
}
