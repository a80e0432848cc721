//! Each view of the page.

use serde_json::json;

use super::Server;
use super::browser::{CIDR, LIVE, browse, place, squares, text_has};
use crate::plugin::fill::fill_with;
use crate::plugin::{Pod, Site, pods, range};

/// The rows of the tree: headings, and ranges with the sign of their depth.
const TREE: &str = "[...document.querySelectorAll('#ranges tbody tr')].map((row) => \
    (row.querySelector('.twig')?.textContent ?? '') + row.querySelector('a, th').textContent)";

#[test]
fn ranges_are_nested_pools_are_apart_and_the_families_of_a_network_are_together() {
    let site = Site::shared();
    let dual =
        json!({"range": null, "ipRanges": [{"range": "10.80.0.0/26"}, {"range": "fd00:80::/64"}]});
    let tenant = json!({"network_name": "tenant"});
    let named = |range: &str, name: &str| site.network(range).config(json!({"name": name}));
    named("10.66.0.0/16", "video").add(&Pod::new("a")).result();
    named("10.66.0.0/24", "storage")
        .add(&Pod::new("b"))
        .result();
    named("10.80.0.0/26", "dual")
        .ipam(dual)
        .add(&Pod::new("c"))
        .result();
    named("10.90.0.0/24", "last").add(&Pod::new("d")).result();
    named(CIDR, "tenant-net")
        .ipam(tenant)
        .add(&Pod::new("e"))
        .result();
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "");
    page.await_true(&text_has("ranges", "fd00:80::/64"));
    let expected = json!([
        "Pool: shared pool",
        "Network video, storage",
        "10.66.0.0/16",
        "└ 10.66.0.0/24",
        "Network dual",
        "10.80.0.0/26",
        "fd00:80::/64",
        "Network last",
        "10.90.0.0/24",
        "Pool: tenant",
        "Network tenant-net",
        "10.0.0.0/24",
    ]);
    assert_eq!(page.evaluate(TREE), expected);
    page.await_true(&text_has("ranges", "2^64"));
    assert_eq!(
        page.evaluate(&text_has("ranges", "18446744073709551615")),
        false
    );
    page.await_true(&text_has(
        "ranges",
        "shares its addresses with 10.66.0.0/16",
    ));
    // By size, and filtered.
    page.click(
        "[...document.querySelectorAll('#ranges .sort')].find((one) => one.textContent === 'Size')",
    );
    page.await_true("document.querySelector('#ranges tbody a').textContent === 'fd00:80::/64'");
    page.evaluate(
        "(() => { const field = document.querySelector('#ranges .filter'); \
        field.value = 'storage'; field.dispatchEvent(new Event('input')); })()",
    );
    page.await_true("document.querySelectorAll('#ranges tbody tr').length === 1");
}

#[test]
fn a_large_range_is_shown_by_blocks_and_then_by_addresses_also_on_a_telephone() {
    let site = Site::shared();
    let wide = range("10.56.0.0/16");
    let addresses = ["10.56.0.1", "10.56.217.9"].map(|text| {
        let address = text.parse::<std::net::IpAddr>().expect("an address");
        address.into()
    });
    fill_with(&site, &wide, addresses.into_iter());
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, &place("10.56.0.0/16"));
    page.await_true(&format!("{} === 256", squares("block")));
    let labels = "[...document.querySelectorAll('.map .row .label')].map((one) => one.textContent).join(' ')";
    let expected = (0..8).map(|row| format!("10.56.{}.0", 32 * row));
    let expected: Vec<String> = expected.collect();
    assert_eq!(page.evaluate(labels), format!(" {}", expected.join(" ")));
    for width in [1440, 390] {
        page.resize(width);
        page.go(&place("10.56.0.0/16"));
        let columns = if width == 390 { 16 } else { 32 };
        page.await_true(&format!(
            "document.querySelectorAll('.map .row:not(.ticks)').length === {}",
            256 / columns
        ));
        page.click("[...document.querySelectorAll('.map .block')].find((one) => one.cell.first === '10.56.217.0')");
        page.await_true(&format!("{} === 1", squares("held")));
        page.await_true(&format!(
            "document.querySelectorAll('.map .row:not(.ticks)').length === {}",
            256 / columns
        ));
        page.await_true("document.querySelectorAll('#claims tbody tr').length === 1");
        page.await_true(&format!("document.documentElement.scrollWidth <= {width}"));
        page.await_true("document.querySelector('.map .held').getBoundingClientRect().width > 10");
    }
}

