//! `serve --reap`: what `gc --netns` does, every so often.

use std::fs;
use std::path::PathBuf;

use super::Server;
use super::prometheus::Scrape;
use crate::plugin::{Pod, Site};
use crate::support::poll;

/// A file where a network namespace would be, while this is kept.
struct Namespace(PathBuf);

impl Namespace {
    fn make(name: &str) -> Self {
        fs::create_dir_all("/run/netns").expect("the tests run as root");
        let path = PathBuf::from("/run/netns").join(name);
        fs::write(&path, "").expect("the tests run as root");
        Self(path)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Another one of its name is as good.
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn what_is_in_a_namespace_that_is_gone_is_released_and_counted() {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let container = format!("reaped-{}", std::process::id());
    let namespace = Namespace::make(&format!("{container}-stays"));
    // An empty folder tells nothing.
    let _other = Namespace::make(&format!("{container}-other"));
    network
        .add(&Pod::new(&format!("{container}-stays")))
        .result();
    network
        .add(&Pod::new(&format!("{container}-gone")))
        .result();
    let elsewhere = network
        .clone()
        .ipam(serde_json::json!({"node_name": "node-2"}));
    elsewhere.add(&Pod::new("elsewhere")).result();
    let server = Server::of(
        &site,
        &["--reap", "100ms", "--node", "node-1", "--grace", "0s"],
    );
    let scrape = || Scrape::read(&server.get("/metrics"));
    let reaches = |name: &str, least: f64| {
        poll(name, || (scrape().value(name) >= least).then_some(()));
    };
    let released = "whereabouts_reaper_released_claims_total{evidence=\"netns-gone\"}";
    reaches(released, 1.0);
    server.await_claims(2);
    reaches("whereabouts_reaper_runs_total{result=\"done\"}", 3.0);
    site.assert_at_rest(2);
    drop(namespace);
    reaches(released, 2.0);
    server.await_claims(1);
    site.assert_at_rest(1);
}

#[test]
fn what_is_of_an_earlier_boot_is_released_at_the_start_whatever_its_namespace() {
    let site = Site::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let booted = |number: u8| {
        let path = folder.path().join(number.to_string());
        let id = format!("0000000{number}-0000-4000-8000-000000000000\n");
        fs::write(&path, id).expect("a temporary folder takes files");
        path.to_str().expect("a path is text").to_owned()
    };
    let (before, now) = (booted(1), booted(2));
    let network = |boot: &str| {
        let network = site.network("10.0.0.0/24");
        network.ipam(serde_json::json!({"boot_id_path": boot}))
    };
    let name = format!("booted-{}", std::process::id());
    let namespace = Namespace::make(&name);
    let pod = |container: &str| {
        let mut pod = Pod::new(container);
        namespace
            .0
            .to_str()
            .expect("a path is text")
            .clone_into(&mut pod.netns);
        pod
    };
    network(&before).add(&pod("lost")).result();
    network(&now).add(&pod("living")).result();
    let options = [
        "--reap",
        "100ms",
        "--node",
        "node-1",
        "--grace",
        "1h",
        "--boot-id-path",
        &now,
    ];
    let server = Server::of(&site, &options);
    let reaches = |name: &str, least: f64| {
        poll(name, || {
            let scrape = Scrape::read(&server.get("/metrics"));
            (scrape.value(name) >= least).then_some(())
        });
    };
    reaches("whereabouts_reaper_runs_total{result=\"done\"}", 3.0);
    reaches(
        "whereabouts_reaper_released_claims_total{evidence=\"earlier-boot\"}",
        1.0,
    );
    server.await_claims(1);
    site.assert_at_rest(1);
}

#[test]
fn a_reaper_without_an_etcd_counts_its_failures_and_goes_on() {
    fs::create_dir_all("/run/netns").expect("the tests run as root");
    let dead = crate::support::dead_endpoint();
    let etcd = ["--etcd-host", &dead];
    let reap = ["--reap", "100ms", "--node", "node-1"];
    let server = Server::start(&[&etcd[..], &reap].concat());
    poll("it fails again and again", || {
        let told = Scrape::read(&server.get("/metrics"));
        (told.value("whereabouts_reaper_runs_total{result=\"failed\"}") >= 2.0).then_some(())
    });
}
