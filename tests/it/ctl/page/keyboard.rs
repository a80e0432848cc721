//! The page by the keyboard alone.

use super::Server;
use super::browser::{CIDR, browse, squares, text_has};
use crate::plugin::{Site, pods};

#[test]
fn an_operator_without_a_mouse_finds_an_address_and_comes_back() {
    let site = Site::shared();
    for pod in pods(3) {
        site.network(CIDR).add(&pod).result();
    }
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "");
    page.await_true(&text_has("ranges", CIDR));
    // From the list to the map.
    page.press_all("j");
    page.await_true("document.activeElement.matches('#ranges tbody a')");
    page.click("document.activeElement"); // what Enter does on a link
    page.await_true(&format!("{} === 3", squares("held")));
    // Over the map, to an address.
    page.evaluate("document.querySelector('.map [tabindex=\"0\"]').focus()");
    page.press("ArrowRight", 39);
    page.press("ArrowRight", 39);
    page.press("ArrowDown", 40);
    page.await_true(&text_has("detail", "10.0.0.34: free"));
    page.press("ArrowUp", 38);
    page.click("document.activeElement");
    page.await_true(&text_has("drawer", "pod-c1"));
    page.await_true("document.getElementById('drawer').contains(document.activeElement)");
    page.press("Escape", 27);
    page.await_true("document.getElementById('drawer').hidden");
    page.await_true("document.activeElement.cell?.first === '10.0.0.2'");
    // Up, to another view, and to the search.
    page.press_all("u");
    page.await_true(&text_has("ranges", CIDR));
    page.press_all("2");
    page.await_true(&text_has("node", "node-1"));
    page.press_all("/");
    page.await_true("document.activeElement.id === 'word'");
    page.press_all("c2");
    page.await_true("document.getElementById('word').value === 'c2'");
    page.evaluate("document.getElementById('search').requestSubmit()");
    page.await_true(&text_has("found", "pod-c2"));
    page.evaluate("document.activeElement.blur()");
    page.press_all("?");
    page.await_true("document.getElementById('help').open");
}
