//! Rounds against an API server that is made up, on a real store of one file.

mod owners;
mod places;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use clap::Parser;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use whereabouts_controller::Election;
use whereabouts_core::address::{Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Owner, Want};
use whereabouts_core::registry::{Released, Taken};
use whereabouts_reconcile::{Evidence, Rules, Standing, Stay};

use super::once::asking_thread;
use super::records::{Listing, Records};
use super::round::{AllRules, Candidate, Ended, Findings, Rounds, connect};
use crate::connection::{Connection, DatastoreOptions};
use crate::selection::choose;

const GRACE: Duration = Duration::from_millis(50);
/// The bound of a look: less than that of one question.
const LOOK: Duration = Duration::from_secs(2);
const UID: &str = "0f5d7e7c-3c5b-4f3e-9a53-2f1b6a1e8d10";
const POD: &str = "/api/v1/namespaces/default/pods/web-0";
const NODE: &str = "/api/v1/nodes/node-a";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/reconcile";
const EVENTS: &str = "/api/v1/namespaces/default/events";

/// An API server.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By path.
    answers: BTreeMap<String, (u16, Value)>,
    /// Paths and bodies of the requests that wrote.
    written: Vec<(String, Value)>,
    /// Paths that give no answer.
    silent: BTreeSet<String>,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    fn answer(&self, path: &str, status: u16, body: Value) {
        self.state().answers.insert(path.to_owned(), (status, body));
    }

    fn silence(&self, path: &str) {
        self.state().silent.insert(path.to_owned());
    }

    fn forget(&self, path: &str) {
        self.state().answers.remove(path);
    }

    fn written(&self) -> Vec<(String, Value)> {
        self.state().written.clone()
    }
}

async fn respond(
    extract::State(fake): extract::State<Fake>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let is_silent = fake.state().silent.contains(&path);
    if is_silent {
        std::future::pending::<()>().await;
    }
    let mut state = fake.state();
    if method == Method::POST || method == Method::PUT {
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        state.written.push((path, body.clone()));
        return (StatusCode::CREATED, axum_json(&body)).into_response();
    }
    let (status, body) = state
        .answers
        .get(&path)
        .cloned()
        .unwrap_or_else(|| not_found(&path));
    (
        StatusCode::from_u16(status).expect("a status"),
        axum_json(&body),
    )
        .into_response()
}

fn axum_json(body: &Value) -> impl IntoResponse + use<> {
    ([("content-type", "application/json")], body.to_string())
}

/// As the API server says that an object does not exist.
fn not_found(path: &str) -> (u16, Value) {
    let mut parts = path.rsplit('/');
    let (name, kind) = (parts.next(), parts.next());
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found",
        "reason": "NotFound", "details": {"name": name, "kind": kind}, "code": 404});
    (404, body)
}

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    etcd: DatastoreOptions,
}

pub(super) struct Site {
    fake: Fake,
    etcd: DatastoreOptions,
    rounds: Rounds,
    pub(super) asking: Handle,
    pub(super) api: whereabouts_controller::ApiServer,
}

pub(super) fn site(folder: &Path) -> Site {
    site_with(folder, &[])
}

/// A site with more options of the datastore.
fn site_with(folder: &Path, more: &[&str]) -> Site {
    let asking = asking_thread().expect("a thread");
    let fake = Fake::default();
    let router = Router::new().fallback(respond).with_state(fake.clone());
    let listener = asking
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    asking.spawn(async { drop(axum::serve(listener, router).await) });
    let kubeconfig = folder.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).expect("it is written");
    let store = folder.join("store");
    std::fs::create_dir(&store).expect("it is made");
    let store = store.join("file.sqlite");
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    let (store, kubeconfig) = (path(&store), path(&kubeconfig));
    let options = ["x", "--local-path", &store, "--kubeconfig", &kubeconfig];
    let options = options.into_iter().chain(more.iter().copied());
    let etcd = Options::parse_from(options).etcd.sharing_kubeconfig();
    let api = connect(&asking, &etcd).expect("it is read");
    let api = api.looking_for(LOOK);
    let rules = Rules {
        grace: GRACE,
        run: GRACE,
        force: false,
    };
    Site {
        rounds: Rounds::new(
            &etcd,
            &api,
            &asking,
            &AllRules {
                claims: rules,
                owners: rules,
            },
            Duration::ZERO,
        ),
        fake,
        etcd,
        asking,
        api,
    }
}

