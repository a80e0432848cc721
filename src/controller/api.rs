//! Questions to the API server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Api, Client, Config, Error};
use serde_json::{Value, json};
use tokio::time::{timeout, timeout_at};
use whereabouts_apiserver::{Access, Server};
use whereabouts_core::identity::Identity;
use whereabouts_core::secret::Secret;
use whereabouts_reconcile::{Answer, Look, NodeState, PodName, Round};

use crate::identity::of_authorities;
use crate::node::{renewed, state};
use crate::pods::PodCache;

/// How long the API server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Questions that are under way at the same time.
pub(crate) const AT_ONCE: usize = 8;

/// How long all questions of one look may take together. The rest is unknown, so it is evidence of nothing.
const LOOK: Duration = Duration::from_mins(2);

/// Pods in one page of a list.
const PAGE: u32 = 500;

/// The file of a pod's CA, which is that of the ConfigMap `kube-root-ca.crt`.
const ROOT_CA_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// The namespace of the nodes' Leases.
const NODE_LEASES: &str = "kube-node-lease";

/// The API server of one cluster.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) client: Client,
    requests: Arc<AtomicU64>,
    /// The server, if this client was made of an access to it.
    server: Option<Server>,
    look: Duration,
    /// The identities of the authorities that this client trusts.
    pub(crate) authorities: Arc<[Identity]>,
    /// Whether these authorities come from the ConfigMap from which nodes derive the identity.
    pub(crate) trusts_root_ca: bool,
    /// The identities of the cluster, once they are known.
    pub(crate) identities: Arc<OnceLock<Vec<Identity>>>,
}

impl ApiServer {
    /// The API server that `kubeconfig` names, or the one of the cluster in which this process runs, or else the one of the
    /// user's own configuration. Must be called on a runtime of tokio.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, String> {
        let config = match kubeconfig {
            Some(path) => from_file(path).await?,
            None => Config::infer()
                .await
                .map_err(|error| format!("no API server is known: {error}"))?,
        };
        Self::of(config, None)
    }

    /// The API server that `access` reaches. Nothing else names it: neither a variable nor another file. Must be called on a
    /// runtime of tokio.
    pub async fn at(access: &Access) -> Result<Self, String> {
        Self::of(of_access(access).await?, Some(access.server.clone()))
    }

    fn of(mut config: Config, server: Option<Server>) -> Result<Self, String> {
        // A request that was sent again may be done twice: POST, too, would be sent again.
        config.default_retry = false;
        let authorities = of_authorities(&config).into();
        let trusts_root_ca = config.root_cert_file.as_deref() == Some(Path::new(ROOT_CA_FILE));
        let client = Client::try_from(config)
            .map_err(|error| format!("the API server: {}", told(&error)))?;
        Ok(Self {
            client,
            requests: Arc::default(),
            server,
            look: LOOK,
            authorities,
            trusts_root_ca,
            identities: Arc::default(),
        })
    }

    /// The same API server, with another bound for all questions of one look.
    #[must_use]
    pub fn looking_for(self, look: Duration) -> Self {
        Self { look, ..self }
    }

    /// The end of a look that begins now.
    pub(crate) fn look_end(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.look
    }

    /// The server, if this client was made of an access to it.
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// How many requests have been sent, besides those of watches.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Asks what `round` needs: first for nodes, then for the pods of nodes that allow evidence. `start` is the zero of the
    /// look's time.
    pub async fn look(&self, round: &Round, start: Instant) -> Look {
        let begun = start.elapsed();
        let end = self.look_end();
        let nodes = stream::iter(round.nodes()).map(async |name| {
            let state = until(end, self.node(name)).await;
            (name.to_owned(), state.unwrap_or_else(NodeState::Unknown))
        });
        let nodes: BTreeMap<String, NodeState> = nodes.buffer_unordered(AT_ONCE).collect().await;
        let pods = stream::iter(round.pods(&nodes)).map(async |name| {
            let answer = until(end, self.pod(name)).await;
            (name.clone(), answer.unwrap_or_else(Err))
        });
        let pods = pods.buffer_unordered(AT_ONCE).collect().await;
        Look {
            begun,
            ended: start.elapsed(),
            nodes,
            pods,
        }
    }

    /// The names and UIDs of all pods now.
    pub async fn list_pods(&self) -> Result<PodCache, String> {
        let api: Api<Pod> = Api::all(self.client.clone());
        let mut uids = Vec::new();
        let mut parameters = kube::api::ListParams::default().limit(PAGE);
        loop {
            let listed = self.bounded(api.list_metadata(&parameters)).await;
            let listed = listed.map_err(|error| format!("the list of pods: {}", told(&error)))?;
            uids.extend(listed.items.into_iter().filter_map(|pod| pod.metadata.uid));
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(PodCache::of(uids)),
            }
        }
    }

    async fn node(&self, name: &str) -> NodeState {
        let api: Api<Node> = Api::all(self.client.clone());
        match found(name, "nodes", self.bounded(api.get(name)).await) {
            Ok(None) => NodeState::Missing,
            Ok(Some(node)) => state(&node, || self.lease(name)).await,
            Err(reason) => NodeState::Unknown(reason),
        }
    }

    /// The time of the last renewal of a node's Lease.
    async fn lease(&self, node: &str) -> Result<String, String> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), NODE_LEASES);
        let lease = found(node, "leases", self.bounded(api.get(node)).await)?;
        let renewed = lease.as_ref().and_then(renewed);
        renewed.ok_or_else(|| format!("node {node} is Ready, and has no renewed Lease"))
    }

    pub(crate) async fn pod(&self, name: &PodName) -> Answer {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &name.namespace);
        let pod = found(
            &name.name,
            "pods",
            self.bounded(api.get_metadata(&name.name)).await,
        )?;
        let no_uid = || format!("pod {}/{} has no UID", name.namespace, name.name);
        pod.map(|pod| pod.metadata.uid.ok_or_else(no_uid))
            .transpose()
    }

    /// Sends one request, which has one answer within a bound.
    pub(crate) async fn bounded<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> kube::Result<T> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let late = |_| Error::Service(format!("no answer in {PATIENCE:?}").into());
        timeout(PATIENCE, request).await.map_err(late)?
    }
}

