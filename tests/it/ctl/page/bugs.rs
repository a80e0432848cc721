//! Faults that the page once had.

use super::Server;
use super::browser::{CIDR, LIVE, browse, place, squares, text_has};
use super::relay::Relay;
use crate::plugin::fill::fill;
use crate::plugin::{Foreigner, Pod, Site, kill_in_line, range};
use crate::support::etcd::Cluster;

#[test]
fn no_address_that_is_never_given_is_shown_as_free() {
    let site = Site::shared();
    site.network("172.20.0.0/16").add(&Pod::new("c")).result();
    let server = Server::of(&site, &[]);
    let at = "&at=172.20.1.0%2F24";
    let mut page = browse(&server, &format!("{}{at}", place("172.20.0.0/16")));
    page.await_true(&format!("{} === 1", squares("never")));
    assert_eq!(
        page.evaluate("document.querySelector('.map .never').cell.first"),
        "172.20.1.0"
    );
    page.click("document.querySelector('.map .never')");
    page.await_true(&text_has("drawer", "ends in .0, which is never given"));
}

#[test]
fn a_list_of_which_more_was_asked_for_stays_live() {
    let site = Site::shared();
    let wide = "10.0.0.0/16";
    fill(&site, &range(wide), 205);
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, &place(wide));
    let rows =
        |count: usize| format!("document.querySelectorAll('#claims tbody tr').length === {count}");
    page.await_true(&rows(200));
    page.click("document.querySelector('#claims .more')");
    page.await_true(&rows(205));
    site.network(wide).add(&Pod::new("late")).result();
    page.await_true(&rows(206));
    page.await_true(&text_has("claims", "space/pod-late"));
    site.network(wide).del(&Pod::new("late")).assert_silent();
    page.await_true(&rows(205));
}

#[test]
fn numbers_stand_at_the_right_and_the_title_names_the_pool() {
    let site = Site::shared();
    let tenant = serde_json::json!({"network_name": "tenant"});
    site.network(CIDR).ipam(tenant).add(&Pod::new("c")).result();
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "");
    page.await_true(&text_has("ranges", CIDR));
    let right = "[...document.querySelectorAll('#ranges tbody tr:not(.heading) .number')] \
        .every((one) => getComputedStyle(one).textAlign === 'right')";
    assert_eq!(page.evaluate(right), true);
    page.click("document.querySelector('#ranges tbody a')");
    page.await_true(&text_has("range-title", "tenant"));
    page.await_true("document.title === '10.0.0.0/24 (tenant) · whereabouts'");
}

#[test]
fn an_unknown_range_is_said_to_be_unknown() {
    let site = Site::shared();
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, &place("10.9.9.0/24"));
    page.await_true(&text_has("range", "no configuration names it"));
    assert_eq!(
        page.evaluate("document.getElementById('legend').checkVisibility()"),
        false
    );
}

#[test]
fn an_outage_is_told_in_words_and_moves_nothing() {
    let site = Site::of(Cluster::start(1));
    site.network(CIDR).add(&Pod::new("c")).result();
    let relay = Relay::to(&site.cluster.members[0].url);
    let server = Server::start(&["--etcd-host", &relay.url, "--etcd-prefix", &site.prefix]);
    server.await_state("live");
    let mut page = browse(&server, "");
    page.await_true(&text_has("ranges", CIDR));
    page.await_true(LIVE);
    let top = "document.getElementById('content').getBoundingClientRect().top";
    let before = page.evaluate(top);
    relay.cut();
    page.await_true("document.getElementById('strip').dataset.state === 'away'");
    let told = page.evaluate("document.getElementById('strip').innerText");
    let told = told.as_str().expect("a text");
    assert!(
        told.contains("cannot be reached") || told.contains("does not answer"),
        "{told}"
    );
    for raw in ["h2", "transport", "gRPC", "hyper", "status:"] {
        assert!(!told.contains(raw), "{told}");
    }
    assert_eq!(page.evaluate(top), before);
    // The whole text is there for whoever wants it.
    page.click("document.querySelector('#strip summary')");
    page.await_true("document.querySelector('#strip details .code').innerText.length > 10");
    relay.mend();
    page.await_true(LIVE);
    assert_eq!(page.evaluate(top), before);
}

#[test]
fn an_offered_lock_names_its_process() {
    let site = Site::shared();
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &site.network(CIDR), "ADD", &Pod::new("dead"));
    holder.leave(&site);
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "#view=queues");
    let row = "[...document.querySelectorAll('#queues tbody tr')] \
        .some((row) => row.textContent.includes('offered') && row.textContent.includes('dead'))";
    page.await_true(row);
    site.network(CIDR).del(&Pod::new("dead")).assert_silent();
    page.await_true(&text_has("queues", "Nobody waits"));
}
