//! The API: what it tells, in which shapes, to whom.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use whereabouts_core::limits;
use whereabouts_store::Write;

use super::Server;
use crate::plugin::{Foreigner, Pod, Site, kill_in_line, pods, put};
use crate::support::poll;

const CIDR: &str = "10.0.0.0/24";

fn addresses(claims: &Value) -> Vec<&str> {
    let claims = claims["claims"].as_array().expect("a list");
    let first = claims
        .iter()
        .map(|one| one["addresses"][0]["address"].as_str());
    first.map(|text| text.expect("a text")).collect()
}

#[test]
fn ranges_blocks_addresses_and_claims_are_told_and_follow_what_happens() {
    let site = Site::shared();
    let network = site.network(CIDR);
    for pod in pods(3) {
        network.add(&pod).result();
    }
    site.network("10.0.0.0/16").add(&Pod::new("wide")).result();
    let server = Server::of(&site, &[]);
    let told = server.json("/api/ranges");
    let of = |told: &Value, range: &str| {
        let ranges = told["ranges"].as_array().expect("a list").clone();
        let found = ranges.into_iter().find(|one| one["range"] == range);
        found.map(|one| {
            (
                one["taken"].clone(),
                one["size"].clone(),
                one["held"].clone(),
            )
        })
    };
    assert_eq!(of(&told, CIDR), Some((json!("4"), json!("254"), json!(3))));
    assert_eq!(
        of(&told, "10.0.0.0/16"),
        Some((json!("4"), json!("65279"), json!(1)))
    );
    let block = server.json("/api/block?range=10.0.0.0/24");
    let cell = |number: usize| block["addresses"][number].clone();
    assert_eq!(block["addresses"].as_array().map(Vec::len), Some(256));
    assert_eq!(
        (&cell(0)["state"], &cell(1)["state"]),
        (&json!("never"), &json!("held"))
    );
    assert_eq!(
        (&cell(4)["state"], &cell(5)["state"]),
        (&json!("other"), &json!("free"))
    );
    assert_eq!(cell(2)["claim"]["pod"]["name"], "pod-c1");
    // Inside of a range that is larger than a block, `.0` is no address to give either.
    let inner = server.json("/api/block?range=10.0.0.0/16&block=10.0.1.0");
    let states = [0, 1, 255].map(|number| inner["addresses"][number]["state"].clone());
    assert_eq!(states, ["never", "free", "free"]);
    let blocks = server.json("/api/blocks?range=10.0.0.0/16");
    let expected = json!([{"first": "10.0.0.0", "last": "10.0.0.255", "taken": 4, "size": "255"}]);
    assert_eq!(
        (&blocks["blocks"], &blocks["next"]),
        (&expected, &json!(null))
    );
    assert_eq!(
        addresses(&server.json("/api/claims?range=10.0.0.0/24&after=10.0.0.1")),
        ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    );
    network.del(&pods(1)[0]).assert_silent();
    server.await_claims(3);
    assert_eq!(
        of(&server.json("/api/ranges"), CIDR).map(|one| one.0),
        Some(json!("3"))
    );
    for pod in ["c1", "c2", "wide"] {
        network.del(&Pod::new(pod)).assert_silent();
    }
    server.await_claims(0);
    assert_eq!(server.json("/api/ranges")["ranges"], json!([]));
}

#[test]
fn many_ranges_are_told_page_by_page() {
    let site = Site::shared();
    let count = limits::PAGE_RANGES + 1;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plugin = |number: usize| {
        let range = format!("10.{}.{}.0/24", number / 256, number % 256);
        json!({"ipam": {"type": "whereabouts", "range": range}})
    };
    let plugins: Vec<Value> = (0..count).map(plugin).collect();
    let list = json!({"name": "net", "cniVersion": "1.0.0", "plugins": plugins});
    let file = folder.path().join("many.conflist");
    fs::write(&file, list.to_string()).expect("the folder can be written");
    let file = file.to_str().expect("a path is text");
    let server = Server::of(&site, &["--config", file]);
    let first = server.json("/api/ranges");
    let next = first["next"].as_str().expect("there are more");
    let second = server.json(&format!("/api/ranges?after={next}"));
    let names = |page: &Value| -> Vec<String> {
        let ranges = page["ranges"].as_array().expect("a list").iter();
        ranges.map(|one| one["range"].to_string()).collect()
    };
    assert_eq!(names(&first).len(), limits::PAGE_RANGES);
    assert_eq!((names(&second).len(), &second["next"]), (1, &json!(null)));
    let all: BTreeSet<String> = names(&first).into_iter().chain(names(&second)).collect();
    assert_eq!(all.len(), count);
    let nowhere = server.request("GET /api/ranges?after=x", "Host: localhost\r\n");
    assert!(nowhere.head.starts_with("HTTP/1.1 400"), "{}", nowhere.head);
}

