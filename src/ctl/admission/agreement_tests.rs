//! Controllers that agree on one certificate, by an API server that is made up; and questions to a real store of one file.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use clap::Parser;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use whereabouts_controller::ApiServer;
use whereabouts_core::address::{Name, Range, RangeSpec};
use whereabouts_core::claim::{Ask, Attachment, Owner, RangeId, Want};
use whereabouts_core::registry::{Released, Taken};

use super::claims::Claims;
use super::judge::judge;
use super::stranded::Question;
use super::tests::{config, object, request, surroundings};
use super::tls::{OwnCertificate, Shown, certificate_of};
use crate::connection::{Connection, DatastoreOptions};
use crate::selection::choose;

/// The objects of an API server, and how many writes each had.
#[derive(Default)]
struct Objects {
    secret: Value,
    version: u64,
    webhooks: Value,
    /// The data that another replica writes just before the next write comes.
    forestalls: Option<Value>,
    conflicts: usize,
    patches: usize,
}

type Fake = Arc<Mutex<Objects>>;

fn locked(fake: &Fake) -> MutexGuard<'_, Objects> {
    fake.lock().expect("no panic")
}

/// The version of the Secret, the refused writes, and the writes of the webhook configuration.
fn counts(fake: &Fake) -> (u64, usize, usize) {
    let objects = locked(fake);
    (objects.version, objects.conflicts, objects.patches)
}

impl Objects {
    fn secret(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "data": self.secret,
            "metadata": {"name": "s", "namespace": "n", "resourceVersion": self.version.to_string()}})
    }

    fn replace(&mut self, sent: &Value) -> (StatusCode, Value) {
        if let Some(data) = self.forestalls.take() {
            self.secret = data;
            self.version += 1;
        }
        let version = self.version.to_string();
        if sent["metadata"]["resourceVersion"].as_str() != Some(&version) {
            self.conflicts += 1;
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "changed",
                "reason": "Conflict", "code": 409});
            return (StatusCode::CONFLICT, status);
        }
        self.secret = sent["data"].clone();
        self.version += 1;
        (StatusCode::OK, self.secret())
    }
}

async fn respond(State(fake): State<Fake>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut objects = locked(&fake);
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let is_secret = uri.path().contains("/secrets/");
    let (status, answer) = match (method, is_secret) {
        (Method::PUT, true) => objects.replace(&sent),
        (Method::PATCH, false) => {
            objects.patches += 1;
            objects.webhooks = sent["webhooks"].clone();
            (StatusCode::OK, configuration(&objects))
        }
        (_, true) => (StatusCode::OK, objects.secret()),
        (_, false) => (StatusCode::OK, configuration(&objects)),
    };
    let json = [("content-type", "application/json")];
    (status, json, answer.to_string()).into_response()
}

fn configuration(objects: &Objects) -> Value {
    let mut webhooks = json!([{"name": "a.b.c", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {}}]);
    webhooks[0]["clientConfig"]["caBundle"] =
        objects.webhooks[0]["clientConfig"]["caBundle"].clone();
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w", "resourceVersion": "7"}, "webhooks": webhooks})
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

async fn api(fake: &Fake) -> ApiServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let router = Router::new().fallback(respond).with_state(fake.clone());
    tokio::spawn(async { drop(axum::serve(listener, router).await) });
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).expect("it is written");
    let api = ApiServer::connect(Some(&kubeconfig)).await;
    api.expect("it is read")
}

fn own() -> OwnCertificate {
    OwnCertificate {
        namespace: "n".to_owned(),
        secret: "s".to_owned(),
        server: "whereabouts-webhook.n.svc".to_owned(),
        configurations: vec!["w".to_owned()],
    }
}

#[test]
fn a_replica_that_is_forestalled_shows_what_the_other_one_has_made() {
    run(async {
        let fake = Fake::default();
        let api = api(&fake).await;
        let (first, second) = (Shown::default(), Shown::default());
        own().look(&api, &first).await.expect("it makes one");
        assert_eq!(counts(&fake), (1, 0, 1));
        // The second one read the Secret before the first one wrote it.
        let made = locked(&fake).secret.clone();
        {
            let mut objects = locked(&fake);
            objects.secret = Value::Null;
            objects.forestalls = Some(made);
        }
        own()
            .look(&api, &second)
            .await
            .expect("it takes the other's");
        // The API server trusts it already.
        assert_eq!(counts(&fake), (2, 1, 1));
        assert!(certificate_of(&first).is_some());
        assert_eq!(certificate_of(&first), certificate_of(&second));
    });
}

