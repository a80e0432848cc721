//! How what is known of etcd stays current: through outages, compactions and expired logins.

use std::fs;
use std::time::{Duration, Instant};

use whereabouts_core::address::{Name, Pool};
use whereabouts_core::claim::{Attachment, Claim, Held, Owner, RangeId};
use whereabouts_store::Write;
use whereabouts_store::keys::Key;
use whereabouts_store::listing::list;
use whereabouts_store::record;

use super::Server;
use super::relay::Relay;
use crate::plugin::{Pod, Site, put};
use crate::support::etcd::{Cluster, PASSWORD, Setup, Users};
use crate::support::{poll, run};

/// The claim of a container, put by hand.
fn claim(site: &Site, container: &str, address: &str) {
    let address = address.parse::<std::net::IpAddr>().expect("an address");
    let range = RangeId {
        pool: Pool::default(),
        cidr: "10.0.0.0/24".parse().expect("a CIDR"),
    };
    let claim = Claim {
        held: vec![Held {
            range,
            address: address.into(),
        }],
        usable: Vec::new(),
        owner: Owner::default(),
        created: Duration::ZERO,
    };
    let key = Key::Claim(Attachment {
        network: Name::new("net").expect("a name"),
        container: Name::new(container).expect("a name"),
        interface: "eth0".to_owned(),
    });
    let write = Write::Put {
        key: site.keys().encode(&key),
        value: record::encode_claim(&claim),
        lease: 0,
    };
    put(site, write);
}

#[test]
fn an_etcd_that_hangs_is_told_of_and_what_happens_afterwards_is_known_again() {
    let site = Site::of(Cluster::start(1));
    site.network("10.0.0.0/24").add(&Pod::new("a")).result();
    let server = Server::of(&site, &[]);
    let etcd = &site.cluster.members[0];
    etcd.pause();
    let away = server.await_state("away");
    assert!(
        away["since"].is_string() && away["reason"].is_string(),
        "{away}"
    );
    assert_eq!(away["claims"], 1, "what was known is still told");
    assert!(server.get("/metrics").contains("whereabouts_etcd_up 0"));
    etcd.resume();
    server.await_state("live");
    site.network("10.0.0.0/24").add(&Pod::new("b")).result();
    server.await_claims(2);
    assert!(
        server
            .get("/metrics")
            .contains("whereabouts_etcd_listings_total 1\n"),
        "it went on where it was"
    );
}

/// The arguments for one that reaches `site` through `relay`.
fn through<'a>(relay: &'a Relay, site: &'a Site) -> [&'a str; 4] {
    ["--etcd-host", &relay.url, "--etcd-prefix", &site.prefix]
}

#[test]
fn a_login_that_has_expired_is_renewed() {
    let ttl = Duration::from_secs(1);
    let site = Site::of(Cluster::with(Setup {
        users: Users::Root,
        arguments: &["--auth-token-ttl", "1"],
        ..Setup::default()
    }));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).expect("the folder can be written");
    let password = password.to_str().expect("a path is text");
    let login = ["--etcd-username", "root", "--etcd-password-file", password];
    let relay = Relay::to(&site.cluster.members[0].url);
    claim(&site, "a", "10.0.0.1");
    let server = Server::start(&[&through(&relay, &site)[..], &login].concat());
    server.await_claims(1);
    // A watch is the only use of the login, and renews nothing.
    let begun = Instant::now();
    poll("the login has expired", || {
        (begun.elapsed() > 3 * ttl).then_some(())
    });
    claim(&site, "b", "10.0.0.2");
    server.await_claims(2);
    // A new watch needs a new login.
    relay.cut();
    server.await_state("away");
    relay.mend();
    claim(&site, "c", "10.0.0.3");
    server.await_state("live");
    server.await_claims(3);
    assert!(!server.get("/metrics").contains(PASSWORD));
}

#[test]
fn what_etcd_has_forgotten_meanwhile_is_read_anew() {
    let site = Site::of(Cluster::start(1));
    claim(&site, "a", "10.0.0.1");
    let relay = Relay::to(&site.cluster.members[0].url);
    let server = Server::start(&through(&relay, &site));
    server.await_claims(1);
    relay.cut();
    server.await_state("away");
    for number in 2..20 {
        claim(&site, &format!("c{number}"), &format!("10.0.0.{number}"));
    }
    let revision = run(list(&site.store(), &site.keys()))
        .expect("it is there")
        .revision;
    site.cluster.etcdctl(&["compaction", &revision.to_string()]);
    relay.mend();
    server.await_claims(19);
    assert!(
        server
            .get("/metrics")
            .contains("whereabouts_etcd_listings_total 2\n")
    );
}

/// More changes than one message of gRPC takes by default, so that a watch must be told in parts.
#[test]
fn an_outage_with_many_changes_is_caught_up_with_and_no_old_state_is_live() {
    let site = Site::of(Cluster::start(1));
    claim(&site, "a", "10.0.0.1");
    let relay = Relay::to(&site.cluster.members[0].url);
    let server = Server::start(&through(&relay, &site));
    // A watch that ends before it was live is begun anew, with a listing.
    server.await_state("live");
    relay.cut();
    server.await_state("away");
    // 12 MB in 600 revisions, which etcd would tell in one message.
    let key = site.keys().with_prefix(b"claim/net/large/eth0");
    for number in 0..600_u32 {
        let mut value = vec![99; 20_000];
        value.extend(number.to_be_bytes());
        let key = key.clone();
        put(
            &site,
            Write::Put {
                key,
                value,
                lease: 0,
            },
        );
    }
    claim(&site, "b", "10.0.0.2");
    relay.mend();
    let live = server.await_state("live");
    let known = (&live["claims"], &live["unreadable"]);
    assert_eq!(
        known,
        (&2.into(), &1.into()),
        "what is live is whole: {live}"
    );
    assert!(
        server
            .get("/metrics")
            .contains("whereabouts_etcd_listings_total 1\n"),
        "it went on where it was"
    );
}

/// More bytes than one answer may have.
#[test]
fn a_listing_of_large_values_is_read_in_smaller_pages() {
    let site = Site::of(Cluster::start(1));
    for number in 0..60 {
        let key = site
            .keys()
            .with_prefix(format!("claim/net/{number:02}/eth0").as_bytes());
        let value = vec![99; 1_400_000];
        put(
            &site,
            Write::Put {
                key,
                value,
                lease: 0,
            },
        );
    }
    let listing = run(list(&site.store(), &site.keys())).expect("it is read");
    assert_eq!(listing.entries.len(), 60);
    let server = Server::of(&site, &[]);
    assert_eq!(server.await_state("live")["unreadable"], 60);
}
