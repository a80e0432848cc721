//! etcd that cannot be reached, hangs, or does not let the plugin in.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::plugin::{
    Answer, Foreigner, Network, Pod, SilentNames, Site, TIMEOUT_S, await_in_line, log_folder, pods,
};
use crate::support::certificates::Certificates;
use crate::support::etcd::{Cluster, PASSWORD, Setup, Transport, Users};
use crate::support::{HangingEndpoint, dead_endpoint};

/// A verb that ends by its deadline ends not much later.
const LATEST: Duration = Duration::from_secs(TIMEOUT_S + 10);

/// A call that takes longer has waited without need.
const QUICK: Duration = Duration::from_secs(10);

fn within<T>(bound: Duration, act: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = act();
    let elapsed = begin.elapsed();
    assert!(elapsed < bound, "{elapsed:?}");
    done
}

/// ADD, DEL, CHECK and GC with etcd at `endpoint` are code 11 by their deadline.
fn check_unreachable(endpoint: &str) {
    let site = Site::shared();
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c");
    let previous = network.add(&pod).result();
    let before = site.entries();
    let unreachable = network.ipam(json!({"etcd_host": endpoint, "timeout": TIMEOUT_S}));
    let check = |answer: &dyn Fn() -> Answer| {
        within(LATEST, answer).assert_error(11, &["etcd is not available", "gave up after"]);
    };
    thread::scope(|scope| {
        scope.spawn(|| check(&|| unreachable.add(&Pod::new("d"))));
        scope.spawn(|| check(&|| unreachable.del(&pod)));
        scope.spawn(|| check(&|| unreachable.check(&pod, &previous)));
        scope.spawn(|| check(&|| unreachable.gc(Some(&[]))));
    });
    assert_eq!(site.entries(), before);
}

#[test]
fn every_verb_with_etcd_refusing_connections_is_code_11_by_its_deadline() {
    check_unreachable(&dead_endpoint());
}

#[test]
fn every_verb_with_etcd_hanging_is_code_11_by_its_deadline() {
    let hanging = HangingEndpoint::start();
    check_unreachable(&hanging.url());
}

/// To look a name up takes the C library some 10 s then, on a thread that nothing can end.
#[test]
fn status_with_a_name_server_that_hangs_is_code_50_by_its_deadline() {
    let names = SilentNames::start();
    let network = Site::shared().network("10.0.0.0/24");
    let network = network.ipam(json!({"etcd_host": "etcd.example"}));
    let call = names.around(network.call_without_pod("STATUS"));
    let answer = within(Duration::from_secs(5), || call.run());
    answer.assert_error(50, &["etcd is not available"]);
}

#[test]
fn del_when_unreachable_succeed_succeeds_and_logs_the_attachment_as_an_error() {
    let folder = log_folder();
    let log = folder.path().join("log");
    let network = Site::shared().network("10.0.0.0/24").ipam(json!({
        "etcd_host": dead_endpoint(), "timeout": TIMEOUT_S, "del_when_unreachable": "succeed",
        "log_file": log, "log_level": "error",
    }));
    within(LATEST, || network.del(&Pod::new("orphan"))).assert_silent();
    let log = fs::read_to_string(log).expect("it was written");
    assert_eq!(log.lines().count(), 1, "{log}");
    for part in [
        "ERROR",
        "eth0 of container orphan in network net",
        "refused",
    ] {
        assert!(log.contains(part), "no {part:?} in {log}");
    }
    network.add(&Pod::new("c")).assert_error(11, &[]);
}

/// A network whose DEL gives up early, and succeeds when etcd cannot be reached.
fn lenient(site: &Site) -> Network {
    let keys = json!({"timeout": TIMEOUT_S, "del_when_unreachable": "succeed"});
    site.network("10.0.0.0/24").ipam(keys)
}

#[test]
fn del_when_unreachable_succeed_does_not_succeed_in_a_busy_queue() {
    let site = Site::shared();
    let network = lenient(&site);
    let pod = Pod::new("c");
    network.add(&pod).result();
    let foreigner = Foreigner::hold(&site, "10.0.0.0/24");
    within(LATEST, || network.del(&pod)).assert_error(11, &["deadline"]);
    assert_eq!(site.audit().claims, 1, "nothing was released");
    foreigner.leave(&site);
    network.del(&pod).assert_silent();
    site.assert_at_rest(0);
}

/// The runtime asks again then, and hears nothing.
#[test]
fn del_when_unreachable_succeed_does_not_succeed_when_etcd_falls_silent_meanwhile() {
    let site = Site::of(Cluster::start(1));
    let network = lenient(&site);
    let pod = Pod::new("c");
    network.add(&pod).result();
    let foreigner = Foreigner::hold(&site, "10.0.0.0/24");
    let mut del = network.call("DEL", &pod).start();
    await_in_line(&site, 1, &mut del);
    site.cluster.members[0].pause();
    within(LATEST, || del.finish()).assert_error(11, &["deadline"]);
    within(LATEST, || network.del(&pod)).assert_silent();
    site.cluster.members[0].resume();
    assert_eq!(site.audit().claims, 1, "nothing was released");
    foreigner.crash(&site);
}

/// Adds and deletes a few, each process choosing by chance which endpoint it asks first.
fn check_serves(site: &Site, network: &Network) {
    let pods = pods(8);
    for pod in &pods {
        within(QUICK, || network.add(pod)).result();
    }
    for pod in &pods {
        within(QUICK, || network.del(pod)).assert_silent();
    }
    site.assert_at_rest(0);
}