#[test]
fn the_map_of_a_slash_64_has_the_rows_that_are_used_and_says_how_many_are_not() {
    let site = Site::shared();
    let cidr = "fd00:1::/64";
    let addresses = ["fd00:1::1", "fd00:1::5:0:7"].map(|text| {
        let address = text.parse::<std::net::IpAddr>().expect("an address");
        address.into()
    });
    fill_with(&site, &range(cidr), addresses.into_iter());
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, &place(cidr));
    page.await_true(&format!("{} === 2", squares("held")));
    let rows = page.evaluate("[...document.querySelectorAll('.map .row:not(.ticks) .label, .map .gap')].map((one) => one.textContent)");
    assert_eq!(
        rows,
        json!([
            "fd00:1::",
            "⋯ 671,088,639 rows without a taken address",
            "fd00:1::5:0:0",
            "⋯ 2^59 rows without a taken address"
        ])
    );
}

#[test]
fn the_drawer_has_the_whole_claim_and_commands_to_copy() {
    let site = Site::shared();
    let pod = Pod::new("c").argument("K8S_POD_UID=0a1b");
    site.network(CIDR).add(&pod).result();
    let server = Server::of(&site, &[]);
    let claim = server.json("/api/address?range=10.0.0.0/24&address=10.0.0.1")["claim"].clone();
    assert_eq!(claim["revision"], claim["created_revision"]);
    let mut page = browse(&server, &format!("{}&address=10.0.0.1", place(CIDR)));
    page.await_true(&text_has("drawer", "held through this range"));
    for (name, value) in [
        ("pod", "pod-c"),
        ("UID", "0a1b"),
        ("node", "node-1"),
        ("namespace", "space"),
        ("netns", pod.netns.as_str()),
        ("created", claim["created"].as_str().expect("a time")),
        ("revision", &claim["revision"].to_string()),
        (
            "kubectl",
            "kubectl --namespace space get pod pod-c --output wide",
        ),
        (
            "release",
            &format!(
                "whereaboutsctl release 10.0.0.1 --container c --revision {}",
                claim["revision"]
            ),
        ),
    ] {
        assert_eq!(
            page.evaluate(&text_has("drawer", value)),
            true,
            "{name}: {value}"
        );
    }
    // A free address tells that it is free, and a link leads to a view.
    page.go(&format!("{}&address=10.0.0.7", place(CIDR)));
    page.await_true(&text_has("drawer", "free"));
    page.go(&format!("{}&address=10.0.0.255", place(CIDR)));
    page.await_true(&text_has("drawer", "is the broadcast address"));
}

#[test]
fn claims_are_found_by_prefix_and_by_parts_of_names_and_lead_to_the_map() {
    let site = Site::shared();
    let network = site.network("10.56.0.0/16");
    let at = |address: &str| network.clone().ipam(json!({"range_start": address}));
    at("10.56.217.9").add(&Pod::new("later")).result();
    at("10.56.217.3").add(&Pod::new("zebra")).result();
    at("10.56.21.1").add(&Pod::new("other")).result();
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "#search=10.56.217");
    let found =
        "[...document.querySelectorAll('#found tbody a')].map((one) => one.textContent).join(' ')";
    page.await_true(&format!("{found} === '10.56.217.3 10.56.217.9'"));
    page.go("#search=10.56.217.0%2F24");
    page.await_true(&format!("{found} === '10.56.217.3 10.56.217.9'"));
    page.go("#search=od-la");
    page.await_true(&format!("{found} === '10.56.217.9'"));
    page.go("#search=node-");
    page.await_true(&format!("{found} === '10.56.21.1 10.56.217.3 10.56.217.9'"));
    page.click("document.querySelectorAll('#found tbody a')[1]");
    page.await_true("document.querySelector('.map [aria-current]')?.cell.first === '10.56.217.3'");
    page.await_true(&text_has("drawer", "pod-zebra"));
}

