//! The webhook over HTTPS. Bodies, times and connections have bounds.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use whereabouts_core::limits;

use super::claims::Claims;
use super::judge::{Judged, judge};
use super::metrics::Metrics;
use super::pods;
use super::review::{Judgement, NETWORKS, Operation, PODS, Request};
use super::surroundings::Surroundings;
use super::tls::Shown;
use crate::serve::connections;

/// The needs of a review.
pub(super) struct Webhook {
    pub(super) surroundings: Surroundings,
    pub(super) claims: Claims,
    pub(super) metrics: Arc<Metrics>,
}

/// Serves until that fails, and tells why.
pub(super) async fn serve(listener: TcpListener, webhook: Webhook, shown: &Shown) -> io::Error {
    let config = match shown.server() {
        Ok(config) => config,
        Err(error) => return io::Error::other(error),
    };
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let handshake = move |stream| acceptor.accept(stream);
    let most = connections::most().min(limits::REVIEW_CONNECTIONS);
    let head = Duration::from_millis(limits::HTTP_HEAD_MS);
    connections::serve_over(listener, handshake, router(webhook), most, head).await
}

fn router(webhook: Webhook) -> Router {
    Router::new()
        .route("/validate", post(networks))
        .route("/validate-pods", post(pods))
        .with_state(Arc::new(webhook))
}

async fn networks(State(webhook): State<Arc<Webhook>>, body: Body) -> Response {
    let begun = Instant::now();
    let request = match read(body).await {
        Ok(body) => Request::read(&body, NETWORKS).map_err(bad),
        Err(refused) => Err(refused),
    };
    let request = match request {
        Ok(request) => request,
        Err(refused) => return webhook.refuse(refused),
    };
    let Judged {
        mut judgement,
        questions,
    } = judge(&request, &webhook.surroundings);
    for question in &questions {
        let stranded = webhook.claims.stranded(question).await;
        judgement.warnings.extend(stranded.warnings(question));
        if stranded.incomplete.is_some() {
            // The next question would take as long, and the API server does not wait for ever.
            break;
        }
    }
    webhook.answer(&request, &judgement, begun)
}

async fn pods(State(webhook): State<Arc<Webhook>>, body: Body) -> Response {
    let begun = Instant::now();
    let request = match read(body).await {
        Ok(body) => Request::read(&body, PODS).map_err(bad),
        Err(refused) => Err(refused),
    };
    let request = match request {
        Ok(request) => request,
        Err(refused) => return webhook.refuse(refused),
    };
    let mut judgement = Judgement::default();
    let wanted = match request.operation {
        Operation::Create => pods::wanted(&request, &webhook.surroundings),
        Operation::Update | Operation::Delete | Operation::Connect => Vec::new(),
    };
    for wanted in wanted {
        let network = &wanted.network;
        match webhook.claims.full(wanted.wants).await {
            Ok(None) => {}
            Ok(Some(range)) => judgement.warnings.push(format!(
                "range {range} is full: the pod waits until an address of network {network} is free"
            )),
            Err(reason) => {
                judgement.warnings.push(format!(
                    "whether network {network} has a free address is not known: {reason}"
                ));
                break;
            }
        }
    }
    webhook.answer(&request, &judgement, begun)
}

/// A request that cannot be judged.
type Refused = (StatusCode, String);

fn bad(reason: String) -> Refused {
    (StatusCode::BAD_REQUEST, reason)
}

async fn read(body: Body) -> Result<axum::body::Bytes, Refused> {
    let most = limits::REVIEW_BYTES;
    let patience = Duration::from_millis(limits::REVIEW_BODY_MS);
    match timeout(patience, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.to_string().contains("length limit exceeded") => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {most} bytes"),
        )),
        Ok(Err(error)) => Err(bad(format!("the body cannot be read: {error}"))),
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            format!("the body has not come in {patience:?}"),
        )),
    }
}

impl Webhook {
    fn refuse(&self, (status, reason): Refused) -> Response {
        self.metrics.refused.add(1);
        (status, format!("{reason}\n")).into_response()
    }