fn beside(site: &Site, others: &[String; 2]) -> Network {
    let mut endpoints = others.to_vec();
    endpoints.extend(site.access().endpoints);
    site.network("10.0.0.0/24")
        .ipam(json!({"etcd_host": endpoints}))
}

#[test]
fn of_three_endpoints_two_may_be_dead() {
    let site = Site::shared();
    check_serves(&site, &beside(&site, &[dead_endpoint(), dead_endpoint()]));
}

#[test]
fn of_three_endpoints_two_may_hang() {
    let site = Site::shared();
    let hanging = [HangingEndpoint::start(), HangingEndpoint::start()];
    let urls = hanging.each_ref().map(HangingEndpoint::url);
    check_serves(&site, &beside(&site, &urls));
}

#[test]
fn of_three_members_one_may_hang_and_then_be_dead() {
    let site = Site::of(Cluster::start(3));
    let network = site.network("10.0.0.0/24");
    let (_, follower) = site.cluster.leader_and_follower();
    follower.pause();
    check_serves(&site, &network);
    follower.kill();
    check_serves(&site, &network);
}

#[test]
fn status_needs_no_quorum_but_add_does() {
    let site = Site::of(Cluster::start(3));
    let network = site.network("10.0.0.0/24");
    network.add(&Pod::new("c")).result();
    let (leader, follower) = site.cluster.leader_and_follower();
    leader.kill();
    follower.kill();
    // The one that is left may be asked last, and is when the others refuse.
    network.status().assert_silent();
    let late = network.ipam(json!({"timeout": TIMEOUT_S}));
    within(LATEST, || late.add(&Pod::new("d"))).assert_error(11, &[]);
}

/// A cluster for which a config needs keys beside those of where it is.
fn site_with(transport: Transport, users: Users) -> Site {
    Site::of(Cluster::with(Setup {
        transport,
        users,
        ..Setup::default()
    }))
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Value {
    let path = folder.join(name);
    fs::write(&path, content).expect("the folder can be written");
    json!(path)
}

#[test]
fn a_password_is_needed_where_there_are_users_and_a_wrong_one_is_code_105_and_not_shown() {
    let site = site_with(Transport::Plain, Users::Root);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let network = site.network("10.0.0.0/24");
    let pod = Pod::new("c");
    let login = |password: &str| {
        let keys = json!({"etcd_username": "root", "etcd_password": password});
        network.clone().ipam(keys)
    };
    let denied = within(QUICK, || login("wrong-and-secret").add(&pod));
    denied.assert_error(105, &["etcd refuses access", "authentication failed"]);
    assert!(!denied.stdout.contains("wrong-and-secret"), "{denied:?}");
    network.add(&pod).assert_error(105, &["user name is empty"]);
    let lenient = login("wrong").ipam(json!({"del_when_unreachable": "succeed"}));
    lenient.del(&pod).assert_error(105, &[]);
    let file = write(
        folder.path(),
        "password",
        format!("{PASSWORD}\n").as_bytes(),
    );
    let from_file = json!({"etcd_username": "root", "etcd_password_file": file});
    let from_file = network.clone().ipam(from_file);
    assert_eq!(from_file.add(&pod).address(), "10.0.0.1/24");
    login(PASSWORD).del(&pod).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn a_ca_is_enough_for_tls_and_a_wrong_one_is_code_105() {
    let site = site_with(Transport::Tls, Users::Anybody);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let right = site
        .access()
        .tls
        .and_then(|tls| tls.ca)
        .expect("it has TLS");
    let right = write(folder.path(), "ca.pem", &right);
    let wrong = Certificates::generate().authority;
    let wrong = write(folder.path(), "wrong.pem", wrong.as_bytes());
    let with = |ca| {
        site.network("10.0.0.0/24")
            .ipam(json!({"etcd_ca_cert_file": ca}))
    };
    let pod = Pod::new("c");
    let denied = within(QUICK, || with(wrong).add(&pod));
    denied.assert_error(105, &["etcd refuses access", "certificate"]);
    assert_eq!(with(right.clone()).add(&pod).address(), "10.0.0.1/24");
    with(right).del(&pod).assert_silent();
    site.assert_at_rest(0);
}

#[test]
fn an_endpoint_without_a_scheme_is_tls_when_there_is_a_certificate() {
    let site = site_with(Transport::MutualTls, Users::Anybody);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tls = site.access().tls.expect("it has TLS");
    let (certificate, key) = tls.identity.expect("it asks for one");
    let bare = site.access().endpoints[0].replace("https://", "");
    let network = site.network("10.0.0.0/24").ipam(json!({
        "etcd_host": bare,
        "etcd_ca_cert_file": write(folder.path(), "ca.pem", &tls.ca.expect("it has one")),
        "etcd_cert_file": write(folder.path(), "client.pem", &certificate),
        "etcd_key_file": write(folder.path(), "client.key", key.reveal().as_bytes()),
    }));
    assert_eq!(network.add(&Pod::new("c")).address(), "10.0.0.1/24");
    let plain = network.ipam(json!({"etcd_host": format!("http://{bare}")}));
    plain
        .add(&Pod::new("c"))
        .assert_error(7, &["etcd_host", "is not TLS"]);
}