#[test]
fn a_claim_is_found_by_address_pod_container_and_node() {
    let site = Site::shared();
    for pod in pods(12) {
        site.network(CIDR).add(&pod).result();
    }
    let server = Server::of(&site, &[]);
    for (text, expected) in [
        ("10.0.0.3", &["10.0.0.3"][..]),
        ("pod-c11", &["10.0.0.12"]),
        ("space/pod-c4", &["10.0.0.5"]),
        ("c7", &["10.0.0.8"]),
        ("elsewhere", &[]),
        ("10.0.0.200", &[]),
    ] {
        let found = server.json(&format!("/api/search?search={text}"));
        assert_eq!(addresses(&found), expected, "{text}");
    }
    assert_eq!(
        addresses(&server.json("/api/search?search=node-1")).len(),
        12
    );
    let empty = server.request("GET /api/search?search=", "Host: localhost\r\n");
    assert!(empty.head.starts_with("HTTP/1.1 400"), "{}", empty.head);
}

#[test]
fn the_queue_is_told_and_ends() {
    let site = Site::shared();
    let server = Server::of(&site, &[]);
    assert_eq!(server.json("/api/queues"), json!([]));
    let holder = Foreigner::hold(&site, CIDR);
    let mut add = site.network(CIDR).call("ADD", &Pod::new("waits")).start();
    let queue = poll("the ADD stands in the queue", || {
        assert!(add.is_running(), "it must not end before");
        let queue = server.json("/api/queues")[0].clone();
        (queue["length"] == 1).then_some(queue)
    });
    assert_eq!(queue["tickets"][0]["container"], "waits");
    assert_eq!(queue["holder"]["container"], "foreigner");
    assert_eq!(queue["offered"], json!(false));
    holder.leave(&site);
    add.finish().result();
    poll("the queue has ended", || {
        (server.json("/api/queues") == json!([])).then_some(())
    });
    let dead = Pod::new("dead");
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &site.network(CIDR), "ADD", &dead);
    holder.leave(&site);
    let queue = poll("the lock is offered", || {
        let queue = server.json("/api/queues")[0].clone();
        (queue["offered"] == true).then_some(queue)
    });
    assert_eq!(
        (&queue["holder"], &queue["length"]),
        (&json!(null), &json!(1))
    );
    assert_eq!(
        (
            &queue["offered_to"]["container"],
            &queue["offered_to"]["verb"]
        ),
        (&json!("dead"), &json!("ADD"))
    );
    site.network(CIDR).del(&dead).assert_silent();
    poll("the offer has ended", || {
        (server.json("/api/queues") == json!([])).then_some(())
    });
}

#[test]
fn what_cannot_be_read_is_counted_and_harms_nothing() {
    let site = Site::shared();
    site.network(CIDR).add(&Pod::new("c")).result();
    let server = Server::of(&site, &[]);
    for key in [
        "claim/net/d/eth0",
        "open/@/4/0a000100",
        "lock/x",
        "no-such-thing",
    ] {
        let key = site.keys().with_prefix(key.as_bytes());
        let value = vec![99, 1, 2];
        put(
            &site,
            Write::Put {
                key,
                value,
                lease: 0,
            },
        );
    }
    poll("they are counted", || {
        let etcd = &server.json("/api/ranges")["etcd"];
        (etcd["unreadable"] == 4 && etcd["claims"] == 1).then_some(())
    });
}

#[test]
fn only_get_is_answered_only_under_a_name_of_this_machine_and_with_strict_headers() {
    let site = Site::shared();
    let server = Server::of(&site, &[]);
    for path in ["/", "/api/ranges", "/metrics", "/nothing"] {
        let answer = server.request(&format!("GET {path}"), "Host: 127.0.0.1\r\n");
        for header in [
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "cache-control: no-store",
            "referrer-policy: no-referrer",
        ] {
            assert!(answer.head.contains(header), "{path}: {}", answer.head);
        }
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
        let rebound = server.request(&format!("GET {path}"), "Host: evil.example\r\n");
        assert!(rebound.head.starts_with("HTTP/1.1 421"), "{}", rebound.head);
        let other = server.request(&format!("DELETE {path}"), "Host: localhost\r\n");
        assert!(
            other.head.starts_with("HTTP/1.1 405") || path == "/nothing",
            "{}",
            other.head
        );
    }
}

#[test]
fn without_an_etcd_there_are_metrics_and_no_page() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/healthz"), "ok\n");
    assert!(
        server
            .get("/metrics")
            .contains("whereabouts_agent_backlog_bytes 0")
    );
    let page = server.request("GET /", "Host: localhost\r\n");
    assert!(page.head.starts_with("HTTP/1.1 404"), "{}", page.head);
}
