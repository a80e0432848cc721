//! The page with 100,000 claims.

use std::time::Instant;

use super::Server;
use super::browser::{browse, place, text_has};
use crate::plugin::fill::fill;
use crate::plugin::{Pod, Site, range};

const CLAIMS: usize = 100_000;
const WIDE: &str = "10.0.0.0/14";

/// The bytes of all answers so far, and how many there were.
const ANSWERS: &str = "(() => { const all = performance.getEntriesByType('resource'); \
    return [all.length, all.reduce((sum, one) => sum + one.encodedBodySize, 0)]; })()";

#[test]
fn a_hundred_thousand_claims_are_painted_at_once_and_a_change_rebuilds_one_row() {
    let site = Site::shared();
    fill(&site, &range(WIDE), CLAIMS);
    let server = Server::of(&site, &[]);
    server.await_claims(CLAIMS);
    let mut page = browse(&server, &place(WIDE));
    page.await_true(&text_has("claims", "10.0.0.1"));
    let paint =
        page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime");
    let rows = page
        .evaluate("document.querySelectorAll('tr').length")
        .as_u64()
        .expect("a number");
    let elements = page.evaluate("document.querySelectorAll('*').length");
    let first = page.evaluate(ANSWERS);
    assert!(rows < 300, "{rows} rows");
    assert!(paint.as_f64().expect("a time") < 1000.0, "{paint} ms");
    let bytes = first[1].as_u64().expect("bytes");
    assert!(bytes < 400_000, "{bytes} bytes");
    println!("first paint {paint} ms, {rows} rows, {elements} elements, [answers, bytes] {first}");

    // A claim that comes at the end changes no row of the list, and one square of the map.
    let built = "[document.querySelector('#claims .list').dataset.built, document.querySelector('#map').dataset.built].map(Number)";
    let before = page.evaluate(built);
    let count = |built: &serde_json::Value, at: usize| built[at].as_u64().expect("a count");
    site.network(WIDE).add(&Pod::new("late")).result();
    page.await_true(&text_has("strip", "100,001 claims"));
    page.await_true(&text_has("range", "100,001 claims"));
    let after = page.evaluate(built);
    assert_eq!(count(&after, 0), count(&before, 0), "rows of the list");
    assert!(
        count(&after, 1) <= count(&before, 1) + 1,
        "squares: {before} {after}"
    );

    // A search through all of them.
    let begun = Instant::now();
    page.go("#search=filler99999");
    page.await_true(&text_has("found", "filler99999"));
    println!("search {:?}", begun.elapsed());
}
