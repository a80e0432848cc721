//! The page, in a real browser.

use serde_json::json;
use whereabouts_core::address::{Name, Pool};
use whereabouts_core::claim::{Attachment, Claim, Held, Owner, RangeId};
use whereabouts_store::Write;
use whereabouts_store::keys::Key;
use whereabouts_store::record;

use super::Server;
use super::chromium::Browser;
use crate::plugin::{Foreigner, Pod, Site, pods, put};

const CIDR: &str = "10.0.0.0/24";

/// How many squares of the map are of a state.
fn squares(state: &str) -> String {
    format!("document.querySelectorAll('#map .{state}').length")
}

fn text_has(id: &str, part: &str) -> String {
    format!(
        "document.getElementById('{id}').textContent.includes({})",
        json!(part)
    )
}

#[test]
fn the_page_shows_ranges_the_map_and_the_queue_and_changes_without_being_loaded_again() {
    let site = Site::shared();
    let network = site.network(CIDR);
    for pod in pods(5) {
        network.add(&pod).result();
    }
    let server = Server::of(&site, &[]);
    let mut page = Browser::open(&format!("http://{}/", server.address));
    page.await_true(&text_has("link", "live"));
    page.await_true(&text_has("ranges", CIDR));
    page.evaluate("window.loadedOnce = true");
    page.evaluate("document.querySelector('#ranges button').click()");
    page.await_true(&format!("{} === 5", squares("held")));
    assert_eq!(page.evaluate(&squares("cell")), 256);
    assert_eq!(page.evaluate(&squares("never")), 2);
    page.await_true(&text_has("claims", "space/pod-c4"));
    // The owner, for the mouse and for the keyboard.
    page.evaluate("document.querySelectorAll('#map .cell')[2].dispatchEvent(new PointerEvent('pointerenter'))");
    page.await_true(&text_has("detail", "10.0.0.2: space/pod-c1"));
    page.evaluate("document.querySelector('#map [tabindex=\"0\"]').focus()");
    page.press("ArrowRight", 39);
    page.await_true(&text_has("detail", "10.0.0.1: space/pod-c0"));
    // A change is seen without loading the page again.
    network.add(&Pod::new("late")).result();
    page.await_true(&format!("{} === 6", squares("held")));
    page.await_true(&text_has("claims", "space/pod-late"));
    network.del(&Pod::new("c0")).assert_silent();
    page.await_true(&format!("{} === 5", squares("held")));
    let holder = Foreigner::hold(&site, CIDR);
    page.await_true(&text_has("queues", "foreigner"));
    holder.leave(&site);
    page.await_true(&text_has("queues", "Nobody waits"));
    page.evaluate("document.getElementById('word').value = 'pod-c3'");
    page.evaluate("document.getElementById('search').requestSubmit()");
    page.await_true(&text_has("found", "10.0.0.4"));
    assert_eq!(page.evaluate(&text_has("found", "10.0.0.3")), false);
    assert_eq!(page.evaluate("window.loadedOnce"), true);
    drop(server);
    page.await_true(&text_has("link", "does not answer"));
}

#[test]
fn a_large_range_is_shown_by_blocks_and_then_by_addresses() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/8");
    network.add(&Pod::new("low")).result();
    let far = Pod::new("far").argument("IP=10.77.3.9");
    let far = network
        .clone()
        .ipam(json!({"range_start": "10.77.3.9"}))
        .add(&far);
    assert_eq!(far.address(), "10.77.3.9/8");
    let server = Server::of(&site, &[]);
    let place = "range=10.0.0.0%2F8&pool=&own=false";
    let mut page = Browser::open(&format!("http://{}/#{place}", server.address));
    page.await_true(&format!("{} === 2", squares("block")));
    page.evaluate("document.querySelectorAll('#map .block')[1].click()");
    page.await_true(&format!("{} === 1", squares("held")));
    page.await_true(&text_has("where", "10.77.3.0/24"));
    page.evaluate("document.querySelector('#where button').click()");
    page.await_true(&format!("{} === 2", squares("block")));
}

/// The names of pods are what their owners wrote, or whoever can write to etcd.
#[test]
fn hostile_names_are_shown_as_they_are_and_do_nothing() {
    let site = Site::shared();
    let hostile = "<img src=x onerror=\"window.harmed=1\"><script>window.harmed=1</script>";
    let claim = Claim {
        held: vec![Held {
            range: RangeId {
                pool: Pool {
                    name: Some(hostile.to_owned()),
                    only: None,
                },
                cidr: CIDR.parse().expect("a CIDR"),
            },
            address: "10.0.0.1"
                .parse::<std::net::IpAddr>()
                .expect("an address")
                .into(),
        }],
        owner: Owner {
            node: Some(hostile.to_owned()),
            pod_namespace: Some(hostile.to_owned()),
            pod_name: Some(hostile.to_owned()),
            ..Owner::default()
        },
        created: std::time::Duration::ZERO,
    };
    let key = Key::Claim(Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new("c").expect("a name"),
        interface: "<b>".to_owned(),
    });
    let write = Write::Put {
        key: site.keys().encode(&key),
        value: record::encode_claim(&claim),
        lease: 0,
    };
    put(&site, write);
    let server = Server::of(&site, &[]);
    super::prometheus::Scrape::read(&server.get("/metrics"));
    let mut page = Browser::open(&format!("http://{}/#search=window.harmed", server.address));
    page.await_true(&text_has("found", hostile));
    page.await_true(&text_has("ranges", hostile));
    page.evaluate("document.querySelector('#ranges button').click()");
    page.await_true(&text_has("claims", hostile));
    page.await_true(&format!("{} === 1", squares("held")));
    assert_eq!(
        page.evaluate("document.querySelectorAll('img, b, main script').length"),
        0
    );
    assert_eq!(page.evaluate("typeof window.harmed"), "undefined");
    // And if it were markup, the policy would not let it run.
    let injected = "(() => { const one = document.createElement('script'); \
        try { one.textContent = 'window.harmed = 1'; document.body.append(one); } catch { } \
        return typeof window.harmed; })()";
    assert_eq!(page.evaluate(injected), "undefined");
}

#[test]
fn it_is_light_or_dark_as_the_reader_prefers() {
    let site = Site::shared();
    let server = Server::of(&site, &[]);
    let mut page = Browser::open(&format!("http://{}/", server.address));
    let back = "getComputedStyle(document.body).backgroundColor";
    page.prefer("light");
    assert_eq!(page.evaluate(back), "rgb(246, 247, 249)");
    page.prefer("dark");
    assert_eq!(page.evaluate(back), "rgb(18, 22, 29)");
}
