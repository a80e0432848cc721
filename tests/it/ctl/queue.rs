//! `queue`: who holds the lock of a range and who waits.

use serde_json::json;
use whereabouts_store::Write;
use whereabouts_store::keys::QueuedVerb;

use super::{FOUND, WELL, assert_said, json_of, on};
use crate::plugin::{
    Foreigner, Pod, Site, await_in_line, kill_in_line, lock_key, newer_ticket, put, ticket_key,
};

const CIDR: &str = "10.0.0.0/24";

#[test]
fn the_queue_shows_the_holder_and_who_waits_since_about_when() {
    let site = Site::shared();
    let network = site.network(CIDR);
    network.add(&Pod::new("before")).result();
    assert_said(&on(&site, &["queue"]).run(), WELL, &["Nobody waits"]);
    let holder = Foreigner::hold(&site, CIDR);
    let mut add = network.call("ADD", &Pod::new("waits")).start();
    await_in_line(&site, 1, &mut add);
    let queues = json_of(&site, &["queue"]);
    let queue = &queues[0];
    assert_eq!(queue["range"], CIDR);
    assert_eq!(queue["holder"]["container"], "foreigner");
    assert_eq!(queue["holder"]["verb"], "ADD");
    assert_eq!(queue["offered"], json!(false));
    assert_eq!(
        queue["holder"]["lease_seconds_left"]
            .as_u64()
            .map(|left| left > 200),
        Some(true)
    );
    assert_eq!(queue["waiting"].as_array().map(Vec::len), Some(1));
    let waiting = &queue["waiting"][0];
    assert_eq!(
        (&waiting["container"], &waiting["verb"]),
        (&json!("waits"), &json!("ADD"))
    );
    assert!(waiting["not_before"].is_string(), "{waiting}");
    assert_eq!(waiting["not_after"], json!(null));
    assert_eq!(waiting.get("lease_seconds_left"), None, "{waiting}");
    let table = on(&site, &["queue", CIDR]).run();
    assert_said(
        &table,
        WELL,
        &["holder", "foreigner", " of 300 s", "waits", "ADD"],
    );
    let other = on(&site, &["queue", "10.9.0.0/24"]).run();
    assert_said(&other, WELL, &["Nobody waits"]);
    holder.leave(&site);
    assert_eq!(add.finish().address(), "10.0.0.2/24");
    assert_said(&on(&site, &["queue"]).run(), WELL, &["Nobody waits"]);
}

/// The lock was offered to one that was killed, and nobody else has come since.
#[test]
fn the_queue_shows_that_a_lock_is_offered_and_who_it_waits_for() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &network, "ADD", &Pod::new("dead"));
    holder.leave(&site);
    let queue = json_of(&site, &["queue"])[0].clone();
    assert_eq!(
        (&queue["holder"], &queue["offered"]),
        (&json!(null), &json!(true))
    );
    assert_eq!(
        (
            &queue["offered_to"]["container"],
            &queue["offered_to"]["verb"]
        ),
        (&json!("dead"), &json!("ADD"))
    );
    assert_eq!(queue["waiting"][0]["container"], "dead");
    let row = on(&site, &["queue"]).run().stdout;
    let row = row.lines().find(|line| line.contains("offered to"));
    assert!(row.is_some_and(|row| row.contains("dead")), "{row:?}");
    network.del(&Pod::new("dead")).assert_silent();
    assert_eq!(json_of(&site, &["queue"]), json!([]));
}

/// Its holder has crashed, and nobody else has come since.
#[test]
fn the_queue_shows_tickets_of_a_lock_that_nobody_has() {
    let site = Site::shared();
    let network = site.network(CIDR);
    let holder = Foreigner::hold(&site, CIDR);
    kill_in_line(&site, &network, "ADD", &Pod::new("dead"));
    holder.crash(&site);
    let queue = json_of(&site, &["queue"])[0].clone();
    assert_eq!(
        (&queue["holder"], &queue["offered"]),
        (&json!(null), &json!(false))
    );
    assert_eq!(queue["waiting"][0]["container"], "dead");
}

#[test]
fn what_cannot_be_read_of_a_queue_is_told_and_the_rest_is_shown() {
    let site = Site::shared();
    let holder = Foreigner::hold(&site, CIDR);
    // It keeps its lease.
    let lock = Write::Rewrite {
        key: site.keys().encode(&lock_key(CIDR)),
        value: vec![2],
    };
    let pod = Pod::new("newer");
    let ticket = Write::Put {
        key: site.keys().encode(&ticket_key(CIDR, QueuedVerb::Add, &pod)),
        value: newer_ticket(&pod),
        lease: 0,
    };
    put(&site, lock);
    put(&site, ticket);
    let told = on(&site, &["queue", "-o", "json"]).run();
    assert_said(&told, FOUND, &["format version 2"]);
    let queue = told.json()[0].clone();
    assert_eq!(queue["holder"]["container"], json!(null));
    assert!(queue["holder"]["lease_seconds_left"].is_u64(), "{queue}");
    assert_eq!(queue["waiting"][0]["container"], "newer");
    holder.crash(&site);
}
