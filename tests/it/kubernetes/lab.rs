//! An API server with the manifests of the datastore, two nodes and their tokens.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use whereabouts_apiserver::{Access, Answer, Client, Request, Resource};
pub(super) use whereabouts_fixtures::apiserver::ACCOUNT;
use whereabouts_fixtures::apiserver::{ACCOUNTS_NAMESPACE, ApiServer};
use whereabouts_fixtures::poll;

const PATIENCE: Duration = Duration::from_secs(30);

/// The API server, and what the tests share.
pub(super) struct Lab {
    pub(super) server: ApiServer,
}

impl Lab {
    /// The lab that other tests use at the same time. The last one that lets go ends it.
    pub(super) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Lab>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let lab = Arc::new(Self::start());
            *shared = Arc::downgrade(&lab);
            lab
        })
    }

    /// A lab of its own.
    pub(super) fn start() -> Self {
        let server = ApiServer::start();
        server.install_datastore();
        server.make_nodes(["a", "b"]);
        let lab = Self { server };
        lab.await_policies();
        lab
    }

    pub(super) fn make_node(&self, name: &str) {
        self.server.make_nodes([name]);
    }

    /// A token of the account, bound to this node.
    pub(super) fn token(&self, node: &str) -> String {
        self.server.token(node)
    }

    /// The access of a node.
    pub(super) fn node(&self, node: &str) -> Access {
        self.server.with_token(&self.token(node))
    }

    /// The server follows roles and policies by watches, so a change is in force a moment later.
    fn await_policies(&self) {
        let node = self.node("a");
        let claim = claim("await-policies", "b");
        poll("the policy for claims is in force", || {
            denied_by(&create(&node, &claims(), &claim), "may not write a claim").then_some(())
        });
        let token = token_request(&json!({}));
        poll("the policy for tokens is in force", || {
            denied_by(&ask(&node, &token), "bound to this node").then_some(())
        });
        let block = block("await-policies", "10.255.255.0", 0..65);
        poll("the policy for blocks is in force", || {
            let answer = create(&node, &blocks(), &block);
            denied_by(&answer, "may take 64 addresses").then_some(())
        });
    }
}

/// Sends one request on a connection of its own.
pub(super) fn ask(access: &Access, request: &Request) -> Answer {
    let client = Client::new(access).expect("an access");
    run(client.send(request, PATIENCE))
}

/// Runs what needs a runtime.
pub(super) fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(what)
}

pub(super) fn create(access: &Access, resource: &Resource, object: &Value) -> Answer {
    ask(
        access,
        &Request::create(resource, object.to_string().into_bytes()),
    )
}

/// Replaces the object of the name that `object` has.
pub(super) fn replace(access: &Access, resource: &Resource, object: &Value) -> Answer {
    let name = object["metadata"]["name"].as_str().expect("a name");
    ask(
        access,
        &Request::replace(resource, name, object.to_string().into_bytes()),
    )
}

/// Deletes an object as the protocol does, with both preconditions.
pub(super) fn delete(access: &Access, resource: &Resource, object: &Value) -> Answer {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().expect("a name");
    let options = json!({"preconditions":
        {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}});
    ask(
        access,
        &Request::delete(resource, name, options.to_string().into_bytes()),
    )
}

/// The object in the body of an answer.
pub(super) fn object(answer: Answer) -> Value {
    let Answer::Done(body) = answer else {
        panic!("{answer:?}")
    };
    serde_json::from_slice(&body).expect("an object")
}

/// Whether the server refused, with these words.
pub(super) fn denied_by(answer: &Answer, words: &str) -> bool {
    matches!(answer, Answer::Denied(told) | Answer::Refused(told) if told.contains(words))
}

pub(super) fn assert_denied(answer: &Answer, words: &str) {
    assert!(
        denied_by(answer, words),
        "not denied with {words:?}: {answer:?}"
    );
}

pub(super) fn claims() -> Resource {
    resource("addressclaims")
}

pub(super) fn blocks() -> Resource {
    resource("addressblocks")
}

fn resource(plural: &'static str) -> Resource {
    Resource {
        group: whereabouts_kubernetes::GROUP,
        version: whereabouts_kubernetes::VERSION,
        plural,
        namespace: None,
    }
}

/// The accounts' names, of which a request for a token is made.
fn accounts() -> Resource {
    Resource {
        group: "",
        version: "v1",
        plural: "serviceaccounts",
        namespace: Some(ACCOUNTS_NAMESPACE.to_owned()),
    }
}

/// A request for a token of the account of the nodes.
pub(super) fn token_request(spec: &Value) -> Request {
    let body =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    Request::create_in(&accounts(), ACCOUNT, "token", body.to_string().into_bytes())
}

/// A claim of a node.
pub(super) fn claim(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "ipam.whereabouts.internal/v1alpha1", "kind": "AddressClaim",
        "metadata": {"name": name, "labels": {"ipam.whereabouts.internal/node": node}},
        "spec": {
            "network": "net", "container": name, "interface": "eth0", "attempt": "1", "addedMs": 1,
            "owner": {"node": node, "podNamespace": "default", "podName": "web-0"},
            "wants": [{"pool": {}, "cidr": "10.0.0.0/24", "current": "v4-0-0a0000", "windows": [{"first": 1, "last": 254}]}],
        },
    })
}

/// A block with these bits, each of a claim of its own.
pub(super) fn block(name: &str, base: &str, bits: std::ops::Range<u16>) -> Value {
    let taken = |bit: u16| json!(format!("c-{bit}/u-{bit}"));
    let taken: serde_json::Map<_, _> = bits.map(|bit| (bit.to_string(), taken(bit))).collect();
    json!({
        "apiVersion": "ipam.whereabouts.internal/v1alpha1", "kind": "AddressBlock",
        "metadata": {"name": name, "labels": {"ipam.whereabouts.internal/state": "open"}},
        "spec": {"pool": {}, "base": base, "round": 1, "taken": taken},
    })
}
