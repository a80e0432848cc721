//! axe-core finds no fault in any view, light or dark, wide or narrow.

use std::fs;

use serde_json::json;

use super::Server;
use super::browser::{CIDR, LIVE, browse, place};
use crate::plugin::{Foreigner, Pod, Site, pods};

/// The variable that names the file of axe-core. `tests/run.sh` installs it.
const VARIABLE: &str = "AXE_CORE";

#[test]
fn axe_core_finds_no_fault() {
    let axe = std::env::var(VARIABLE).expect("AXE_CORE names axe.min.js: tests/run.sh installs it");
    let axe = fs::read_to_string(&axe).expect("AXE_CORE names a file");
    let site = Site::shared();
    for pod in pods(3) {
        site.network(CIDR).add(&pod).result();
    }
    site.network("10.0.0.0/16").add(&Pod::new("wide")).result();
    site.network("10.8.0.0/30").add(&Pod::new("tiny")).result();
    site.network("10.8.0.0/30").add(&Pod::new("tiny2")).result();
    let holder = Foreigner::hold(&site, CIDR);
    let server = Server::of(&site, &[]);
    let mut page = browse(&server, "");
    page.await_true(LIVE);
    page.evaluate(&axe);
    for (place, is_shown) in [
        ("#".to_owned(), "#ranges tbody tr"),
        (place("10.0.0.0/16"), ".map .block"),
        (place(CIDR), ".map .held"),
        (
            format!("{}&address=10.0.0.1", place(CIDR)),
            "#drawer .commands",
        ),
        (place("10.99.0.0/24"), "#range .faint"),
        ("#view=node".to_owned(), "#node tbody tr"),
        ("#view=queues".to_owned(), "#queues tbody tr"),
        ("#view=activity".to_owned(), "#activity .note"),
        ("#view=suspects".to_owned(), "#suspects .note"),
        ("#search=pod-c".to_owned(), "#found tbody tr"),
    ] {
        page.go(&place);
        page.await_true(&format!(
            "document.querySelector({}) !== null",
            json!(is_shown)
        ));
        for scheme in ["light", "dark"] {
            page.prefer(scheme);
            for width in [1440, 390] {
                page.resize(width);
                page.await_true(&format!("document.documentElement.scrollWidth <= {width}"));
                let faults = page.evaluate(
                    "axe.run().then((found) => found.violations.map((one) => `${one.id}: ${one.nodes[0].html}`))",
                );
                assert_eq!(faults, json!([]), "{place}, {scheme}, {width}");
            }
        }
    }
    holder.leave(&site);
}
