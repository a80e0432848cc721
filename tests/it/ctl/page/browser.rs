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

pub(super) const CIDR: &str = "10.0.0.0/24";

/// How many squares of the map are of a state.
pub(super) fn squares(state: &str) -> String {
    format!("document.querySelectorAll('.map .{state}').length")
}

/// Whether the text of an element has a part.
pub(super) fn text_has(id: &str, part: &str) -> String {
    format!(
        "(document.getElementById('{id}')?.textContent ?? '').includes({})",
        json!(part)
    )
}

/// Whether the page follows etcd.
pub(super) const LIVE: &str = "document.getElementById('strip').dataset.state === 'live'";

/// The place of a range in the shared pool.
pub(super) fn place(range: &str) -> String {
    format!("#range={}&pool=&own=false", range.replace('/', "%2F"))
}

/// A browser with a page of `server`.
pub(super) fn browse(server: &Server, place: &str) -> Browser {
    Browser::open(&format!("http://{}/{place}", server.address))
}

#[test]
fn the_page_shows_ranges_the_map_and_the_queue_and_changes_without_being_loaded_again() {
    let site = Site::shared();
    let network = site.network(CIDR);
    for pod in pods(5) {
        network.add(&pod).result();
    }
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "");
    page.await_true(LIVE);
    page.await_true(&text_has("ranges", CIDR));
    page.evaluate("window.loadedOnce = true");
    page.click("document.querySelector('#ranges tbody a')");
    page.await_true(&format!("{} === 5", squares("held")));
    assert_eq!(page.evaluate(&squares("cell")), 256);
    assert_eq!(page.evaluate(&squares("never")), 2);
    page.await_true(&text_has("claims", "space/pod-c4"));
    // The owner, for the mouse and for the keyboard.
    page.evaluate("document.querySelectorAll('.map .cell')[2].dispatchEvent(new PointerEvent('pointerenter'))");
    page.await_true(&text_has("detail", "10.0.0.2: space/pod-c1"));
    page.evaluate("document.querySelector('.map [tabindex=\"0\"]').focus()");
    page.press("ArrowRight", 39);
    page.await_true(&text_has("detail", "10.0.0.1: space/pod-c0"));
    // A change is seen without loading the page again.
    network.add(&Pod::new("late")).result();
    page.await_true(&format!("{} === 6", squares("held")));
    page.await_true(&text_has("claims", "space/pod-late"));
    network.del(&Pod::new("c0")).assert_silent();
    page.await_true(&format!("{} === 5", squares("held")));
    assert_eq!(
        page.evaluate("document.activeElement.cell?.first"),
        "10.0.0.1",
        "the keyboard stays at its place"
    );
    let holder = Foreigner::hold(&site, CIDR);
    page.go("#view=queues");
    page.await_true(&text_has("queues", "foreigner"));
    holder.leave(&site);
    page.await_true(&text_has("queues", "Nobody waits"));
    page.evaluate("document.getElementById('word').value = 'pod-c3'");
    page.evaluate("document.getElementById('search').requestSubmit()");
    page.await_true(&text_has("found", "10.0.0.4"));
    assert_eq!(page.evaluate(&text_has("found", "10.0.0.3")), false);
    assert_eq!(page.evaluate("window.loadedOnce"), true);
    drop(server);
    page.await_true(&text_has("strip", "does not answer"));
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
        usable: Vec::new(),
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
    let mut page = browse(&server, "#search=window.harmed");
    let title_has = format!(
        "[...document.querySelectorAll('#found [title]')].some((one) => one.title.includes({}))",
        json!(hostile)
    );
    page.await_true(&title_has);
    page.go("#view=node");
    page.await_true(&format!(
        "[...document.querySelectorAll('#node [title]')].some((one) => one.title === {})",
        json!(hostile)
    ));
    page.go("#");
    page.await_true(&text_has("ranges", hostile));
    page.click("document.querySelector('#ranges tbody a')");
    page.await_true(&format!("{} === 1", squares("held")));
    page.click("document.querySelector('.map .held')");
    page.await_true(&text_has("drawer", hostile));
    // No name becomes a part of a command that somebody pastes into a shell.
    let commands = page.evaluate("document.querySelector('.commands').textContent");
    assert!(
        commands
            .as_str()
            .is_some_and(|text| text.contains("release 10.0.0.1")
                && !text.contains("harmed")
                && !text.contains("kubectl")),
        "{commands}"
    );
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
    let mut page = browse(&server, "");
    let back = "getComputedStyle(document.body).backgroundColor";
    page.prefer("light");
    assert_eq!(page.evaluate(back), "rgb(246, 247, 249)");
    page.prefer("dark");
    assert_eq!(page.evaluate(back), "rgb(18, 22, 29)");
}