impl Site {
    fn add(&self, container: &str) {
        self.added(container, false);
    }

    /// A durable claim, and its owner.
    fn add_durable(&self, container: &str) {
        self.added(container, true);
    }

    fn added(&self, container: &str, is_durable: bool) {
        let name = |text: &str| Name::new(text).expect("a name");
        let owner = Owner {
            node: Some("node-a".to_owned()),
            pod_namespace: Some("default".to_owned()),
            pod_name: Some("web-0".to_owned()),
            pod_uid: Some(UID.to_owned()),
            is_durable,
            ..Owner::default()
        };
        let ask = Ask {
            attachment: Attachment {
                network: name("net"),
                container: name(container),
                interface: "net1".to_owned(),
            },
            wants: vec![Want::lowest(&range())],
            owner,
            may_take_over: true,
        };
        let taken = Connection::open(&self.etcd).expect("it opens").take(&ask);
        assert!(
            matches!(taken, Ok(Taken::Granted(_) | Taken::Revived(_))),
            "{taken:?}"
        );
    }

    /// DEL: the claim goes, and its durable owner rests.
    fn del(&self) {
        let connection = Connection::open(&self.etcd).expect("it opens");
        let chosen = choose(&connection, |_| true).expect("claims");
        let shown = &chosen.claims[0];
        let released = connection.release(&shown.attachment, &shown.claim);
        assert!(matches!(released, Ok(Released::Done)), "{released:?}");
    }

    fn round(&mut self) -> Findings {
        let cache = self.asking.block_on(self.api.list_pods()).expect("a list");
        self.rounds
            .round(&cache, |_| false, |_| false)
            .expect("a round")
    }

    fn standing(&mut self) -> Standing {
        let mut found = self.round();
        found.candidates.remove(0).standing
    }

    fn list(&self, uids: &[&str]) {
        let items = uids
            .iter()
            .map(|uid| json!({"metadata": {"name": "web-0", "namespace": "default", "uid": uid}}));
        let items: Vec<Value> = items.collect();
        let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items});
        self.fake.answer("/api/v1/pods", 200, list);
    }
}

