//! STATUS: whether an ADD could be served, told quickly and without a lock.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::plugin::{Pod, Site, TIMEOUT_S, pods};
use crate::support::{HangingEndpoint, dead_endpoint};

/// More than STATUS may take, on a machine that is not busy with other tests.
const SOON: Duration = Duration::from_millis(1500);

#[test]
fn status_of_a_range_with_room_succeeds_and_says_nothing() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/30");
    network.status().assert_silent();
    network.add(&Pod::new("one")).result();
    network.status().assert_silent();
}

#[test]
fn status_of_a_full_range_is_code_50_unless_status_when_full_says_ok() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/30");
    for pod in pods(2) {
        network.add(&pod).result();
    }
    network
        .status()
        .assert_error(50, &["range 10.0.0.0/30", "is full"]);
    let patient = network.clone().ipam(json!({"status_when_full": "ok"}));
    patient.status().assert_silent();
    network.del(&pods(1)[0]).assert_silent();
    network.status().assert_silent();
}

#[test]
fn status_of_a_dual_stack_config_is_code_50_when_one_range_is_full() {
    let site = Site::shared();
    let six = site.network("fd00::/127");
    for pod in pods(2) {
        six.add(&pod).result();
    }
    let both = site
        .network("10.0.0.0/24")
        .ipam(json!({"ipRanges": [{"range": "fd00::/127"}]}));
    both.status().assert_error(50, &["fd00::/127"]);
}

#[test]
fn status_does_not_mind_that_a_requested_address_is_taken() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("one")).result();
    let requesting = network.config(json!({"runtimeConfig": {"ips": ["10.0.0.1/24"]}}));
    requesting.status().assert_silent();
}

#[test]
fn status_of_a_config_that_allocates_nothing_succeeds() {
    let network = Site::shared().without_range();
    let network = network.ipam(json!({"addresses": [{"address": "172.16.0.9/16"}]}));
    network.status().assert_silent();
}

#[test]
fn status_writes_nothing() {
    let site = Site::shared();
    site.network("10.0.0.0/24").status().assert_silent();
    assert_eq!(site.entries(), []);
}

/// STATUS of a config whose etcd is at `endpoint` ends early with code 50.
fn check_unreachable(endpoint: &str) {
    let network = Site::shared().network("10.0.0.0/24");
    let network = network.ipam(json!({"etcd_host": endpoint, "timeout": TIMEOUT_S}));
    // One of a few: other tests may keep the machine busy.
    let ends_soon = (0..5).any(|_| {
        let begin = Instant::now();
        let failed = network.status();
        let elapsed = begin.elapsed();
        failed.assert_error(50, &["no address can be given"]);
        elapsed < SOON
    });
    assert!(ends_soon);
}

#[test]
fn status_with_etcd_down_is_code_50_in_less_than_1500_ms() {
    check_unreachable(&dead_endpoint());
}

#[test]
fn status_with_etcd_hanging_is_code_50_in_less_than_1500_ms() {
    let hanging = HangingEndpoint::start();
    check_unreachable(&hanging.url());
}