    fn answer(&self, request: &Request, judgement: &Judgement, begun: Instant) -> Response {
        self.metrics.take(judgement, begun.elapsed());
        let answer: Value = judgement.answer(&request.uid);
        let json = [(CONTENT_TYPE, "application/json")];
        (json, answer.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::future::{Either, select};
    use rustls::ClientConfig;
    use rustls::RootCertStore;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::admission::certificate::{Drawn, Pair, issue, provider};
    use crate::admission::tests::no_datastore;
    use crate::admission::tls::show;

    const NAME: &str = "whereabouts-webhook.kube-system.svc";

    fn now() -> Duration {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH)
            .expect("it is later")
    }

    fn pair() -> Pair {
        let drawn = Drawn::new([1, 2]).expect("keys");
        issue(NAME, now(), &Pair::default(), &drawn).expect("a pair")
    }

    /// Serves with `shown` while `act` runs.
    fn serving(shown: &Shown, act: impl AsyncFnOnce(std::net::SocketAddr)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            let surroundings = Surroundings::default();
            surroundings.definitions.fill([]);
            let webhook = Webhook {
                surroundings,
                claims: Claims::start(&no_datastore()).expect("a thread"),
                metrics: Arc::default(),
            };
            let served = pin!(serve(listener, webhook, shown));
            let Either::Right(_) = select(served, pin!(act(address))).await else {
                panic!("it has ended");
            };
        });
    }

    /// A client that trusts the authorities of `pair`, as the API server does.
    async fn post(
        address: std::net::SocketAddr,
        pair: &Pair,
        path: &str,
        body: &[u8],
    ) -> io::Result<(u16, String)> {
        let mut roots = RootCertStore::empty();
        let authorities = CertificateDer::pem_slice_iter(&pair.authorities).flatten();
        roots.add_parsable_certificates(authorities);
        let config = ClientConfig::builder_with_provider(provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(NAME).expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        // A body that is too large is not read to its end.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status");
        Ok((status.parse().expect("a number"), body.to_owned()))
    }

    fn review(operation: &str, config: &Value) -> Vec<u8> {
        let object = json!({"kind": "NetworkAttachmentDefinition", "metadata": {"namespace": "default", "name": "net"},
            "spec": {"config": config.to_string()}});
        let (new, old) = match operation {
            "DELETE" => (Value::Null, object),
            _ => (object, Value::Null),
        };
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": operation, "namespace": "default", "name": "net",
            "resource": {"group": "k8s.cni.cncf.io", "version": "v1", "resource": "network-attachment-definitions"},
            "object": new, "oldObject": old,
        }});
        review.to_string().into_bytes()
    }

    fn config(range: &str) -> Value {
        json!({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "master": "eth1",
            "ipam": {"type": "whereabouts", "etcd_host": "a", "range": range}})
    }

    #[test]
    fn reviews_are_answered_over_tls_and_all_else_is_refused() {
        let (pair, shown) = (pair(), Shown::default());
        show(&shown, &pair);
        serving(&shown, async |address| {
            let large = vec![b' '; limits::REVIEW_BYTES + 1];
            let beta = review("CREATE", &config("10.0.0.0/24"));
            let beta = String::from_utf8(beta).expect("text");
            let beta = beta.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1");
            for (path, body, status, part) in [
                (
                    "/validate",
                    review("CREATE", &config("10.0.0.0/24")),
                    200,
                    r#""allowed":true"#,
                ),
                (
                    "/validate",
                    review("CREATE", &config("x")),
                    200,
                    r#""allowed":false"#,
                ),
                ("/validate", b"{".to_vec(), 400, "the body is not JSON"),
                (
                    "/validate",
                    beta.into_bytes(),
                    400,
                    "is not served; \"admission.k8s.io/v1\" is",
                ),
                (
                    "/validate",
                    large,
                    413,
                    "the body has more than 1048576 bytes",
                ),
                (
                    "/validate-pods",
                    review("CREATE", &config("x")),
                    400,
                    "is not judged here",
                ),
                ("/other", Vec::new(), 404, ""),
            ] {
                let answer = post(address, &pair, path, &body).await.expect("an answer");
                assert_eq!(answer.0, status, "{answer:?}");
                assert!(answer.1.contains(part), "{part}: {answer:?}");
            }
        });
    }

    #[test]
    fn a_datastore_that_cannot_be_asked_denies_nothing() {
        let (pair, shown) = (pair(), Shown::default());
        show(&shown, &pair);
        serving(&shown, async |address| {
            let body = review("DELETE", &config("10.0.0.0/24"));
            let answer = post(address, &pair, "/validate", &body).await;
            let (status, answer) = answer.expect("an answer");
            assert_eq!(status, 200);
            assert!(answer.contains(r#""allowed":true"#), "{answer}");
            assert!(answer.contains("is not known: "), "{answer}");
        });
    }

    #[test]
    fn a_new_certificate_is_shown_to_the_next_client_and_none_to_nobody() {
        let (first, second, shown) = (pair(), pair(), Shown::default());
        serving(&shown, async |address| {
            let body = review("CREATE", &config("10.0.0.0/24"));
            let served = async |pair: &Pair| post(address, pair, "/validate", &body).await.is_ok();
            assert!(!served(&first).await);
            show(&shown, &first);
            assert!(served(&first).await);
            show(&shown, &second);
            assert!(served(&second).await && !served(&first).await);
        });
    }
}