#[test]
fn nothing_is_written_while_nothing_changes_and_a_lost_authority_is_told_again() {
    run(async {
        let fake = Fake::default();
        let api = api(&fake).await;
        let shown = Shown::default();
        for _ in 0..3 {
            own().look(&api, &shown).await.expect("it is well");
        }
        assert_eq!(counts(&fake), (1, 0, 1));
        locked(&fake).webhooks = Value::Null;
        own().look(&api, &shown).await.expect("it is well");
        assert_eq!(counts(&fake), (1, 0, 2));
    });
}

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    etcd: DatastoreOptions,
}

fn range() -> Range {
    let cidr = "10.9.0.0/30".parse().expect("a CIDR");
    Range::new(RangeSpec::of(cidr)).expect("a range")
}

fn take(etcd: &DatastoreOptions, container: &str) {
    take_for(etcd, container, Owner::default());
}

fn take_for(etcd: &DatastoreOptions, container: &str, owner: Owner) {
    let name = |text: &str| Name::new(text).expect("a name");
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
    let taken = Connection::open(etcd).expect("it opens").take(&ask);
    assert!(matches!(taken, Ok(Taken::Granted(_))), "{taken:?}");
}

#[test]
fn a_store_tells_stranded_claims_and_full_ranges() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.sqlite");
    let options = ["x", "--local-path", file.to_str().expect("text")];
    let etcd = Options::parse_from(options).etcd;
    let claims = Claims::start(&etcd).expect("a thread");
    let net = object("net", &config(&json!({"range": "10.9.0.0/30"})));
    let gone = judge(&request("DELETE", &Value::Null, &net), &surroundings(&[]));
    let question = &gone.questions[0];
    let wants = || vec![Want::lowest(&range())];
    take(&etcd, "one");
    run(async {
        assert_eq!(claims.full(wants()).await, Ok(None));
        let told = claims.stranded(question).await.told(question);
        let told = told.expect("one is stranded");
        assert!(told.starts_with("1 claim of network net"), "{told}");
        assert!(told.contains("such as 10.9.0.1 of container one"), "{told}");
    });
    take(&etcd, "two");
    run(async {
        let full = claims.full(wants()).await;
        assert_eq!(full, Ok(Some(RangeId::of(&range()))));
        assert_eq!(claims.stranded(question).await.count, 2);
    });
}

#[test]
fn a_store_tells_the_owners_at_rest_that_a_change_strands() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.sqlite");
    let options = ["x", "--local-path", file.to_str().expect("text")];
    let etcd = Options::parse_from(options).etcd;
    let claims = Claims::start(&etcd).expect("a thread");
    let net = |range: Value| object("net", &config(&range));
    let before = net(json!({"range": "10.9.0.0/30"}));
    let question = |after: Value| {
        let request = request("UPDATE", &net(after), &before);
        judge(&request, &surroundings(&[])).questions.remove(0)
    };
    let smaller = question(json!({"range": "10.9.0.0/30", "exclude": ["10.9.0.1/32"]}));
    let same = question(json!({"range": "10.9.0.0/30", "exclude": ["10.9.0.2/32"]}));
    let owner = Owner {
        pod_namespace: Some("default".to_owned()),
        pod_name: Some("web-0".to_owned()),
        is_durable: true,
        ..Owner::default()
    };
    take_for(&etcd, "one", owner);
    let told = |question: &Question| {
        let stranded = claims.stranded(question);
        let mut told = Vec::new();
        run(async { told = stranded.await.warnings(question) });
        told
    };
    let attached = told(&smaller);
    assert_eq!(attached.len(), 1, "the claim alone: {attached:?}");
    let connection = Connection::open(&etcd).expect("it opens");
    let chosen = choose(&connection, |_| true).expect("claims");
    let shown = &chosen.claims[0];
    let released = connection.release(&shown.attachment, &shown.claim);
    assert!(matches!(released, Ok(Released::Done)), "{released:?}");
    assert_eq!(
        told(&smaller),
        [
            "1 durable owner of network net would keep addresses outside of its ranges, such as 10.9.0.1 for pod default/web-0; their pods get no address (error 103) until the owners end"
        ]
    );
    assert_eq!(told(&same), [""; 0]);
}
