//! The API server and the records are of one cluster.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use whereabouts_core::identity::Identity;
use whereabouts_reconcile::Rules;

use super::{GRACE, Options, site, site_with};
use crate::connection::DatastoreOptions;
use crate::reconcile::once::asking_thread;
use crate::reconcile::round::{AllRules, Rounds, connect};

const ROOT_CA: &str = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt";
const CA: &str = "-----BEGIN CERTIFICATE-----\nTUlJ\nQw==\n-----END CERTIFICATE-----\n";

/// Options whose flat file has the datastore kubernetes, with a kubeconfig for this address.
fn objects(folder: &Path, address: &str) -> DatastoreOptions {
    let kubeconfig = folder.join("whereabouts.kubeconfig");
    let text = json!({
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": address}}],
        "users": [{"name": "x", "user": {"token": "a token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).expect("it is written");
    let flat_file = folder.join("whereabouts.conf");
    let text = json!({"datastore": "kubernetes", "kubernetes": {"kubeconfig": kubeconfig}});
    std::fs::write(&flat_file, text.to_string()).expect("it is written");
    let flat_file = flat_file.to_str().expect("text");
    Options::parse_from(["x", "--configuration-path", flat_file]).etcd
}

#[test]
fn objects_are_judged_by_their_own_api_server_and_by_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let asking = asking_thread().expect("a thread");
    let etcd = objects(folder.path(), "https://127.0.0.1:1/k8s/a");
    let api = connect(&asking, &etcd).expect("the flat file names it");
    let server = api.server().expect("it is that of the datastore");
    assert_eq!(server.url(), "https://127.0.0.1:1/k8s/a");
    let rules = Rules {
        grace: GRACE,
        run: GRACE,
        force: false,
    };
    let rules = AllRules {
        claims: rules,
        owners: rules,
    };
    // Another person writes the kubeconfig, while the controller runs.
    objects(folder.path(), "https://127.0.0.1:1/k8s/b");
    let other = site(folder.path());
    other.list(&[]);
    let cache = asking.block_on(other.api.list_pods()).expect("a list");
    let mut rounds = Rounds::new(&etcd, &api, &asking, &rules, Duration::ZERO);
    let refused = rounds.round(&cache, |_| false, |_| false);
    let refused = refused.err().expect("two clusters");
    assert!(
        refused.contains("/k8s/a at the start, and is https://127.0.0.1:1/k8s/b now"),
        "{refused}"
    );
}

#[test]
fn an_api_server_judges_no_claims_of_another_cluster() {
    let own = Identity::of_file(CA.as_bytes());
    for (stored, is_refused) in [
        (own.as_str(), false),
        ("0123456789abcdef", true),
        // A name that a person gave cannot be compared.
        ("prod", false),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = site_with(folder.path(), &["--cluster-id", stored]);
        let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": {"ca.crt": CA}});
        site.fake.answer(ROOT_CA, 200, map);
        site.add("c1");
        site.list(&[]);
        let cache = site.asking.block_on(site.api.list_pods()).expect("a list");
        let round = site.rounds.round(&cache, |_| false, |_| false);
        let refused = round.err().unwrap_or_default();
        assert_eq!(!refused.is_empty(), is_refused, "{stored}: {refused}");
        if is_refused {
            for part in [stored, own.as_str()] {
                assert!(refused.contains(part), "{refused}");
            }
        }
    }
}

#[test]
fn an_error_tells_nothing_of_the_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site_with(folder.path(), &["--cluster-id", "0123456789abcdef"]);
    let status = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code});
    site.fake.answer(ROOT_CA, 500, status(500));
    site.add("c1");
    site.list(&[]);
    let cache = site.asking.block_on(site.api.list_pods()).expect("a list");
    let round = site.rounds.round(&cache, |_| false, |_| false);
    let refused = round.err().expect("nothing is known");
    assert!(refused.contains("kube-root-ca.crt"), "{refused}");
    // Without the right to read it, and without a CA, the two cannot be compared.
    site.fake.answer(ROOT_CA, 403, status(403));
    assert_eq!(site.round().candidates.len(), 1);
}

#[test]
fn the_last_listing_stays_after_rounds_that_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site_with(folder.path(), &["--cluster-id", "0123456789abcdef"]);
    let status = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code});
    site.fake.answer(ROOT_CA, 500, status(500));
    site.add("c1");
    site.list(&[]);
    let cache = site.asking.block_on(site.api.list_pods()).expect("a list");
    let round = site.rounds.round(&cache, |_| false, |_| false);
    round.err().expect("the API server gives no answer");
    let (store, away) = (folder.path().join("store"), folder.path().join("away"));
    std::fs::rename(&store, &away).expect("it is moved");
    for _ in 0..2 {
        let round = site.rounds.round(&cache, |_| false, |_| false);
        round.err().expect("the store is away");
        let listing = site
            .rounds
            .listing()
            .expect("the next one is compared with it");
        assert_eq!(listing.claims.len(), 1);
    }
    std::fs::rename(&away, &store).expect("it is moved");
    site.fake.answer(ROOT_CA, 403, status(403));
    assert_eq!(site.round().claims, 1);
    // Another controller leads for a while.
    site.rounds.forget();
    assert!(site.rounds.listing().is_some(), "it stays then, too");
}