/// The answer to a question of a look that ends at `end`. A question that could not be asked by then is not asked.
pub(crate) async fn until<T>(
    end: tokio::time::Instant,
    question: impl Future<Output = T>,
) -> Result<T, String> {
    let late = || "the questions of one round took too long".to_owned();
    if tokio::time::Instant::now() >= end {
        return Err(late());
    }
    timeout_at(end, question).await.map_err(|_| late())
}

/// A configuration with the server, the authorities and the credentials of `access`.
async fn of_access(access: &Access) -> Result<Config, String> {
    let server = &access.server;
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    let token = access.token.as_ref().map(Secret::reveal);
    let token_file = access.files.token.as_ref();
    let identity = access.identity.as_ref();
    let certificate = identity.map(|(certificate, _)| base64(certificate));
    let key = identity.map(|(_, key)| base64(key.reveal().as_bytes()));
    let kubeconfig = json!({
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {
            "server": server.url(),
            "tls-server-name": server.certificate_name(),
            "certificate-authority-data": access.ca.as_deref().map(base64),
        }}],
        "users": [{"name": "x", "user": {
            // A file is read anew when its token grows old; a token beside it would be used for ever.
            "token": token.filter(|_| token_file.is_none()),
            "tokenFile": token_file,
            "client-certificate-data": certificate,
            "client-key-data": key,
        }}],
    });
    let wrong = |error: &dyn std::fmt::Display| format!("the API server {}: {error}", server.url());
    let kubeconfig = without_nulls(kubeconfig);
    let kubeconfig: Kubeconfig =
        serde_json::from_value(kubeconfig).map_err(|error| wrong(&error))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| wrong(&error))?;
    config.root_cert_file.clone_from(&access.files.ca);
    // The datastore goes through no proxy.
    config.proxy_url = None;
    Ok(config)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(key, value)| (key, without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

async fn from_file(path: &Path) -> Result<Config, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("--kubeconfig {}: {error}", path.display());
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    config.map_err(|error| wrong(&error))
}

