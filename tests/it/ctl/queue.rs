//! `queue`: who holds the lock of a range and who waits.

use serde_json::json;

use super::{WELL, assert_said, json_of, on};
use crate::plugin::{Foreigner, Pod, Site};
use crate::support::poll;

const CIDR: &str = "10.0.0.0/24";

#[test]
fn the_queue_shows_the_holder_and_who_waits_since_about_when() {
    let site = Site::shared();
    let network = site.network(CIDR);
    network.add(&Pod::new("before")).result();
    assert_said(&on(&site, &["queue"]).run(), WELL, &["Nobody waits"]);
    let holder = Foreigner::line_up(&site, CIDR);
    let mut add = network.call("ADD", &Pod::new("waits")).start();
    poll("the ADD stands in the queue", || {
        assert!(add.is_running(), "it must not end before");
        (site.audit().tickets == 2).then_some(())
    });
    let queues = json_of(&site, &["queue"]);
    let queue = &queues[0];
    assert_eq!(queue["range"], CIDR);
    assert_eq!(queue["holder"]["container"], "foreigner");
    assert_eq!(
        queue["holder"]["lease_seconds_left"]
            .as_u64()
            .map(|left| left > 200),
        Some(true)
    );
    let waiting = &queue["waiting"][0];
    assert_eq!(
        (&waiting["container"], &waiting["verb"]),
        (&json!("waits"), &json!("ADD"))
    );
    assert!(waiting["not_before"].is_string(), "{waiting}");
    assert_eq!(waiting["not_after"], json!(null));
    let table = on(&site, &["queue", CIDR]).run();
    assert_said(&table, WELL, &["holder", "foreigner", "waits", "ADD"]);
    let other = on(&site, &["queue", "10.9.0.0/24"]).run();
    assert_said(&other, WELL, &["Nobody waits"]);
    holder.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.2/24");
}
