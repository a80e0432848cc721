//! A full range is full in all words: the plugin's, the tool's, the page's and those of the metrics.

use serde_json::json;

use super::Server;
use super::prometheus::Scrape;
use crate::ctl::{WELL, assert_said, json_of, on};
use crate::plugin::{Network, Pod, Site, pods};
use crate::support::poll;

const CIDR: &str = "10.0.0.0/28";

/// What `server` says of the range: the counts of the API, those of the strip, and the size and the free addresses of the metrics.
#[track_caller]
fn assert_told(server: &Server, (taken, size): (usize, usize), full: usize) {
    let of_range = |name: &str| {
        format!("whereabouts_range_{name}{{range=\"{CIDR}\",pool=\"\",own_pool=\"false\"}}")
    };
    let expected = json!([
        taken.to_string(),
        size.to_string(),
        (size - taken).to_string()
    ]);
    poll("the page knows it", || {
        let told = server.json("/api/ranges")["ranges"][0].clone();
        (json!([told["taken"], told["size"], told["free"]]) == expected).then_some(())
    });
    let strip = server.json("/api/overview")["ranges"].clone();
    assert_eq!((&strip["count"], &strip["full"]), (&json!(1), &json!(full)));
    let metrics = Scrape::read(&server.get("/metrics"));
    for (name, count) in [("size_addresses", size), ("free_addresses", size - taken)] {
        let told = metrics.value(&of_range(name));
        let count = f64::from(u32::try_from(count).expect("it is small"));
        assert_eq!(told.to_bits(), count.to_bits(), "{name}");
    }
}

fn guarded(site: &Site, gateway: &str, exclude: &[&str]) -> Network {
    site.network(CIDR)
        .ipam(json!({"gateway": gateway, "exclude": exclude}))
}

#[test]
fn a_full_range_with_a_gateway_is_full_in_all_words() {
    let site = Site::shared();
    let network = guarded(&site, "10.0.0.14", &["10.0.0.3/32"]);
    let pods = pods(12);
    for pod in &pods {
        network.add(pod).result();
    }
    let words = "all of its 12 addresses are taken";
    network.add(&Pod::new("late")).assert_error(101, &[words]);
    let ranges = json_of(&site, &["ranges"]);
    assert_eq!(
        [&ranges[0]["taken"], &ranges[0]["size"], &ranges[0]["free"]],
        ["12", "12", "0"]
    );
    let intervals = json!(["10.0.0.1-10.0.0.2", "10.0.0.4-10.0.0.13"]);
    assert_eq!(ranges[0]["intervals"], intervals);
    let table = on(&site, &["ranges"]).run();
    assert_said(
        &table,
        WELL,
        &["####################  100%  12     12    12"],
    );
    let map = json_of(&site, &["map", CIDR]);
    assert_eq!(map["rows"][0]["cells"], "-##-##########--");
    let server = Server::of(&site, &[]);
    assert_told(&server, (12, 12), 1);
    let cells =
        server.json(&format!("/api/map?range={CIDR}&columns=16"))["rows"][0]["cells"].clone();
    let is_free = |cell: &serde_json::Value| cell["state"] == "free";
    assert!(
        !cells.as_array().expect("a list").iter().any(is_free),
        "{cells}"
    );
    assert_eq!(
        (&cells[3]["state"], &cells[14]["state"]),
        (&json!("never"), &json!("never"))
    );
    network.del(&pods[4]).assert_silent();
    assert_told(&server, (11, 12), 0);
    for pod in &pods {
        network.del(pod).assert_silent();
    }
    assert_eq!(json_of(&site, &["ranges"]), json!([]));
}

#[test]
fn a_range_of_two_configurations_gives_what_either_gives() {
    let site = Site::shared();
    let one = guarded(&site, "10.0.0.14", &["10.0.0.8/29"]);
    let other = guarded(&site, "10.0.0.1", &["10.0.0.2/31", "10.0.0.4/30"]);
    let (ones, others) = (pods(7), ["a", "b", "c", "d", "e", "f", "g"].map(Pod::new));
    let server = Server::of(&site, &[]);
    for (taken, pod) in (1..).zip(&ones) {
        one.add(pod).result();
        assert_told(&server, (taken, 7), usize::from(taken == 7));
    }
    let words = "all of its 7 addresses are taken";
    one.add(&Pod::new("late")).assert_error(101, &[words]);
    for (more, pod) in (1..).zip(&others) {
        other.add(pod).result();
        assert_told(&server, (7 + more, 14), usize::from(more == 7));
    }
    // With the last claim of a configuration goes what it alone gave.
    for pod in &others {
        other.del(pod).assert_silent();
    }
    assert_told(&server, (7, 7), 1);
    let map = json_of(&site, &["map", CIDR]);
    assert_eq!(map["rows"][0]["cells"], "-#######--------");
    // A configuration that a person names counts alone.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("net.conf");
    std::fs::write(&file, other.json()).expect("the folder can be written");
    let file = file.to_str().expect("a path is text");
    let ranges = json_of(&site, &["ranges", "--config", file]);
    let counted = (&ranges[0]["taken"], &ranges[0]["size"]);
    assert_eq!(counted, (&json!("0"), &json!("7")));
}

/// An excluded address can be asked for. It is one of the range while somebody has it.
#[test]
fn a_stated_address_beyond_what_the_range_gives_counts_while_it_is_held() {
    let site = Site::shared();
    let network = guarded(&site, "10.0.0.14", &["10.0.0.8/29"]);
    let server = Server::of(&site, &[]);
    let pod = Pod::new("c").argument("IP=10.0.0.12");
    network.add(&pod).result();
    assert_told(&server, (1, 8), 0);
    network.add(&Pod::new("d")).result();
    assert_told(&server, (2, 8), 0);
    network.del(&pod).assert_silent();
    assert_told(&server, (1, 7), 0);
}