/// The object that a GET found. Only the API server's own word that this object does not exist is an absence: a proxy, or a server
/// that does not know the kind, answers 404, too.
pub(crate) fn found<T>(
    name: &str,
    kind: &str,
    answer: kube::Result<T>,
) -> Result<Option<T>, String> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(Error::Api(status)) if is_absence(&status, name, kind) => Ok(None),
        Err(error) => Err(format!("{kind} {name}: {}", told(&error))),
    }
}

fn is_absence(status: &Status, name: &str, kind: &str) -> bool {
    let names_object = |details: &kube::core::response::StatusDetails| {
        details.name == name && details.kind == kind
    };
    status.code == 404
        && status.reason == "NotFound"
        && status.details.as_ref().is_some_and(names_object)
}

/// An error with its causes, in one line.
pub(crate) fn told(error: &Error) -> String {
    if let Error::Api(status) = error {
        return format!("{} ({})", status.message, status.code);
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += ": ";
            text += &more;
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use whereabouts_apiserver::Files;

    use super::*;

    #[test]
    fn a_client_has_the_server_the_authority_and_the_token_file_of_its_access() {
        let mut access = Access {
            server: Server::at("https://[fd00::1]:6443/k8s/a").expect("a URL"),
            ca: Some(
                b"-----BEGIN CERTIFICATE-----\nTUlJQw==\n-----END CERTIFICATE-----\n".to_vec(),
            ),
            token: Some(Secret::new("read once".to_owned())),
            identity: None,
            files: Files {
                ca: Some("/a/ca.crt".into()),
                token: Some("/a/token".into()),
            },
        };
        let of = |access: &Access| {
            let config = futures::executor::block_on(of_access(access));
            config.expect("a configuration")
        };
        let config = of(&access);
        assert_eq!(config.cluster_url, "https://[fd00::1]:6443/k8s/a");
        assert_eq!(config.root_cert, Some(vec![b"MIIC".to_vec()]));
        assert_eq!(
            config.root_cert_file.as_deref(),
            Some(Path::new("/a/ca.crt"))
        );
        assert_eq!(config.auth_info.token_file.as_deref(), Some("/a/token"));
        assert!(config.auth_info.token.is_none(), "the file is newer");
        access.files = Files::default();
        let config = of(&access);
        assert!(config.auth_info.token.is_some() && config.auth_info.token_file.is_none());
        assert!(!config.accept_invalid_certs && config.proxy_url.is_none());
    }

    #[test]
    fn only_the_api_servers_own_word_is_an_absence() {
        let status = |json: serde_json::Value| -> kube::Result<()> {
            let status: Status = serde_json::from_value(json).expect("a status");
            Err(Error::Api(Box::new(status)))
        };
        let details = serde_json::json!({"kind": "pods", "name": "web-0"});
        let not_found = serde_json::json!({"code": 404, "reason": "NotFound", "details": details, "message": ""});
        assert_eq!(found("web-0", "pods", status(not_found.clone())), Ok(None));
        assert_eq!(found("web-0", "pods", Ok(())), Ok(Some(())));
        for (key, value) in [
            ("code", serde_json::json!(403)),
            ("code", serde_json::json!(500)),
            ("reason", serde_json::json!("Forbidden")),
            ("reason", serde_json::json!("")),
            (
                "details",
                serde_json::json!({"kind": "namespaces", "name": "web-0"}),
            ),
            (
                "details",
                serde_json::json!({"kind": "pods", "name": "web-1"}),
            ),
            ("details", serde_json::json!({})),
            ("details", serde_json::Value::Null),
        ] {
            let mut other = not_found.clone();
            other[key] = value;
            assert!(
                found("web-0", "pods", status(other.clone())).is_err(),
                "{other}"
            );
        }
        let late: kube::Result<()> = Err(Error::Service("no answer".into()));
        assert!(found("web-0", "pods", late).is_err());
    }
}
