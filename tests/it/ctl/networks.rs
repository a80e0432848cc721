//! Statements of networks in etcd: each reader shows their ranges, and no verb looks at them.

use std::net::IpAddr;

use serde_json::{Value, json};
use whereabouts_core::address::{Pool, Range, RangeSpec};
use whereabouts_core::network::{DefinitionName, StatedRange};
use whereabouts_store::Write;
use whereabouts_store::keys::Key;
use whereabouts_store::record;

use super::page::Server;
use super::{FOUND, WELL, assert_said, json_of, on};
use crate::plugin::{Pod, Site, put};
use crate::support::poll;

const CIDR: &str = "10.77.0.0/28";

fn key(name: &str) -> Key {
    Key::Network(DefinitionName {
        namespace: "default".to_owned(),
        name: name.to_owned(),
    })
}

fn write(site: &Site, name: &str, value: Vec<u8>) {
    let key = site.keys().encode(&key(name));
    put(
        site,
        Write::Put {
            key,
            value,
            lease: 0,
        },
    );
}

/// States the range without these gateways, as the controller does it.
fn state(site: &Site, name: &str, pool: Option<&str>, gateways: &[&str]) {
    let address = |text: &&str| text.parse::<IpAddr>().expect("an address").into();
    let spec = RangeSpec {
        pool: Pool {
            name: pool.map(str::to_owned),
            only: None,
        },
        gateways: gateways.iter().map(address).collect(),
        ..RangeSpec::of(CIDR.parse().expect("a CIDR"))
    };
    let range = Range::new(spec).expect("a range");
    write(
        site,
        name,
        record::encode_network(&[StatedRange::of(&range)]),
    );
}

/// One range, as the tool and the page tell it.
#[track_caller]
pub(crate) fn assert_only(ranges: &Value, size: &str, held: u64) {
    let only = &ranges[0];
    let told = ["range", "size", "taken", "held"].map(|key| only[key].clone());
    let expected = [
        json!(CIDR),
        json!(size),
        json!(held.to_string()),
        json!(held),
    ];
    assert_eq!(told, expected, "{ranges}");
    assert!(ranges[1].is_null(), "{ranges}");
}

/// The page has the range with this size, and so have the metrics.
#[track_caller]
pub(crate) fn page_shows(page: &Server, size: &str) {
    poll("the page has it", || {
        let ranges = page.json("/api/ranges")["ranges"].clone();
        (ranges[0]["range"] == CIDR && ranges[0]["size"] == size).then_some(())
    });
    assert_only(&page.json("/api/ranges")["ranges"], size, 0);
    let one = page.json(&format!("/api/range?range={CIDR}"));
    assert_eq!(one["range"]["free"], size);
    assert_eq!(page.json("/api/overview")["ranges"]["count"], 1);
    let labels = format!("{{range=\"{CIDR}\",pool=\"\",own_pool=\"false\"}}");
    let metrics = page.get("/metrics");
    let values = [
        ("size", size),
        ("free", size),
        ("taken", "0"),
        ("held", "0"),
    ];
    for (name, count) in values {
        let line = format!("whereabouts_range_{name}_addresses{labels} {count}");
        let is_there = metrics.lines().any(|text| text == line);
        assert!(is_there, "no {line} in {metrics}");
    }
}

#[test]
fn each_reader_shows_a_range_that_no_pod_has_used() {
    let site = Site::shared();
    let page = Server::of(&site, &[]);
    state(&site, "blue", None, &["10.77.0.1", "10.77.0.2"]);
    assert_only(&json_of(&site, &["ranges"]), "12", 0);
    let row = [CIDR, "(shared)", "....................  0%  0      12    0"];
    assert_said(&on(&site, &["ranges"]).run(), WELL, &row);
    let map = json_of(&site, &["map", CIDR]);
    assert_eq!(map["rows"][0]["cells"], "---............-");
    page_shows(&page, "12");
    // Another network gives what this one keeps back, and the other way round.
    state(&site, "red", None, &["10.77.0.2", "10.77.0.14"]);
    assert_only(&json_of(&site, &["ranges"]), "13", 0);
    page_shows(&page, "13");
    // A claim counts beside them, and a configuration that is given counts alone.
    let network = site.network(CIDR).ipam(json!({"gateway": "10.77.0.1"}));
    let pod = Pod::new("one");
    network.add(&pod).result();
    assert_only(&json_of(&site, &["ranges"]), "14", 1);
    network.del(&pod).assert_silent();
    let deleted = site.keys().encode(&key("red"));
    put(&site, Write::Delete(deleted));
    assert_only(&json_of(&site, &["ranges"]), "12", 0);
    page_shows(&page, "12");
    let deleted = site.keys().encode(&key("blue"));
    put(&site, Write::Delete(deleted));
    assert_eq!(json_of(&site, &["ranges"]), json!([]));
    poll("the page forgets it", || {
        let ranges = page.json("/api/ranges")["ranges"].clone();
        ranges[0].is_null().then_some(())
    });
}

#[test]
fn a_map_of_another_pool_names_the_pool_that_a_network_states() {
    let site = Site::shared();
    state(&site, "blue", Some("vlan7"), &[]);
    let told = on(&site, &["map", CIDR]).run();
    assert_said(
        &told,
        WELL,
        &["Pools with this range: --pool vlan7", "0 addresses"],
    );
    let map = json_of(&site, &["map", CIDR, "--pool", "vlan7"]);
    assert_eq!(map["rows"][0]["cells"], "-..............-");
}

#[test]
fn verbs_and_backups_pass_statements_by_and_check_names_what_it_cannot_read() {
    let site = Site::shared();
    state(&site, "blue", None, &[]);
    write(&site, "damaged", vec![1, 255]);
    write(&site, "newer", vec![2, 0]);
    let before = site.entries();
    let (network, pod) = (site.network("10.78.0.0/28"), Pod::new("one"));
    network.add(&pod).result();
    network.del(&pod).assert_silent();
    network.gc(Some(&[])).assert_silent();
    let names: Vec<Key> = ["blue", "damaged", "newer"].map(key).into();
    let kept = |entry: &&whereabouts_store::Entry| {
        let key = site.keys().decode(&entry.key);
        key.is_ok_and(|key| names.contains(&key))
    };
    let after = site.entries();
    let after: Vec<_> = after.iter().filter(kept).collect();
    assert_eq!(after, before.iter().collect::<Vec<_>>());
    let checked = on(&site, &["check"]).run();
    let unreadable = ["network/default/damaged", "network/default/newer"];
    assert_said(&checked, FOUND, &unreadable);
    assert_said(&on(&site, &["check"]).run(), FOUND, &["format version 2"]);
    assert_said(&on(&site, &["ranges"]).run(), FOUND, &unreadable);
    // A backup of a store with statements alone has nothing but the block of the claim that is gone.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backup");
    let file = file.to_str().expect("a path is text");
    on(&site, &["backup", file]).run();
    let fresh = Site::shared();
    state(&fresh, "red", None, &[]);
    let restored = on(&fresh, &["restore", file, "--yes"]).run();
    assert_said(&restored, WELL, &["0 keys deleted", "restored"]);
    assert!(fresh.entry(&key("red")).is_some(), "it stays");
    assert!(fresh.entry(&key("blue")).is_none(), "it is in no backup");
}