/// Takes part in the election of the Lease `reconcile` until it leads, or for a moment. Returns whether it led.
fn elect(site: &Site) -> bool {
    let election = Election::new(&site.api, "kube-system", "reconcile", "me");
    let leadership = election.leadership();
    let report = |reason: &str| panic!("{reason}");
    let led = Arc::new(AtomicBool::new(false));
    let end = {
        let led = led.clone();
        async move {
            for _ in 0..20 {
                if leadership.is_held() {
                    led.store(true, Ordering::Relaxed);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    site.asking.block_on(election.run(end, report));
    led.load(Ordering::Relaxed)
}

fn range() -> Range {
    let cidr = "10.9.0.0/29".parse().expect("a CIDR");
    Range::new(RangeSpec::of(cidr)).expect("a range")
}

fn released(rounds: &mut Rounds, candidate: &Candidate) -> Result<(), String> {
    let ended = rounds.release(candidate, Evidence::NodeGone);
    rounds.tell_all();
    match ended {
        Ended::Released => Ok(()),
        Ended::Stayed(reason) => Err(reason),
    }
}

#[test]
fn a_claim_of_a_dead_node_is_released_and_its_event_names_the_evidence() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site(folder.path());
    site.add("c1");
    site.list(&[]);
    assert!(matches!(site.standing(), Standing::Waiting(_)));
    thread::sleep(2 * GRACE);
    let found = site.round();
    assert_eq!(
        found.candidates[0].standing,
        Standing::Releasable(Evidence::NodeGone)
    );
    assert_eq!(released(&mut site.rounds, &found.candidates[0]), Ok(()));
    let written = site.fake.written();
    assert_eq!(written.len(), 1, "{written:?}");
    let (path, event) = &written[0];
    assert_eq!(
        (path.as_str(), &event["involvedObject"]["uid"]),
        (EVENTS, &json!(UID))
    );
    let message = event["message"].as_str().unwrap_or_default();
    assert!(message.ends_with("node node-a: node-gone"), "{message}");
    assert_eq!(site.round().claims, 0);
}

#[test]
fn claims_are_read_again_only_if_the_datastore_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = site(folder.path());
    site.add("c1");
    let connection = Connection::open(&site.etcd).expect("it opens");
    let mut claims = Records::new(Duration::ZERO);
    let place = |read: &Listing| read.claims.as_ptr_range();
    let first = place(claims.read(&connection).expect("claims"));
    let again = claims.read(&connection).expect("claims");
    assert_eq!(place(again), first, "the same claims");
    let shown = again.claims[0].clone();
    let released = connection.release(&shown.attachment, &shown.claim);
    assert!(matches!(released, Ok(Released::Done)));
    assert!(claims.read(&connection).expect("claims").claims.is_empty());
}

#[test]
fn a_leader_that_ends_frees_its_lease_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = site(folder.path());
    let lease = |holder: &str| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "reconcile", "resourceVersion": "7"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 30, "leaseTransitions": 3}})
    };
    site.fake.answer(LEASE, 200, lease("me"));
    assert!(elect(&site));
    let written = site.fake.written();
    let holders: Vec<_> = written
        .iter()
        .map(|(_, lease)| &lease["spec"]["holderIdentity"])
        .collect();
    assert_eq!(holders, [&json!("me"), &Value::Null]);
    let (path, freed) = &written[1];
    assert_eq!(path, LEASE);
    assert_eq!(freed["metadata"]["resourceVersion"], "7");
    assert_eq!(freed["spec"]["leaseTransitions"], 3);
    site.fake.answer(LEASE, 200, lease("another"));
    assert!(!elect(&site));
    assert_eq!(site.fake.written().len(), 2, "it writes nothing");
}

#[test]
fn a_claim_that_changed_after_it_was_judged_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site(folder.path());
    site.add("c1");
    site.list(&[]);
    site.round();
    thread::sleep(2 * GRACE);
    let found = site.round();
    // The old container ends, and the same one is added again.
    assert_eq!(released(&mut site.rounds, &found.candidates[0]), Ok(()));
    site.add("c1");
    let again = released(&mut site.rounds, &found.candidates[0]);
    assert_eq!(again, Err("it has changed".to_owned()));
    assert_eq!(site.round().claims, 1);
}

#[test]
fn a_pod_that_is_there_an_error_and_a_strangers_404_keep_the_claim() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut site = site(folder.path());
    site.add("c1");
    site.list(&[UID]);
    assert!(
        site.round().candidates.is_empty(),
        "a pod that the list shows is not asked for"
    );
    site.list(&[]);
    let pod = |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "uid": uid}});
    site.fake.answer(POD, 200, pod(UID));
    assert_eq!(site.standing(), Standing::InUse(Stay::PodPresent));
    site.fake.answer(POD, 200, pod("another"));
    assert!(matches!(site.standing(), Standing::Waiting(_)));
    let status = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code});
    for (code, body) in [
        (500, status(500)),
        (403, status(403)),
        (404, status(404)),
        (404, json!({})),
        (200, json!({})),
    ] {
        site.fake.answer(POD, code, body.clone());
        let standing = site.standing();
        assert!(
            matches!(standing, Standing::InUse(Stay::Unknown(_))),
            "{code} {body}: {standing:?}"
        );
    }
    site.fake.forget(POD);
    for (code, body) in [
        (500, status(500)),
        (404, status(404)),
        (404, json!("page not found")),
    ] {
        site.fake.answer(NODE, code, body.clone());
        let standing = site.standing();
        assert!(
            matches!(standing, Standing::InUse(Stay::Unknown(_))),
            "{code} {body}: {standing:?}"
        );
    }
    site.fake.answer(
        NODE,
        200,
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}),
    );
    assert_eq!(site.standing(), Standing::InUse(Stay::NodeNotReady));
    assert!(site.fake.written().is_empty());
}