#[test]
fn claims_are_grouped_by_node_network_and_namespace() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let other = network
        .clone()
        .ipam(json!({"node_name": "node-2"}))
        .config(json!({"name": "net-2"}));
    for pod in pods(3) {
        network.add(&pod).result();
    }
    other.add(&Pod::new("other")).result();
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "#view=node");
    let rows = |id: &str| {
        format!(
            "[...document.querySelectorAll('#{id} tbody tr')].map((row) => row.innerText.trim().replace(/\\s+/g, ' ')).join(', ')"
        )
    };
    page.await_true(&format!("{} === 'node-1 3, node-2 1'", rows("node")));
    page.go("#view=namespace");
    page.await_true(&format!("{} === 'space 4'", rows("namespace")));
    page.go("#view=network");
    page.await_true(&text_has("network", "net-2"));
    page.click(
        "[...document.querySelectorAll('#network a')].find((one) => one.textContent === 'net-2')",
    );
    page.await_true("document.querySelectorAll('#found tbody tr').length === 1");
    page.await_true(&text_has("found", "pod-other"));
}

#[test]
fn what_happens_is_told_the_newest_first() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "#view=activity");
    page.await_true(&text_has("activity", "Nothing has happened"));
    network.add(&Pod::new("a")).result();
    page.await_true(&text_has("activity", "space/pod-a"));
    network.add(&Pod::new("b")).result();
    network.del(&Pod::new("a")).assert_silent();
    // A new container of a pod takes its address over.
    let events = "[...document.querySelectorAll('#activity tbody tr')].map((row) => row.children[1].innerText + ' ' + row.children[2].innerText).join(', ')";
    page.await_true(&format!(
        "{events} === 'freed 10.0.0.1, added 10.0.0.2, added 10.0.0.1'"
    ));
}

#[test]
fn an_address_that_is_kept_for_the_name_of_a_pod_is_no_leak() {
    let site = Site::shared();
    let network = site.network(CIDR).ipam(json!({"sticky": "statefulset"}));
    let pod = Pod::new("c").argument("K8S_POD_NAME=web-0");
    network.add(&pod).result();
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, &place(CIDR));
    page.await_true(&format!("{} === 1", squares("held")));
    network.del(&pod).assert_silent();
    page.await_true(&format!("{} === 1", squares("kept")));
    assert_eq!(page.evaluate(&squares("marked")), 0);
    let suspected = &server.json("/api/overview")["suspected"];
    assert_eq!(suspected["marked_alone"], 0);
    page.click("document.querySelector('.map .kept')");
    page.await_true(&text_has("drawer", "space/web-0"));
    page.go("#view=activity");
    page.await_true(&text_has("activity", "kept for its pod's name"));
}

#[test]
fn an_empty_store_says_what_to_do_and_a_full_range_is_told_at_the_top() {
    let site = Site::shared();
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "");
    page.await_true(LIVE);
    page.await_true(&text_has("ranges", "whereaboutsctl lint"));
    let tiny = site.network("10.0.0.0/30");
    for pod in pods(2) {
        tiny.add(&pod).result();
    }
    page.await_true(&text_has("strip", "1 full"));
    page.await_true(&text_has("ranges", "10.0.0.0/30"));
    assert_eq!(
        page.evaluate("document.querySelector('#strip .tile a').textContent"),
        "10.0.0.0/30 100 %"
    );
}
